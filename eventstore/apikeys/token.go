// Package apikeys keeps API keys: it makes, lists, rotates and revokes them, and tells whose key a request carries. Of a
// key's secret only a hash is stored.
package apikeys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Prefix begins every key, so that one can be told from a token, and found where it was left lying about.
const Prefix = "annals_"

// Lengths of a key's parts in characters of five bits: an id of 60 bits, a secret of 256.
const (
	idLength     = 12
	secretLength = 52
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID makes the public part of a key.
func newID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails: the program ends where there is no randomness
	return encoding.EncodeToString(random[:])[:idLength]
}

// newSecret makes the part that only its holder knows.
func newSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:])
	return encoding.EncodeToString(random[:])
}

// hash is what is stored of a secret. A fast hash is enough: 256 random bits can't be guessed, whatever a guess costs.
func hash(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// token is a key as its holder has it.
func token(id, secret string) string { return Prefix + id + "_" + secret }

// parse splits a key into its parts.
func parse(token string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, Prefix)
	if !ok || len(rest) != idLength+1+secretLength || rest[idLength] != '_' {
		return "", "", false
	}
	id, secret = rest[:idLength], rest[idLength+1:]
	return id, secret, encoded(id) && encoded(secret)
}

func encoded(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') })
}
