package subjectkeys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"annals/domain"
)

// Secret wraps every key. It is kept outside the databases.
type Secret struct {
	Text []byte
	// Random: the text is random itself, and needn't be made expensive to guess.
	Random bool
}

// passphraseIterations is what OWASP recommends for PBKDF2 with HMAC-SHA-256 (Password Storage Cheat Sheet, 2023).
const passphraseIterations = 600_000

func (s Secret) iterations() int {
	if s.Random {
		return 1
	}
	return passphraseIterations
}

// derive gives the key that wraps keys.
func (s Secret) derive(salt []byte, iterations int) (cipher.AEAD, error) {
	key, err := pbkdf2.Key(sha256.New, string(s.Text), salt, iterations, 32)
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// randomKey gives 32 random bytes.
func randomKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, and ends the program if it can't be done
	return key
}

var errUnwrap = errors.New("it doesn't unwrap")

// wrap seals a key for a purpose, which unwrap must name.
func wrap(aead cipher.AEAD, key []byte, purpose string) []byte {
	return aead.Seal(nil, nil, key, []byte(purpose))
}

func unwrap(aead cipher.AEAD, wrapped []byte, purpose string) ([]byte, error) {
	key, err := aead.Open(nil, nil, wrapped, []byte(purpose))
	if err != nil {
		return nil, errUnwrap
	}
	return key, nil
}

// Purposes of what is wrapped.
const purposeDigest = "annals digest key"

func purposeKey(id domain.ID, client string) string {
	return fmt.Sprintf("annals subject key %s %s", id, client)
}

func purposeReference(id domain.ID) string { return fmt.Sprintf("annals subject reference %s", id) }

// digest names a subject without telling who it is: without the digest key a name can't be tried.
func digest(key []byte, client string, subject domain.Subject) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range [...]string{client, subject.Kind, subject.Reference} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}
