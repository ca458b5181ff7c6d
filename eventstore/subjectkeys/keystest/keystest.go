// Package keystest gives tests the subject keys of their database.
package keystest

import (
	"context"
	"testing"

	"annals/eventstore/subjectkeys"
)

// Open opens the keys in a migrated database until the test ends, with the same secret each time.
func Open(t testing.TB, dsn string) *subjectkeys.Keys {
	t.Helper()
	secret := subjectkeys.Secret{Text: []byte("a secret for tests"), Random: true}
	keys, err := subjectkeys.Open(context.Background(), dsn, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() }) // reports connections that broke while they were idle
	return keys
}
