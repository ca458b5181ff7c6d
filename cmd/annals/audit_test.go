//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"annals/eventstore/integrity/evidence"
	"annals/eventstore/pgtest"
)

// auditor works beside a server, as its users do.
type auditor struct {
	t        *testing.T
	db       *pgtest.DB
	dir      string
	database []string
}

// args is a line of annals audit, with files in the auditor's directory.
func (a *auditor) args(line string, files []any) []string {
	for i := range files {
		files[i] = filepath.Join(a.dir, files[i].(string))
	}
	return append([]string{"audit"}, strings.Fields(fmt.Sprintf(line, files...))...)
}

// run runs a line.
func (a *auditor) run(line string, files ...any) *program {
	a.t.Helper()
	return annals(a.t, a.args(line, files)...)
}

// online runs a line on the database.
func (a *auditor) online(line string, files ...any) *program {
	a.t.Helper()
	return annals(a.t, append(a.args(line, files), a.database...)...)
}

// keep writes what a command printed to a file.
func (a *auditor) keep(name string, p *program) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(p.exits(exitDone).stdout.String()), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func newAuditor(t *testing.T) (*auditor, *program) {
	t.Helper()
	db := pgtest.New(t)
	a := &auditor{t: t, db: db, dir: t.TempDir(), database: []string{"--database-url", db.DSN}}
	server := serveHere(t, a.database...)
	c := server.caller(shop)
	for i := range 20 {
		c.product(fmt.Sprintf("SKU-%d", i), 10)
	}
	server.caller("globex").product("SKU-1", 5)
	a.keep("kept.note", a.online("checkpoint"))
	a.keep("annals.vkey", a.online("keys export"))
	return a, server
}

func TestAuditorsCommands(t *testing.T) {
	t.Parallel()
	a, server := newAuditor(t)
	a.online("verify").exits(exitDone).prints("INTACT", evidence.InternallyOnly, "the key was taken from what was checked")
	a.online("verify --since %s --key %s", "kept.note", "annals.vkey").exits(exitDone).prints("INTACT", "begins with what you kept", "which you trust")
	a.online("export --bundle %s", "all.zip").exits(exitDone)
	a.online("export --bundle %s", "all.zip").exits(exitFailed).says("exists already")
	a.online("export --bundle %s --client globex --since %s", "globex", "kept.note").exits(exitDone)
	a.keep("stdout.zip", a.online("export --bundle - --after 3 --until 9"))
	a.keep("proof.json", a.online("prove 3"))
	server.caller(shop).product("SKU-99", 1)
	a.online("checkpoint").exits(exitDone)
	a.keep("continues.json", a.online("prove --from %s", "kept.note"))
	server.stop()
	// What was taken away needs no database.
	a.run("verify --bundle %s --since %s --key %s", "all.zip", "kept.note", "annals.vkey").exits(exitDone).prints("INTACT", "none is missing")
	a.run("verify --bundle %s --since %s", "globex", "kept.note").exits(exitDone).prints("not that no other fits")
	a.run("verify --bundle %s", "stdout.zip").exits(exitDone).prints("positions 4 to 9 of 2", "leaves 6")
	a.run("verify --proof %s --key %s", "proof.json", "annals.vkey").exits(exitDone).prints("position 3")
	var report evidence.Report
	out := a.run("verify --proof %s --since %s --output json", "continues.json", "kept.note").exits(exitDone).stdout.String()
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Verdict != evidence.Intact || len(report.Since) != 1 {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.Truncate(filepath.Join(a.dir, "all.zip"), 3000); err != nil {
		t.Fatal(err)
	}
	a.run("verify --bundle %s", "all.zip").exits(exitIncomplete)
	a.run("verify --database-url postgres://nobody@127.0.0.1:1/none?sslmode=disable").exits(exitIncomplete)
	// The owner of the database can do anything, but not unseen.
	if _, err := a.db.Exec(`ALTER TABLE annals.events DISABLE TRIGGER ALL; UPDATE annals.events SET actor_id = 'x' WHERE position = 4`); err != nil {
		t.Fatal(err)
	}
	a.online("verify").exits(exitAltered).prints("ALTERED: position 4: ").says("altered")
	a.keep("altered.json", a.online("prove 4"))
	a.run("verify --proof %s", "altered.json").exits(exitAltered).prints("position 4")
}

func TestAuditMisuse(t *testing.T) {
	t.Parallel()
	note := filepath.Join(t.TempDir(), "x.note")
	if err := os.WriteFile(note, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, code := range map[string]int{
		"verify --nonsense":                     exitVerifyMisuse,
		"verify now":                            exitVerifyMisuse,
		"verify --db --bundle x":                exitVerifyMisuse,
		"verify --bundle /does/not/exist":       exitVerifyMisuse,
		"verify --proof /does/not/exist":        exitVerifyMisuse,
		"verify --since /does/not/exist":        exitVerifyMisuse,
		"verify --key /does/not/exist":          exitVerifyMisuse,
		"verify --key " + note:                  exitVerifyMisuse,
		"verify --output xml":                   exitVerifyMisuse,
		"checkpoint --wait -1s":                 exitMisuse,
		"prove":                                 exitMisuse,
		"prove 1 --from x":                      exitMisuse,
		"prove zero":                            exitMisuse,
		"prove 1 --size -1":                     exitMisuse,
		"prove --from x --reason y":             exitMisuse,
		"prove --from " + note + "-none":        exitMisuse,
		"export --bundle=":                      exitMisuse,
		"export --since x":                      exitMisuse,
		"export --bundle b --format csv":        exitMisuse,
		"export --bundle b --until 3 --after 3": exitMisuse,
	} {
		annals(t, append([]string{"audit"}, strings.Fields(line)...)...).exits(code).says("annals: ")
	}
}

// The script of the documentation is the one that is run here.
func TestAProofIsCheckedWithOpenSSL(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/auditing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(doc), "```bash\n")
	script, _, ok := strings.Cut(script, "```\n")
	if !ok || !strings.Contains(script, "check-proof PROOF KEY") {
		t.Fatal("docs/auditing.md has no script")
	}
	a, _ := newAuditor(t)
	check := func(proof string) (string, error) {
		t.Helper()
		file := filepath.Join(a.dir, "event.json")
		if err := os.WriteFile(file, []byte(proof), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("bash", "-c", script, "check-proof", file, filepath.Join(a.dir, "annals.vkey")).CombinedOutput()
		return string(out), err
	}
	proof := ""
	for _, position := range []string{"1", "2", "16", "17", "22"} {
		proof = a.online("prove " + position).exits(exitDone).stdout.String()
		if out, err := check(proof); err != nil || !strings.Contains(out, "position "+position+" is in the log") {
			t.Errorf("position %s: %v: %s", position, err, out)
		}
	}
	var tree struct{ Size int64 }
	if err := json.Unmarshal([]byte(proof), &tree); err != nil {
		t.Fatal(err)
	}
	size := fmt.Sprint(tree.Size) // the proofs before are events, too
	for name, c := range map[string]struct{ old, new, says string }{
		"position":  {`"position": 22`, `"position": 21`, "another position"},
		"data":      {`"data_base64": "ey`, `"data_base64": "fy`, "data isn't what was sealed"},
		"metadata":  {`"metadata_salt": "`, `"metadata_salt": "00`, "metadata isn't what was sealed"},
		"leaf":      {`"actor_id":"`, `"actor_id":"x`, "another root"},
		"size":      {`"size": ` + size, `"size": 1` + size, "WRONG"},
		"path":      {`"hashes": [` + "\n", `"hashes": [` + "\n    \"Ghlk3BxRoaD99fROAMrYySk/uAqvMdLnUAnx6kLxG8w=\",\n", "WRONG"},
		"root":      {`\n` + size + `\n`, `\n` + size + `\nA`, "another root"},
		"log":       {`"note": "annals.test/log`, `"note": "annals.best/log`, "another log"},
		"signature": {`— annals.test/log `, `— annals.best/log `, "hasn't signed"},
	} {
		changed := strings.Replace(proof, c.old, c.new, 1)
		if changed == proof {
			t.Fatalf("%s: there is no %q in %s", name, c.old, proof)
		}
		if out, err := check(changed); err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
