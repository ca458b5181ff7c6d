package embedded

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/lib/pq"
)

const (
	// envOwner makes the test binary an owner of a server on the data directory it names.
	envOwner = "ANNALS_EMBEDDED_TEST_OWNER"
	// envOwnerBin is that server's BinDir.
	envOwnerBin = "ANNALS_EMBEDDED_TEST_BIN"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envOwner); dir != "" {
		if err := ownServer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// announcement is what an owner process says once its server is ready.
type announcement struct {
	DSN   string
	Pid   int
	Guard int
}

// ownServer runs a server until its input ends. Ctrl-C it answers with what the
// server says at that time, as an application that drains would use it.
func ownServer(dir string) error {
	ctx := context.Background()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	s, err := Start(ctx, Config{DataDir: dir, BinDir: os.Getenv(envOwnerBin)})
	if err != nil {
		return err
	}
	s.guard.mu.Lock()
	guard := s.guard.cmd.Process.Pid
	s.guard.mu.Unlock()
	db, err := sql.Open("postgres", s.DSN())
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(announcement{s.DSN(), s.Pid(), guard}); err != nil {
		return err
	}
	go func() {
		<-interrupts
		var answer string
		if err := db.QueryRow(`SELECT 'serving'`).Scan(&answer); err != nil {
			answer = err.Error()
		}
		out.Encode(answer)
	}()
	io.Copy(io.Discard, os.Stdin)
	return s.Stop(ctx)
}

// owner is another process that owns a server.
type owner struct {
	announcement
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
}

// startOwner runs this test binary as the owner of a server; the rest of its
// life is the test's to decide.
func startOwner(t *testing.T, dir string) *owner {
	t.Helper()
	o := launchOwner(t, dir)
	line, err := o.lines.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the owner process said nothing: %v", err)
	}
	if err := json.Unmarshal(line, &o.announcement); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return o
}

func launchOwner(t *testing.T, dir string, env ...string) *owner {
	t.Helper()
	o := &owner{cmd: exec.Command(os.Args[0])}
	o.cmd.Env = append(append(os.Environ(), envOwner+"="+dir), env...)
	o.cmd.Stderr = os.Stderr
	o.cmd.SysProcAttr = ownGroup()
	var err error
	if o.stdin, err = o.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.lines = bufio.NewReader(stdout)
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.stdin.Close()
		o.cmd.Wait()
	})
	return o
}

// dataDir makes a directory for data, in shared memory when there is room.
// t.TempDir wouldn't do: the server's user can't reach it when the tests run as root.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := throwawayDir()
	return reachable(t, dir, err)
}

// programDir makes a directory for programs: shared memory may be mounted without them.
func programDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "annals-test-")
	return reachable(t, dir, err)
}

func reachable(t *testing.T, dir string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start runs a server that is stopped when the test ends, if not before.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), quiet(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func quiet(cfg Config) Config {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// connect opens a pool that is closed when the test ends.
func connect(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	c, err := pq.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec1(t *testing.T, db *sql.DB, stmt string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), stmt); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

// text asks the server for one value.
func text(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	var s string
	if err := db.QueryRowContext(t.Context(), query).Scan(&s); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return s
}

// commitRow stores a row that must survive what the test does next.
func commitRow(t *testing.T, dsn string) {
	t.Helper()
	db := connect(t, dsn)
	exec1(t, db, `CREATE TABLE kept AS SELECT 'committed'::text AS word`)
	db.Close()
}

func wantRow(t *testing.T, dsn string) {
	t.Helper()
	if got := text(t, connect(t, dsn), `SELECT word FROM kept`); got != "committed" {
		t.Errorf("the row reads %q", got)
	}
}

// eventually waits for what no event tells; the bound only ends a failed test.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	if err := waitUntil(context.Background(), time.Minute, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// tree lists all files below a directory with sizes and modes.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			list = append(list, fmt.Sprintf("%s %v %d", path, fi.Mode(), fi.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
