//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"annals/eventstore/pgtest"
)

// commandLines gives the path of every command, the root's included.
func commandLines(cmd *cobra.Command) [][]string {
	lines := [][]string{strings.Fields(cmd.CommandPath())[1:]}
	for _, sub := range cmd.Commands() {
		lines = append(lines, commandLines(sub)...)
	}
	return lines
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	lines := commandLines(newCLI(&out, &out).rootCommand())
	if len(lines) < 15 {
		t.Errorf("only %d commands: %v", len(lines), lines)
	}
	for _, line := range lines {
		p := annals(t, append(line, "--help")...).exits(exitDone)
		name := strings.Join(append([]string{"annals"}, line...), " ")
		_, examples, found := strings.Cut(p.stdout.String(), "Examples:\n")
		if !found || !strings.HasPrefix(strings.TrimSpace(examples), "annals") || !strings.Contains(examples, name) {
			t.Errorf("%s --help has no example of its own:\n%s", name, p.stdout)
		}
		if p.stderr.String() != "" {
			t.Errorf("%s --help writes to stderr: %s", name, p.stderr)
		}
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, says string }{
		{"sevre", `unknown command "sevre"; did you mean serve?`},
		{"events shwo", "unknown command"},
		{"sevre --help", `unknown command "sevre"; did you mean serve?`},
		{"events shwo --help", "unknown command"},
		{"help sevre", "unknown command"},
		{"help events shwo", "unknown command"},
		{"serve now", "takes no arguments"},
		{"serve --nonsense", "unknown flag"},
		{"serve --jwt-issuer https://id.example", "audience"},
		{"serve --jwt-issuer http://id.example --jwt-audience annals", "https"},
		{"serve --jwks-url https://id.example/keys", "--jwt-issuer"},
		{"keys create --client acme --role operator", "--actor"},
		{"keys create --client acme --role root --actor a", "--role"},
		{"keys create --client * --role operator --actor a", "--client"},
		{"keys create --client acme --role operator --actor a --expires-in never", "--expires-in"},
		{"keys rotate", "ID"},
		{"keys rotate k --grace -1h", "--grace"},
		{"keys revoke k --reason=", "reason"},
		{"keys list --output xml", "table or json"},
		{"serve --addr nowhere", "host:port"},
		{"serve --addr 127.0.0.1:0 --cart-lifetime -1s", "above zero"},
		{"serve --cart-lifetime soon", "invalid"},
		{"serve --log-format xml", "text or json"},
		{"serve --database-url postgres://h/d --data-dir /tmp/d", "exclude each other"},
		{"events show", "POSITION"},
		{"events show zero", "is not a position"},
		{"events show 0", "is not a position"},
		{"events stream cart nothing", "nothing"},
		{"events export --after -1", "0 or more"},
		{"events export --aggregate-id x", "--aggregate-id"},
		{"events stream cart 0198a5c2-7b1e-7000-8000-000000000001 --output xml", "table or json"},
		{"projections pause", "NAME"},
		{"projections skip products 5", "--reason"},
		{"projections --output xml", "table or json"},
		{"replay", "--all"},
		{"replay --all products", "--all"},
		{"replay nothing", "there is no read model"},
		{"replay --all --workers 65", "--workers"},
		{"replay --all --gentle --workers 2", "--gentle"},
		{"demo --scale 0", "--scale"},
		{"demo --url nowhere", "--url"},
		{"doctor --output xml", "table or json"},
		{"events show 1 --reason=", "--reason must have"},
		{"audit exprot", "unknown command"},
		{"audit export --format xml", "csv or ndjson"},
		{"audit export --from yesterday", "is not a time"},
		{"audit export --aggregate-id x", "--aggregate-id"},
		{"audit export --client=", "--client"},
		{"check --output xml", "table or json"},
		{"check --from 5 --until 4", "in this order"},
		{"check --workers 65", "--workers"},
		{"serve --max-commands 0", "--max-commands"},
		{"serve --client-rate -1", "--client-rate"},
		{"serve --client-rate NaN", "--client-rate"},
		{"serve --client-burst 5", "--client-rate"},
		{"serve --drain-delay -1s", "--drain-delay"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			p := annals(t, strings.Fields(c.line)...).exits(exitMisuse).says("annals: ", c.says, "--help")
			if p.stdout.String() != "" {
				t.Errorf("stdout: %s", p.stdout)
			}
		})
	}
}

// Flags win over the environment, and that over the defaults; secrets aren't shown.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  []string
		args []string
		want []string
	}{
		"defaults": {
			want: []string{"addr=127.0.0.1:8080", "cart-lifetime=24h0m0s", "database-url=", "data-dir="},
		},
		"environment": {
			env:  []string{"ANNALS_ADDR=127.0.0.1:1", "ANNALS_CART_LIFETIME=1h", "DATABASE_URL=postgres://u:hidden@h/d"},
			want: []string{"addr=127.0.0.1:1", "cart-lifetime=1h0m0s", "database-url=postgres://u:xxxxx@h/d"},
		},
		"flags": {
			env:  []string{"ANNALS_ADDR=127.0.0.1:1", "DATABASE_URL=postgres://u:hidden@h/d"},
			args: []string{"--addr", "127.0.0.1:2", "--database-url", "postgres://h/e?password=hidden"},
			want: []string{"addr=127.0.0.1:2", "database-url=postgres://h/e?password=xxxxx"},
		},
		"ours before the common one": {
			env:  []string{"ANNALS_DATABASE_URL=postgres://h/ours", "DATABASE_URL=postgres://h/common"},
			want: []string{"database-url=postgres://h/ours"},
		},
		"a flag for one database is not joined by the environment's other one": {
			env:  []string{"DATABASE_URL=postgres://h/d"},
			args: []string{"--data-dir", "/srv/annals"},
			want: []string{"data-dir=/srv/annals", "database-url="},
		},
		"mail": {
			env:  []string{"ANNALS_SMTP_PASSWORD=hidden", "ANNALS_SMTP_TO=a@x.example,b@x.example"},
			args: []string{"--smtp-addr", "localhost:25", "--smtp-from", "c@x.example"},
			want: []string{"smtp-password=xxxxx", "smtp-to=a@x.example,b@x.example", "smtp-username="},
		},
		"key and value": {
			args: []string{"--database-url", "host=h password='hid den' dbname=d"},
			want: []string{"database-url=host=h password=xxxxx dbname=d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := runChild(t, c.env, append([]string{"serve", "--print-config"}, c.args...)...).exits(exitDone)
			lines := strings.Split(p.stdout.String(), "\n")
			for _, want := range c.want {
				found := false
				for _, line := range lines {
					found = found || line == want
				}
				if !found {
					t.Errorf("no line %q in\n%s", want, p.stdout)
				}
			}
			if strings.Contains(p.stdout.String()+p.stderr.String(), "hid") {
				t.Errorf("the password is shown:\n%s%s", p.stdout, p.stderr)
			}
		})
	}
	runChild(t, []string{"ANNALS_CART_LIFETIME=soon"}, "serve", "--print-config").exits(exitMisuse).says("ANNALS_CART_LIFETIME")
	runChild(t, []string{"ANNALS_SMTP_TO=a@x.example"}, "serve", "--print-config").exits(exitMisuse).says("--smtp-addr")
	annals(t, "serve", "--print-config", "--smtp-addr", "localhost:25", "--smtp-from", "nobody").exits(exitMisuse).says("mail address")
	annals(t, "serve", "--print-config", "--webhook-attempts", "0").exits(exitMisuse).says("--webhook-attempts")
	database := "DATABASE_URL=" + pgtest.NewEmpty(t).DSN
	for _, addr := range []string{"0.0.0.0:80", ":80", "192.0.2.1:80", "[::]:80", "annals.example:80"} {
		runChild(t, []string{database, "ANNALS_ADDR=" + addr}, "serve").exits(exitMisuse).says("loopback only", "--help")
	}
}

// The page for operators names every flag of the server.
func TestEveryFlagOfTheServerIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	serve, _, err := newCLI(io.Discard, io.Discard).rootCommand().Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	named := func(f *pflag.Flag) {
		if f.Name != "help" && !regexp.MustCompile("`[^`\n]*--"+f.Name+"[ `]").Match(page) {
			t.Errorf("docs/operations.md lacks --%s", f.Name)
		}
	}
	serve.LocalFlags().VisitAll(named)
	serve.InheritedFlags().VisitAll(named)
}

// The tools find the private PostgreSQL by its data directory alone, whether a server runs on it or not.
func TestToolsOnDataDirectory(t *testing.T) {
	t.Parallel()
	dir := []string{"--data-dir", pgtest.DataDir(t)}
	server := serveHere(t, dir...)
	c := server.caller(shop)
	product := c.product("tool", 3)
	c.get("/v1/products/"+product, 2).is(http.StatusOK)
	annals(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, dir...)...).exits(exitFailed).says("in use")
	useTools(t, dir, product)
	tailing := runHere(t, append([]string{"events", "tail", "--after", "0", "--output", "json"}, dir...)...)
	for _, kind := range []string{"product.registered", "product.stock_received"} {
		select {
		case <-tailing.stdout.wait(kind):
		case <-tailing.done:
			t.Fatalf("the tail ended: %s", tailing.stderr)
		case <-t.Context().Done():
		}
		if kind == "product.registered" {
			c.send("POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`).is(http.StatusOK)
		}
	}
	tailing.signal(syscall.SIGINT)
	tailing.exits(exitDone)
	server.stop()
	for line, says := range map[string]string{
		"events export --event-type projection.paused": "products", "projections": "products", "replay --all --dry-run": "no difference",
	} {
		annals(t, append(strings.Fields(line), dir...)...).exits(exitDone).prints(says)
	}
	healthy(t, dir...)
}

// A directory without a database is left as it is.
func TestToolsOnAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"projections", "events export", "replay --all", "audit checkpoint", "check", "doctor"} {
		dir := filepath.Join(t.TempDir(), "none")
		p := annals(t, append(strings.Fields(line), "--data-dir", dir)...).exits(exitFailed)
		if said := p.stdout.String() + p.stderr.String(); !strings.Contains(said, "there is no database in "+dir+": 'annals serve' makes one") {
			t.Errorf("annals %s: %s", line, said)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("annals %s made something of the directory: %v", line, err)
		}
	}
}

// useTools runs every reading tool, and some that change something, on the database of the flags.
func useTools(t *testing.T, database []string, product string) {
	t.Helper()
	tool := func(line string) *program {
		t.Helper()
		return annals(t, append(strings.Fields(line), database...)...)
	}
	tool("events show 2").exits(exitDone).prints("product.registered", product)
	tool("events show 100000").exits(exitFailed).says("annals: ")
	tool("events export").exits(exitDone).prints(`"event_type":"product.registered"`)
	tool("events stream product "+product).exits(exitDone).prints("product.registered", "anonymous")
	tool("migrate").exits(exitDone).prints("up to date")
	tool("migrate status").exits(exitDone).prints("true")
	tool("projections").exits(exitDone).prints("products", "audit_log")
	tool("projections failures products").exits(exitDone)
	tool("projections pause products").exits(exitDone).prints("products is paused")
	tool("projections resume products").exits(exitDone).prints("products is running")
	tool("projections pause nothing").exits(exitFailed).says("annals: ")
	healthy(t, database...)
	tool("replay --all --dry-run").exits(exitDone)
	tool("check").exits(exitDone).prints("product.registered", " 0 failed")
}

// A database that isn't there is said so, without its password.
func TestUnreachableDatabase(t *testing.T) {
	t.Parallel()
	database := []string{"--database-url", "postgres://u:hidden@127.0.0.1:1/d?sslmode=disable"}
	for _, line := range []string{"serve --addr 127.0.0.1:0", "migrate", "events show 2", "projections", "replay --all", "doctor", "check"} {
		p := annals(t, append(strings.Fields(line), database...)...).exits(exitFailed)
		said := p.stdout.String() + p.stderr.String()
		if !strings.Contains(said, "127.0.0.1:1") || strings.Contains(said, "hidden") {
			t.Errorf("annals %s: %s", line, said)
		}
	}
}
