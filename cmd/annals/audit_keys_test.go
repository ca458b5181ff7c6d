//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"annals/eventstore/integrity"
	"annals/eventstore/pgtest"
)

// checkpoint gives the newest one that covers a position, verified by one of the keys.
func (p *program) checkpoint(position int64, verifierKeys ...string) integrity.Checkpoint {
	p.t.Helper()
	r := p.everyone().get("/v1/integrity/checkpoint", position).is(200)
	known, err := integrity.Verifiers(verifierKeys...)
	if err != nil {
		p.t.Fatal(err)
	}
	c, _, err := integrity.ParseCheckpoint(r.body, known)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// The plain server: a key and a passphrase are made at the first start, and found again.
func TestCheckpointsByDefault(t *testing.T) {
	t.Parallel()
	dir := pgtest.DataDir(t)
	database := []string{"--data-dir", dir}
	none := []string{"ANNALS_SIGNING_KEY_FILE="}
	serve := func() *program {
		return runChild(t, none, append([]string{"serve", "--addr", "127.0.0.1:0"}, database...)...).listening()
	}
	server := serve()
	server.says("made the key that signs checkpoints")
	server.caller(shop).product("sealed", 3)
	export := func(flags ...string) string {
		p := annals(t, append(append([]string{"audit", "keys", "export"}, flags...), database...)...).exits(exitDone)
		return strings.TrimSpace(p.stdout.String())
	}
	first := export()
	before := server.checkpoint(2, first)
	if before.Size != 2 || !strings.HasPrefix(before.Origin, "annals/") {
		t.Errorf("%+v", before)
	}
	files, err := filepath.Glob(filepath.Join(dir, "signing-passphrase-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	server.stop()

	server = serve()
	server.caller(shop).product("more", 3)
	server.checkpoint(3, first)
	rotate := append([]string{"audit", "keys", "rotate", "--reason", "yearly"}, database...)
	runChild(t, none, rotate...).exits(exitDone).prints("from position 4 on")
	both := strings.Split(export("--all"), "\n")
	if len(both) != 2 || both[0] != first || export() != both[1] {
		t.Fatalf("keys %q", both)
	}
	// The checkpoint with the rotation's event verifies under either key; the next one under the new.
	server.checkpoint(4, first)
	server.checkpoint(4, both[1])
	server.caller(shop).product("after", 3)
	server.checkpoint(5, both[1])
	annals(t, append([]string{"audit", "verify", "--key", both[1]}, database...)...).exits(exitDone).prints("INTACT")
	annals(t, append([]string{"audit", "keys"}, database...)...).exits(exitDone).prints("retired", "active", both[1])
	annals(t, append([]string{"audit", "keys", "list", "--output", "json"}, database...)...).exits(exitDone).
		prints(`"retired_position": 4`, `"verifier_key": "`+first)
	annals(t, append([]string{"events", "show", "4"}, database...)...).exits(exitDone).
		prints("signing_key.rotated", `"reason": "yearly"`, "cli:")
	server.stop()
	// Without the passphrase a server seals, serves what was signed, and says that it doesn't sign.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	server = serve()
	server.says("this server seals events and signs no checkpoints")
	server.checkpoint(5, both[1])
	server.everyone().send("GET", "/readyz", "").is(200)
}

func TestSigningKeyFromFile(t *testing.T) {
	t.Parallel()
	dir, db := t.TempDir(), pgtest.New(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	generate := func(path, name string) string {
		return strings.TrimSpace(annals(t, "audit", "keys", "generate", path, "--name", name).exits(exitDone).stdout.String())
	}
	first := generate(file("first"), "example.org/annals")
	annals(t, "audit", "keys", "generate", file("first"), "--name", "x").exits(exitFailed).says("exists")
	second := generate(file("second"), "example.org/annals")
	database := []string{"--database-url", db.DSN}
	annals(t, append([]string{"audit", "keys", "export"}, database...)...).exits(exitFailed).says("no signing key yet")
	server := serveHere(t, append([]string{"--signing-key-file", file("first")}, database...)...)
	if c := server.checkpoint(1, first); c.Origin != "example.org/annals" {
		t.Errorf("%+v", c)
	}
	rotate := append([]string{"audit", "keys", "rotate", "--signing-key-file", file("first")}, database...)
	annals(t, rotate...).exits(exitMisuse).says("--reason")
	annals(t, append(rotate, "--reason", "r")...).exits(exitFailed).says("must be given")
	// What a rotation leaves that is interrupted: a key that signs nothing yet.
	if _, err := db.Exec(`INSERT INTO annals.integrity_keys (verifier_key, status) VALUES ($1, 'pending')`, second); err != nil {
		t.Fatal(err)
	}
	annals(t, append([]string{"audit", "keys"}, database...)...).exits(exitDone).prints("pending", second)
	if all := annals(t, append([]string{"audit", "keys", "export", "--all"}, database...)...).exits(exitDone); strings.Contains(all.stdout.String(), second) {
		t.Errorf("exported: %s", all.stdout.String())
	}
	annals(t, append(rotate, "--reason", "r", "--new-key-file", file("second"))...).exits(exitDone).prints(second)
	server.caller(shop).product("w", 1)
	server.await("the key from outside isn't the log's")
	server.stop()
	server = serveHere(t, append([]string{"--signing-key-file", file("second")}, database...)...)
	server.caller(shop).product("x", 1)
	server.checkpoint(4, second)
}

// A rotation that is killed once its event is in the log is finished by the same command.
func TestKilledRotation(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	file := filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := []string{"ANNALS_SIGNING_KEY_FILE="}
	database := []string{"--database-url", db.DSN}
	serve := func(passphrase string) *program {
		flags := append([]string{"serve", "--addr", "127.0.0.1:0", "--signing-passphrase", passphrase}, database...)
		return runChild(t, none, flags...).listening()
	}
	keys := func() []string {
		list := annals(t, append([]string{"audit", "keys", "export", "--all"}, database...)...).exits(exitDone).stdout.String()
		return strings.Fields(list)
	}
	server := serve("old")
	server.caller(shop).product("a", 1)
	first := keys()[0]
	server.checkpoint(2, first)
	server.stop()
	rotate := append([]string{"audit", "keys", "rotate", "--reason", "r", "--signing-passphrase", "old", "--new-passphrase-file", file}, database...)
	killed := runChild(t, none, rotate...) // it waits a while for its event to be sealed, which nobody does
	for rotated := false; !rotated; {
		if err := db.Get(&rotated, `SELECT EXISTS (SELECT FROM annals.events WHERE event_type = 'signing_key.rotated')`); err != nil {
			t.Fatal(err)
		}
	}
	killed.kill()
	annals(t, append([]string{"audit", "verify"}, database...)...).exits(exitDone).prints("INTACT")
	server = serve("old")
	server.says("a rotation isn't finished")
	server.caller(shop).product("b", 1)
	server.checkpoint(4, first)
	server.stop()
	annals(t, append([]string{"audit", "verify", "--key", first}, database...)...).exits(exitDone).prints("INTACT", "wasn't finished by then")
	runChild(t, none, rotate...).exits(exitDone).prints("from position 3 on")
	server = serve("new")
	server.caller(shop).product("c", 1)
	both := keys()
	server.checkpoint(5, both[1])
	annals(t, append([]string{"audit", "verify", "--key", both[1]}, database...)...).exits(exitDone).prints("INTACT")
}

func TestSigningFlags(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := []string{"ANNALS_SIGNING_KEY_FILE="}
	for line, code := range map[string]int{
		"--signing-key-file a --signing-passphrase b":        exitMisuse,
		"--signing-passphrase a --signing-passphrase-file b": exitMisuse,
		"--signing-key-file /does/not/exist":                 exitFailed,
		"--signing-key-file " + text:                         exitFailed,
		"--signing-passphrase-file " + empty:                 exitFailed,
		"--signing-passphrase hidden --print-config":         exitDone,
	} {
		p := runChild(t, none, append([]string{"serve", "--addr", "127.0.0.1:0", "--data-dir", t.TempDir()}, strings.Fields(line)...)...).exits(code)
		if strings.Contains(p.stdout.String()+p.stderr.String(), "hidden") {
			t.Errorf("%s shows the passphrase", line)
		}
	}
	annals(t, "audit", "keys", "generate", filepath.Join(t.TempDir(), "k")).exits(exitMisuse).says("--name")
	annals(t, "audit", "nothing").exits(exitMisuse)
}

// Two servers on one database share the key: whoever signs, it is one log.
func TestServersShareTheKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	flags := []string{"--database-url", db.DSN, "--signing-passphrase", "shared"}
	none := []string{"ANNALS_SIGNING_KEY_FILE="}
	var servers []*program
	for range 2 {
		servers = append(servers, runChild(t, none, append([]string{"serve", "--addr", "127.0.0.1:0"}, flags...)...))
	}
	for _, s := range servers {
		s.listening()
	}
	key := strings.TrimSpace(annals(t, "audit", "keys", "export", "--database-url", db.DSN).exits(exitDone).stdout.String())
	if strings.Contains(key, "\n") {
		t.Fatalf("keys %q", key)
	}
	for i := range 6 {
		servers[i%2].caller(shop).product("p"+strconv.Itoa(i), 1)
	}
	a, b := servers[0].checkpoint(7, key), servers[1].checkpoint(7, key)
	if a != b {
		t.Errorf("%+v and %+v", a, b)
	}
	servers[0].kill()
	servers[1].caller(shop).product("last", 1)
	if c := servers[1].checkpoint(8, key); c.Size != 8 {
		t.Errorf("%+v", c)
	}
}
