package secretfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"annals/eventstore/secretfile"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source secretfile.Source
		want   string
		random bool
		fails  error
	}{
		"a passphrase":             {secretfile.Source{Passphrase: "a b", PassphraseFile: "/nowhere"}, "a b", false, nil},
		"a passphrase in a file":   {secretfile.Source{PassphraseFile: write(t, " a b \r\n", 0o644)}, " a b ", false, nil},
		"no file with it":          {secretfile.Source{PassphraseFile: "/nowhere/p", File: "/nowhere"}, "", false, secretfile.ErrMissing},
		"an empty file":            {secretfile.Source{PassphraseFile: write(t, "\n", 0o600)}, "", false, secretfile.ErrEmpty},
		"a random secret":          {secretfile.Source{File: write(t, "00ff\n", 0o600)}, "00ff", true, nil},
		"one that others can read": {secretfile.Source{File: write(t, "00ff\n", 0o640)}, "", false, secretfile.ErrExposed},
		"none yet":                 {secretfile.Source{File: filepath.Join(t.TempDir(), "x")}, "", false, secretfile.ErrMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := c.source.Read(false)
			if !errors.Is(err, c.fails) || err == nil && (string(got.Text) != c.want || got.Random != c.random) {
				t.Errorf("got %q, random %t, %v", got.Text, got.Random, err)
			}
		})
	}
	if _, err := (secretfile.Source{File: write(t, strings.Repeat("x", 1<<20), 0o600)}).Read(true); err == nil {
		t.Error("a megabyte is taken for a secret")
	}
}

// Given no file; when many processes ask for it at once, one makes it and all get the same, which stays.
func TestOneSecretIsMade(t *testing.T) {
	t.Parallel()
	source := secretfile.Source{File: filepath.Join(t.TempDir(), "deep", "down", "secret")}
	got := make([]string, 16)
	var work sync.WaitGroup
	for i := range got {
		work.Go(func() {
			secret, err := source.Read(true)
			if err != nil || !secret.Random {
				t.Errorf("random %t, %v", secret.Random, err)
			}
			got[i] = string(secret.Text)
		})
	}
	work.Wait()
	for _, text := range got {
		if len(text) != 64 || text != got[0] {
			t.Errorf("secrets %q and %q", got[0], text)
		}
	}
	info, err := os.Stat(source.File)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(source.File))
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
