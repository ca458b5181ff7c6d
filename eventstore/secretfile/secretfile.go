// Package secretfile finds a secret where the operator keeps it: a passphrase, a file with one, or, by default, a file that
// Annals makes itself with a random secret that only its owner can read.
package secretfile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Errors that callers react to.
var (
	// ErrMissing: there is no file, and none was to be made.
	ErrMissing = errors.New("the secret's file is missing")
	// ErrExposed: others than the file's owner may read it.
	ErrExposed = errors.New("others than its owner can read the secret's file: chmod 600 it")
	// ErrEmpty: there is nothing in the file.
	ErrEmpty = errors.New("the secret's file is empty")
)

// maxBytes bounds what is read.
const maxBytes = 64 << 10

// Source says where a secret is. Passphrase wins over PassphraseFile, and that over File.
type Source struct {
	Passphrase     string
	PassphraseFile string // a line end at its end doesn't count
	File           string // a random secret; may be made
}

// Secret is what was found.
type Secret struct {
	Text   []byte
	Random bool // the text is random, not somebody's words
}

// Read gives the secret. It fails with ErrMissing, ErrExposed and ErrEmpty. With create, a missing File is made: of several
// processes that do so at once, all get the same.
func (s Source) Read(create bool) (Secret, error) {
	switch {
	case s.Passphrase != "":
		return Secret{Text: []byte(s.Passphrase)}, nil
	case s.PassphraseFile != "":
		text, err := read(s.PassphraseFile)
		return Secret{Text: text}, err
	}
	secret, err := s.readFile()
	if !create || !errors.Is(err, ErrMissing) {
		return secret, err
	}
	if err := makeFile(s.File); err != nil {
		return Secret{}, fmt.Errorf("make the secret's file: %w", err)
	}
	return s.readFile()
}

func (s Source) readFile() (Secret, error) {
	info, err := os.Stat(s.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, fmt.Errorf("%w: %s", ErrMissing, s.File)
	case err != nil:
		return Secret{}, err
	case info.Mode().Perm()&0o077 != 0:
		return Secret{}, fmt.Errorf("%w: %s", ErrExposed, s.File)
	}
	text, err := read(s.File)
	return Secret{Text: text, Random: true}, err
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrMissing, path)
	case err != nil:
		return nil, err
	case info.Size() > maxBytes:
		return nil, fmt.Errorf("%s has %d bytes: that is no secret", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrEmpty, path)
	}
	return text, nil
}

// makeFile makes the file with all that is in it, or leaves the one that another process made meanwhile.
func makeFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	made, err := os.CreateTemp(dir, ".secret-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(made.Name())
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails, and ends the program if it can't be done
	_, err = fmt.Fprintln(made, hex.EncodeToString(secret))
	if err == nil {
		err = made.Sync()
	}
	if err = errors.Join(err, made.Close()); err != nil {
		return err
	}
	if err := os.Link(made.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	directory, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
