package integrity_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"annals/eventstore/integrity"
)

func (b *bench) list() []integrity.Key {
	b.t.Helper()
	list, err := b.log.Keys(context.Background())
	check(b.t, err)
	return list
}

func TestFirstKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.locked = integrity.Secrets{Passphrase: "correct horse"} // not a random one
	b.seal(3)
	k := b.ensured(b.locked)
	list := b.list()
	if len(list) != 1 || list[0].Status != integrity.KeyActive || *list[0].Position != 1 || len(list[0].ID) != 8 ||
		len(b.rec.keys) != 1 || b.rec.keys[0] != list[0].VerifierKey {
		t.Fatalf("keys %+v, recorded %q", list, b.rec.keys)
	}
	c := b.verifies(b.sign(k), list[0].VerifierKey)
	origin, err := b.log.Origin(context.Background())
	check(t, err)
	if c.Origin != origin || !strings.HasPrefix(origin, "annals/") || c.Size != 3 {
		t.Errorf("checkpoint %+v of %s", c, origin)
	}
	// The next start finds it, and another process too.
	again := b.ensured(b.locked)
	if got := b.list(); len(got) != 1 || len(b.rec.keys) != 1 {
		t.Errorf("keys %+v", got)
	}
	b.seal(4)
	b.verifies(b.sign(again), list[0].VerifierKey)
}

func TestManyProcessesMakeOneKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 6 {
		k := b.keys(integrity.Secrets{PassphraseDir: dir})
		wg.Go(func() {
			if err := k.Ensure(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list := b.list(); len(list) != 1 || len(b.rec.keys) != 1 {
		t.Errorf("keys %+v", list)
	}
}

// The private key is nowhere in the database in the clear, in no form it could have.
func TestPrivateKeyIsEncrypted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seal(3)
	dir := t.TempDir()
	b.sign(b.ensured(integrity.Secrets{PassphraseDir: dir}))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("files %q", files)
	}
	info, err := os.Stat(files[0])
	check(t, err)
	passphrase, err := os.ReadFile(files[0])
	check(t, err)
	if info.Mode().Perm() != 0o600 || len(passphrase) < 40 {
		t.Errorf("the passphrase's file has mode %v and %d bytes", info.Mode(), len(passphrase))
	}
	// What the passphrase opens is the private key.
	var sealed []byte
	check(t, b.db.Get(&sealed, `SELECT private_key FROM annals.integrity_keys`))
	private, err := integrity.Decrypt(sealed, strings.TrimSpace(string(passphrase)), b.list()[0].VerifierKey)
	check(t, err)
	seed, err := base64.StdEncoding.DecodeString(private[strings.Index(private, "+A")+1:])
	if err != nil || len(seed) != 33 {
		parts := strings.SplitN(private, "+", 5)
		seed, err = base64.StdEncoding.DecodeString(parts[4])
		check(t, err)
	}
	secrets := map[string]string{
		"the private key": private, "the seed": string(seed[1:]), "the seed in hexadecimal": hex.EncodeToString(seed[1:]),
		"the seed in base64": base64.StdEncoding.EncodeToString(seed)[4:], "the passphrase": strings.TrimSpace(string(passphrase)),
	}
	everything := b.dump()
	if !strings.Contains(everything, string(sealed)) || !strings.Contains(everything, b.list()[0].VerifierKey) {
		t.Fatal("the dump doesn't hold what it must")
	}
	for name, secret := range secrets {
		if strings.Contains(everything, secret) {
			t.Errorf("%s is in the database", name)
		}
	}
}

// dump gives every value of every column of the schema, bytes as they are.
func (b *bench) dump() string {
	b.t.Helper()
	var columns []struct{ Table, Column, Type string }
	check(b.t, b.db.Select(&columns, `SELECT table_name AS "table", column_name AS "column", data_type AS "type"
		FROM information_schema.columns WHERE table_schema = 'annals'`))
	var all strings.Builder
	for _, c := range columns {
		var value string
		switch c.Type {
		case "bytea":
			value = fmt.Sprintf("%q", c.Column)
		case "text", "json":
			value = fmt.Sprintf("convert_to(%q::text, 'UTF8')", c.Column)
		default:
			continue
		}
		var values [][]byte
		check(b.t, b.db.Select(&values, fmt.Sprintf(`SELECT coalesce(%s, '') FROM annals.%q`, value, c.Table)))
		for _, v := range values {
			all.Write(v)
			all.WriteByte('\n')
		}
	}
	return all.String()
}

func TestProcessesThatCannotSign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seal(3)
	k := b.ensured(b.locked)
	b.sign(k)
	b.seal(5)
	foreign, _, err := integrity.GenerateKey("annals/other")
	check(t, err)
	for name, secrets := range map[string]integrity.Secrets{
		"another passphrase":       {Passphrase: "wrong"},
		"nothing":                  {},
		"a directory without file": {PassphraseDir: t.TempDir()},
		"another key":              {SignerKey: foreign},
		"no key at all":            {SignerKey: "PRIVATE+KEY+nothing"},
	} {
		other := b.keys(secrets)
		if err := other.Ensure(context.Background()); !errors.Is(err, integrity.ErrCannotSign) {
			t.Errorf("%s: %v", name, err)
		}
		if signed, err := signer(other).Sign(context.Background()); signed || !errors.Is(err, integrity.ErrCannotSign) {
			t.Errorf("%s: signed %v, %v", name, signed, err)
		}
	}
	// They changed nothing, and serve what others sign.
	c := b.verifies(b.sign(k), b.list()[0].VerifierKey)
	if c.Size != 5 || len(b.list()) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestKeyFromOutside(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seal(3)
	private, public, err := integrity.GenerateKey("example.org/log")
	check(t, err)
	k := b.ensured(integrity.Secrets{SignerKey: private})
	if c := b.verifies(b.sign(k), public); c.Origin != "example.org/log" {
		t.Errorf("%+v", c)
	}
	if strings.Contains(b.dump(), private) {
		t.Error("the private key is in the database")
	}
	var stored sql.Null[[]byte]
	check(t, b.db.Get(&stored, `SELECT private_key FROM annals.integrity_keys`))
	if stored.Valid {
		t.Error("something private is stored")
	}
	for _, name := range []string{"", "two words", "a+b"} {
		if _, _, err := integrity.GenerateKey(name); err == nil {
			t.Errorf("a key can be called %q", name)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	outside, outsidePublic, err := integrity.GenerateKey("annals/x")
	check(t, err)
	for name, c := range map[string]struct {
		later   integrity.Secrets
		options integrity.RotateOptions
		single  bool
	}{
		"under the same passphrase": {options: integrity.RotateOptions{Reason: "yearly"}},
		"under another passphrase": {later: integrity.Secrets{Passphrase: "new"},
			options: integrity.RotateOptions{Reason: "yearly", New: integrity.Secrets{Passphrase: "new"}}},
		"to a key from outside": {later: integrity.Secrets{SignerKey: outside},
			options: integrity.RotateOptions{Reason: "yearly", New: integrity.Secrets{SignerKey: outside}}},
		"after the old one was lost": {later: integrity.Secrets{Passphrase: "new"}, single: true,
			options: integrity.RotateOptions{Reason: "lost", OldKeyLost: true, New: integrity.Secrets{Passphrase: "new"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(`UPDATE annals.integrity_log SET origin = 'annals/x'`)
			b.seal(3)
			if c.later == (integrity.Secrets{}) {
				c.later = b.locked
			}
			k := b.ensured(b.locked)
			b.sign(k)
			b.seal(5)
			if c.single {
				k = b.keys(integrity.Secrets{})
			}
			made, err := k.Rotate(context.Background(), c.options)
			check(t, err)
			list := b.list()
			if len(list) != 2 || list[0].Status != integrity.KeyRetired || *list[0].RetiredPosition != 2 || list[0].RetiredAt == nil ||
				list[1].Status != integrity.KeyActive || *list[1].Position != 2 || list[1].ID != made.ID {
				t.Fatalf("keys %+v", list)
			}
			if c.options.New.SignerKey != "" && made.VerifierKey != outsidePublic {
				t.Error("another key than the one from outside")
			}
			// The first checkpoint afterwards is signed by both, each of which is enough.
			both, err := b.log.Latest(context.Background())
			check(t, err)
			b.verifies(both, list[1].VerifierKey)
			rotation := b.rec.rotations[0]
			if rotation.Reason != c.options.Reason || rotation.Replaces != list[0].VerifierKey || rotation.VerifierKey != made.VerifierKey {
				t.Errorf("recorded %+v", rotation)
			}
			old, err := integrity.Verifiers(list[0].VerifierKey)
			check(t, err)
			_, _, oldErr := integrity.ParseCheckpoint([]byte(both.Note), old)
			if err := integrity.VerifyRotation(rotation); (err != nil) != c.single || (oldErr != nil) != c.single || both.Size != 5 {
				t.Errorf("statement: %v; checkpoint at %d: %v", err, both.Size, oldErr)
			}
			var private int
			check(t, b.db.Get(&private, `SELECT count(private_key) FROM annals.integrity_keys WHERE status = 'retired'`))
			if private != 0 {
				t.Error("the old private key is still there")
			}
			// From then on the new one signs, also in another process.
			b.seal(6)
			next := b.sign(b.ensured(c.later))
			b.verifies(next, made.VerifierKey)
			if _, _, err := integrity.ParseCheckpoint([]byte(next.Note), old); !errors.Is(err, integrity.ErrCheckpoint) {
				t.Errorf("the old key signed after it was retired: %v", err)
			}
		})
	}
}

// A process that runs on takes up the new key by itself.
func TestRunningProcessFollowsARotation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seal(1)
	running := b.ensured(b.locked)
	b.sign(running)
	made, err := b.keys(b.locked).Rotate(context.Background(), integrity.RotateOptions{Reason: "yearly"})
	check(t, err)
	b.seal(2)
	b.verifies(b.sign(running), made.VerifierKey)
}

func TestRotationIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := context.Background()
	if _, err := b.keys(b.locked).Rotate(ctx, integrity.RotateOptions{Reason: "x"}); !errors.Is(err, integrity.ErrRotation) {
		t.Errorf("without a key: %v", err)
	}
	b.seal(1)
	b.ensured(b.locked)
	wrongName, _, err := integrity.GenerateKey("another.example")
	check(t, err)
	for name, c := range map[string]struct {
		secrets integrity.Secrets
		options integrity.RotateOptions
		want    error
	}{
		"without a reason":     {b.locked, integrity.RotateOptions{}, integrity.ErrRotation},
		"without the old key":  {integrity.Secrets{Passphrase: "wrong"}, integrity.RotateOptions{Reason: "x"}, integrity.ErrCannotSign},
		"to another log's key": {b.locked, integrity.RotateOptions{Reason: "x", New: integrity.Secrets{SignerKey: wrongName}}, integrity.ErrCannotSign},
	} {
		if _, err := b.keys(c.secrets).Rotate(ctx, c.options); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := b.list(); len(list) != 1 || list[0].Status != integrity.KeyActive || len(b.rec.keys) != 1 {
		t.Errorf("keys %+v", list)
	}
}

// A crash before the event leaves nothing, one after it is finished by the next start.
func TestInterruptedKeys(t *testing.T) {
	t.Parallel()
	crash := errors.New("crash")
	for name, c := range map[string]struct{ before, after error }{
		"before the event": {before: crash}, "after the event": {after: crash},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.seal(3)
			b.rec.before, b.rec.after = c.before, c.after
			if err := b.keys(b.locked).Ensure(context.Background()); !errors.Is(err, crash) {
				t.Fatal(err)
			}
			b.rec.before, b.rec.after = nil, nil
			k := b.ensured(b.locked)
			first := b.list()
			if len(first) != 1 || len(b.rec.keys) != 1 || b.rec.keys[0] != first[0].VerifierKey {
				t.Fatalf("keys %+v, recorded %q", first, b.rec.keys)
			}
			b.sign(k)
			b.rec.before, b.rec.after = c.before, c.after
			if _, err := k.Rotate(context.Background(), integrity.RotateOptions{Reason: "yearly"}); !errors.Is(err, crash) {
				t.Fatal(err)
			}
			b.rec.before, b.rec.after = nil, nil
			b.seal(4)
			k = b.ensured(b.locked)
			list := b.list()
			if current := list[len(list)-1]; current.Status != integrity.KeyActive || current.VerifierKey != b.rec.keys[len(b.rec.keys)-1] ||
				len(list) != len(b.rec.keys) {
				t.Fatalf("keys %+v, recorded %q", list, b.rec.keys)
			}
			if c.after != nil { // finished: signed by both
				both, err := b.log.Latest(context.Background())
				check(t, err)
				b.verifies(both, list[0].VerifierKey)
				b.verifies(both, list[1].VerifierKey)
			}
			b.seal(5)
			b.verifies(b.sign(k), list[len(list)-1].VerifierKey)
		})
	}
}

func TestCheckpointsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	private, public, err := integrity.GenerateKey("a.example")
	check(t, err)
	key, err := note.NewSigner(private)
	check(t, err)
	known, err := integrity.Verifiers(public)
	check(t, err)
	sign := func(text string) []byte {
		signed, err := note.Sign(&note.Note{Text: text}, key)
		check(t, err)
		return signed
	}
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if _, _, err := integrity.ParseCheckpoint(sign("a.example\n7\n"+root+"\nan extension\n"), known); err != nil {
		t.Errorf("a checkpoint with an extension: %v", err)
	}
	for name, signed := range map[string][]byte{
		"another origin":    sign("b.example\n7\n" + root + "\n"),
		"no root":           sign("a.example\n7\n"),
		"a short root":      sign("a.example\n7\nAAAA\n"),
		"a negative size":   sign("a.example\n-7\n" + root + "\n"),
		"a leading zero":    sign("a.example\n07\n" + root + "\n"),
		"no size":           sign("a.example\n\n" + root + "\n"),
		"not a note":        []byte("hello"),
		"an altered size":   []byte(strings.Replace(string(sign("a.example\n7\n"+root+"\n")), "\n7\n", "\n8\n", 1)),
		"nothing":           nil,
		"without a newline": []byte("a.example"),
	} {
		if _, _, err := integrity.ParseCheckpoint(signed, known); !errors.Is(err, integrity.ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (integrity.Checkpoint{Origin: "b.example"}).Sign(key); err == nil {
		t.Error("a key signs for another log")
	}
}
