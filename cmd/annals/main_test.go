package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"annals/eventstore/integrity"
	"annals/eventstore/pgtest"
)

// TestMain takes away what would choose a database or an address for the program, and removes what was built. The
// program's children have its environment too.
func TestMain(m *testing.M) {
	for _, setting := range os.Environ() {
		name, _, _ := strings.Cut(setting, "=")
		if name == "DATABASE_URL" || strings.HasPrefix(name, "ANNALS_") && name != pgtest.EnvDatabaseURL {
			os.Unsetenv(name)
		}
	}
	if err := giveSigningKey(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	secrets, err := os.MkdirTemp("", "annals-secrets-")
	if err != nil {
		panic(err)
	}
	// Tests that name a database share a secret; those with a data directory of their own would find one there.
	os.Setenv("ANNALS_SUBJECT_KEYS_FILE", filepath.Join(secrets, "subject-keys.secret"))
	code := m.Run()
	os.RemoveAll(secrets)
	built.remove()
	os.Remove(signingKeyFile)
	os.Exit(code)
}

// giveSigningKey gives all programs of the tests one key, so that none writes a passphrase outside of its directory.
func giveSigningKey() error {
	private, _, err := integrity.GenerateKey("annals.test/log")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "annals-signing-key-")
	if err != nil {
		return err
	}
	signingKeyFile = f.Name()
	_, err = f.WriteString(private + "\n")
	return errors.Join(err, f.Close(), os.Setenv("ANNALS_SIGNING_KEY_FILE", signingKeyFile))
}

// signingKeyFile is removed when the tests end.
var signingKeyFile string

// built is the program as a user has it, for tests that need a process. It is made once for all of them, by whichever
// asks first.
var built executable

type executable struct {
	once sync.Once
	dir  string
	err  error
}

func (b *executable) path(t testing.TB) string {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "annals-bin-"); b.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", b.name(), ".").CombinedOutput(); err != nil {
			b.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.name()
}

func (b *executable) name() string { return filepath.Join(b.dir, "annals") }

func (b *executable) remove() {
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}
