package integrity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/mod/sumdb/note"
)

// ErrCannotSign says that this process doesn't have the log's private key. Events are sealed all the same, and signed by
// a process that has it.
var ErrCannotSign = errors.New("checkpoints can't be signed here")

// Secrets say where the private key is, or what opens the one in the database. The first that is set counts.
type Secrets struct {
	// SignerKey is a private key from outside, as C2SP signed notes write it ("PRIVATE+KEY+…"). Nothing private is stored.
	SignerKey string
	// Passphrase encrypts the key in the database.
	Passphrase string
	// PassphraseDir is where a passphrase is kept that is made when the key is: a file that only its owner may read.
	PassphraseDir string
}

// signerKey is a private key in its text form, with the verifier key that belongs to it.
type signerKey struct{ private, verifier string }

// newSignerKey makes a key for a log.
func newSignerKey(origin string) (signerKey, error) {
	private, verifier, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return signerKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	return signerKey{private, verifier}, nil
}

// GenerateKey makes a key outside of any log, for Secrets.SignerKey. The name becomes the origin of a log whose first key
// it is; a later key must have the log's origin.
func GenerateKey(name string) (private, verifier string, err error) {
	k, err := newSignerKey(name)
	if err == nil {
		_, err = note.NewSigner(k.private) // refuses names that can't be in a note
	}
	if err != nil {
		return "", "", fmt.Errorf("make a signing key called %q: %w", name, err)
	}
	return k.private, k.verifier, nil
}

// parseSignerKey reads a private key's text.
func parseSignerKey(private string) (signerKey, error) {
	private = strings.TrimSpace(private)
	signer, err := note.NewSigner(private)
	if err != nil {
		return signerKey{}, fmt.Errorf("%w: the signing key isn't one of a signed note (PRIVATE+KEY+…)", ErrCannotSign)
	}
	parts := strings.SplitN(private, "+", 5) // as NewSigner has checked
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize || seed[0] != 1 {
		return signerKey{}, fmt.Errorf("%w: the signing key isn't Ed25519", ErrCannotSign)
	}
	public := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(signer.Name(), public)
	return signerKey{private, verifier}, err
}

// VerifierKey gives the public part of a private key's text. It fails with ErrCannotSign for text that isn't one.
func VerifierKey(private string) (string, error) {
	k, err := parseSignerKey(private)
	return k.verifier, err
}

// Sealed private keys: a version byte, the costs of Argon2id (time, memory in KiB, threads), its salt, the nonce of
// AES-256-GCM, and the ciphertext, which is bound to the verifier key.
const (
	sealVersion    = 1
	kdfTime        = 2
	kdfMemory      = 19 << 10 // KiB; with the others what OWASP asks for
	kdfThreads     = 1
	kdfRandom      = 64 // KiB, for a random passphrase of 256 bits: it can't be guessed, however fast
	kdfSalt        = 16
	gcmNonce       = 12
	sealHeader     = 1 + 4 + 4 + 1
	maxKDFTime     = 64
	maxKDFMemory   = 1 << 20
	passphraseSize = 32
)

// encrypt seals a private key under a passphrase, whose trial is to take memory in KiB.
func (k signerKey) encrypt(passphrase string, memory uint32) []byte {
	sealed := []byte{sealVersion}
	sealed = binary.BigEndian.AppendUint32(sealed, kdfTime)
	sealed = binary.BigEndian.AppendUint32(sealed, memory)
	sealed = append(sealed, kdfThreads)
	random := make([]byte, kdfSalt+gcmNonce)
	_, _ = rand.Read(random) // never fails
	sealed = append(sealed, random...)
	aead := passphraseCipher(passphrase, random[:kdfSalt], kdfTime, memory, kdfThreads)
	return aead.Seal(sealed, random[kdfSalt:], []byte(k.private), []byte(k.verifier))
}

// decrypt opens what encrypt sealed. It fails with ErrCannotSign for another passphrase.
func decrypt(sealed []byte, passphrase, verifier string) (signerKey, error) {
	if len(sealed) < sealHeader+kdfSalt+gcmNonce || sealed[0] != sealVersion {
		return signerKey{}, fmt.Errorf("%w: the stored key is of a form that this program doesn't know", ErrCannotSign)
	}
	time, memory := binary.BigEndian.Uint32(sealed[1:]), binary.BigEndian.Uint32(sealed[5:])
	threads := sealed[9]
	if time < 1 || time > maxKDFTime || memory > maxKDFMemory || threads < 1 {
		return signerKey{}, fmt.Errorf("%w: the stored key demands too much work to open", ErrCannotSign)
	}
	salt, rest := sealed[sealHeader:sealHeader+kdfSalt], sealed[sealHeader+kdfSalt:]
	aead := passphraseCipher(passphrase, salt, time, memory, threads)
	private, err := aead.Open(nil, rest[:gcmNonce], rest[gcmNonce:], []byte(verifier))
	if err != nil {
		return signerKey{}, fmt.Errorf("%w: the passphrase isn't the signing key's", ErrCannotSign)
	}
	return signerKey{string(private), verifier}, nil
}

func passphraseCipher(passphrase string, salt []byte, time, memory uint32, threads uint8) cipher.AEAD {
	block, err := aes.NewCipher(argon2.IDKey([]byte(passphrase), salt, time, memory, threads, 32))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block has 16 bytes
	}
	return aead
}

// memory is what the trial of a passphrase is to take, in KiB.
func (s Secrets) memory() uint32 {
	if s.Passphrase == "" {
		return kdfRandom
	}
	return kdfMemory
}

// passphrase gives the passphrase for the log's key. Where none is configured it is in a file, which create makes.
func (s Secrets) passphrase(logID string, create bool) (string, error) {
	if s.Passphrase != "" {
		return s.Passphrase, nil
	}
	if s.PassphraseDir == "" {
		return "", fmt.Errorf("%w: no passphrase is configured", ErrCannotSign)
	}
	path := filepath.Join(s.PassphraseDir, "signing-passphrase-"+logID)
	data, err := os.ReadFile(path)
	switch {
	case err == nil && strings.TrimSpace(string(data)) == "":
		return "", fmt.Errorf("%w: %s is empty", ErrCannotSign, path)
	case err == nil:
		return strings.TrimSpace(string(data)), nil
	case errors.Is(err, os.ErrNotExist) && create:
		return makePassphrase(path)
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%w: the signing key's passphrase isn't configured, nor is it in %s", ErrCannotSign, path)
	default:
		return "", fmt.Errorf("%w: %w", ErrCannotSign, err)
	}
}

// makePassphrase writes a random passphrase to a file that is whole or not there.
func makePassphrase(path string) (_ string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: write a passphrase to %s: %w", ErrCannotSign, path, err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	random := make([]byte, passphraseSize)
	_, _ = rand.Read(random) // never fails
	passphrase := base64.RawURLEncoding.EncodeToString(random)
	f, err := os.CreateTemp(filepath.Dir(path), ".signing-passphrase-*") // 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // no longer there once it is renamed
	_, err = f.WriteString(passphrase + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	return passphrase, os.Rename(f.Name(), path)
}
