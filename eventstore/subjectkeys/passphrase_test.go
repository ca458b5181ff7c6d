//go:build !race

// Stretching a passphrase takes seconds under the race detector, which has nothing to find in it.

package subjectkeys_test

import (
	"bytes"
	"errors"
	"testing"

	"annals/eventstore/pgtest"
	"annals/eventstore/subjectkeys"
)

// A secret opens what was made under it, and no other does; the first one decides.
func TestSecret(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exist, err := subjectkeys.Exist(ctx, db.DSN)
	if err != nil || exist {
		t.Fatalf("keys exist before they are made: %t, %v", exist, err)
	}
	phrase := subjectkeys.Secret{Text: []byte("correct horse")}
	first, err := subjectkeys.Open(ctx, db.DSN, phrase)
	check(t, err)
	defer first.Close()
	key := current(t, first, "acme", jane)
	for _, wrong := range []subjectkeys.Secret{{Text: []byte("battery staple")}, {Text: []byte("correct hors"), Random: true}} {
		if _, err := subjectkeys.Open(ctx, db.DSN, wrong); !errors.Is(err, subjectkeys.ErrWrongSecret) {
			t.Errorf("a wrong secret: %v", err)
		}
	}
	if exist, err = subjectkeys.Exist(ctx, db.DSN); err != nil || !exist {
		t.Errorf("keys exist: %t, %v", exist, err)
	}
	again, err := subjectkeys.Open(ctx, db.DSN, phrase)
	check(t, err)
	defer again.Close()
	if same := current(t, again, "acme", jane); same.ID != key.ID || !bytes.Equal(same.Secret, key.Secret) {
		t.Errorf("the key is %v, was %v", same, key)
	}
	var iterations int
	check(t, db.Get(&iterations, `SELECT iterations FROM annals_keys.master`))
	if iterations < 600_000 {
		t.Errorf("a passphrase is stretched %d times", iterations)
	}
}
