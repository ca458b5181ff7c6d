package subjectkeys_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/eventstore/subjectkeys"
	"annals/eventstore/subjectkeys/keystest"
	"annals/migrations"
)

var (
	ctx  = context.Background()
	jane = domain.Subject{Kind: "inspector", Reference: "Jane Doe"}
	john = domain.Subject{Kind: "inspector", Reference: "John Roe"}
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func current(t testing.TB, keys *subjectkeys.Keys, client string, subject domain.Subject) eventstore.SubjectKey {
	t.Helper()
	key, err := keys.Current(ctx, client, subject)
	check(t, err)
	return key
}

// Given a new subject; when many nodes meet it at once, one key is made and all use it. Others have keys of their own.
func TestCurrentIsOne(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*subjectkeys.Keys{keystest.Open(t, db.DSN), keystest.Open(t, db.DSN)}
	got := make([]eventstore.SubjectKey, 16)
	var work sync.WaitGroup
	for i := range got {
		work.Go(func() { got[i] = current(t, nodes[i%2], "acme", jane) })
	}
	work.Wait()
	for _, key := range got {
		if key.ID != got[0].ID || len(key.Secret) != 32 || !bytes.Equal(key.Secret, got[0].Secret) || key.Client != "acme" {
			t.Fatalf("keys %v and %v", key, got[0])
		}
	}
	others := []eventstore.SubjectKey{
		current(t, nodes[0], "acme", john), current(t, nodes[0], "globex", jane),
		current(t, nodes[0], "acme", domain.Subject{Kind: "customer", Reference: jane.Reference}),
	}
	for _, key := range others {
		if key.ID == got[0].ID || bytes.Equal(key.Secret, got[0].Secret) {
			t.Errorf("another subject has the same key: %v", key.ID)
		}
	}
	unknown := domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	found, err := nodes[1].Lookup(ctx, []domain.ID{got[0].ID, others[0].ID, unknown})
	check(t, err)
	if len(found) != 2 || !bytes.Equal(found[got[0].ID].Secret, got[0].Secret) || found[others[0].ID].Client != "acme" {
		t.Errorf("looked up %v", found)
	}
}

// Nothing in the tables is a key, or tells who the subjects are; and readers don't see them at all.
func TestTablesTellNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := keystest.Open(t, db.DSN)
	key := current(t, keys, "acme", jane)
	var dump string
	check(t, db.Get(&dump, `SELECT concat((SELECT string_agg(m::text, '') FROM annals_keys.master m),
		(SELECT string_agg(s::text, '') FROM annals_keys.subjects s), (SELECT string_agg(k::text, '') FROM annals_keys.keys k))`))
	for _, secret := range []string{hex.EncodeToString(key.Secret), jane.Reference, hex.EncodeToString([]byte(jane.Reference)),
		hex.EncodeToString([]byte("a secret for tests"))} {
		if bytes.Contains([]byte(dump), []byte(secret)) {
			t.Errorf("the tables hold %q: %s", secret, dump)
		}
	}
	for _, role := range []string{"annals_query"} {
		for _, table := range []string{"master", "subjects", "keys"} {
			var allowed bool
			check(t, db.Get(&allowed, `SELECT has_table_privilege($1, 'annals_keys.`+table+`', 'SELECT')`, role))
			if allowed {
				t.Errorf("%s reads annals_keys.%s", role, table)
			}
		}
	}
	var deletes bool
	check(t, db.Get(&deletes, `SELECT has_table_privilege('annals_app', 'annals_keys.keys', 'DELETE')`))
	if deletes {
		t.Error("the program may delete rows of keys")
	}
}

// Given a subject with a key; when it is erased, the key is gone on every node, its row tells when, and the next event gets
// another one. A repeat destroys nothing.
func TestErase(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	here, there := keystest.Open(t, db.DSN), keystest.Open(t, db.DSN)
	if _, err := here.Erase(ctx, "acme", jane); !errors.Is(err, subjectkeys.ErrUnknownSubject) {
		t.Errorf("an unknown subject: %v", err)
	}
	key, other := current(t, here, "acme", jane), current(t, here, "acme", john)
	erased, err := here.Erase(ctx, "acme", jane)
	check(t, err)
	if erased.Destroyed != 1 || len(erased.Pending) != 1 || erased.Pending[0] != key.ID {
		t.Errorf("erased %+v", erased)
	}
	found, err := there.Lookup(ctx, []domain.ID{key.ID, other.ID})
	check(t, err)
	if gone, known := found[key.ID]; !known || gone.Secret != nil || found[other.ID].Secret == nil {
		t.Errorf("the other node has %v", found)
	}
	again, err := there.Erase(ctx, "acme", jane)
	if err != nil || again.Destroyed != 0 || len(again.Pending) != 1 {
		t.Errorf("erased again, without a receipt: %+v, %v", again, err)
	}
	check(t, there.Receipted(ctx, []domain.ID{key.ID, other.ID}, 42))
	check(t, here.Receipted(ctx, []domain.ID{key.ID}, 43)) // the first receipt is the one that counts
	if again, err = here.Erase(ctx, "acme", jane); err != nil || again.Destroyed != 0 || len(again.Pending) != 0 {
		t.Errorf("erased again: %+v, %v", again, err)
	}
	next := current(t, there, "acme", jane)
	if next.ID == key.ID || next.Secret == nil {
		t.Errorf("the next key is %v", next)
	}
	list, err := here.List(ctx, subjectkeys.Filter{Client: "acme", Kind: jane.Kind, Subject: jane.Reference})
	check(t, err)
	if len(list) != 2 || *list[0].Subject != "Jane Doe" || list[0].Status() != "readable" ||
		list[1].Subject != nil || list[1].Status() != "erased" || *list[1].ReceiptPosition != 42 {
		t.Errorf("the subject's keys: %+v", list)
	}
	all, err := here.List(ctx, subjectkeys.Filter{Limit: 2})
	if err != nil || len(all) != 2 {
		t.Errorf("a list of 2: %v, %v", all, err)
	}
}

// A key that can't be read any more is as good as none, and doesn't keep from being read what other keys sealed.
func TestDamagedKeyHidesItselfAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := keystest.Open(t, db.DSN)
	damaged, sound := current(t, keys, "acme", jane), current(t, keys, "acme", john)
	db.MustExec(`UPDATE annals_keys.keys SET wrapped = decode(repeat('00', 60), 'hex') WHERE key_id = $1`, damaged.ID.String())
	found, err := keys.Lookup(ctx, []domain.ID{damaged.ID, sound.ID})
	check(t, err)
	if _, known := found[damaged.ID]; known || found[sound.ID].Secret == nil {
		t.Errorf("found %v", found)
	}
}

// While a hold is in force the key stays, and its beginning is the one of the first who asked for it.
func TestHold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys, others := keystest.Open(t, db.DSN), keystest.Open(t, db.DSN)
	if err := keys.SetHold(ctx, "acme", jane, true); !errors.Is(err, subjectkeys.ErrUnknownSubject) {
		t.Errorf("an unknown subject: %v", err)
	}
	key := current(t, keys, "acme", jane)
	since := func() *time.Time {
		t.Helper()
		list, err := keys.List(ctx, subjectkeys.Filter{Client: "acme", Kind: jane.Kind, Subject: jane.Reference})
		check(t, err)
		if len(list) != 1 || list[0].HeldSince == nil || list[0].Status() != "held" {
			t.Fatalf("on hold: %+v", list)
		}
		return list[0].HeldSince
	}
	check(t, keys.SetHold(ctx, "acme", jane, true))
	first := since()
	check(t, keys.SetHold(ctx, "acme", jane, true))
	if again := since(); !again.Equal(*first) {
		t.Errorf("the hold began at %v, and again at %v", first, again)
	}
	if _, err := others.Erase(ctx, "acme", jane); !errors.Is(err, subjectkeys.ErrHeld) {
		t.Errorf("erased on hold: %v", err)
	}
	if same := current(t, keys, "acme", jane); same.ID != key.ID {
		t.Error("the key of a subject on hold is gone")
	}
	check(t, keys.SetHold(ctx, "acme", jane, false))
	if _, err := others.Erase(ctx, "acme", jane); err != nil {
		t.Errorf("erased after the release: %v", err)
	}
}

// Given a hold that is being placed, its transaction not yet committed; when somebody erases, that waits for it and is
// refused.
func TestHoldInARace(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := keystest.Open(t, db.DSN)
	key := current(t, keys, "acme", jane)
	tx, err := db.BeginTxx(ctx, nil)
	check(t, err)
	if _, err := tx.Exec(`UPDATE annals_keys.subjects SET held_since = now()`); err != nil {
		t.Fatal(err)
	}
	erased := make(chan error, 1)
	go func() {
		_, err := keys.Erase(ctx, "acme", jane)
		erased <- err
	}()
	for waiting := 0; waiting == 0; { // until the erasure stands behind the hold
		check(t, db.Get(&waiting, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`))
		select {
		case err := <-erased:
			t.Fatalf("the erasure didn't wait for the hold: %v", err)
		default:
		}
	}
	check(t, tx.Commit())
	if err := <-erased; !errors.Is(err, subjectkeys.ErrHeld) {
		t.Errorf("the erasure: %v", err)
	}
	if same := current(t, keys, "acme", jane); same.ID != key.ID || same.Secret == nil {
		t.Error("the key of a subject on hold is gone")
	}
}

// The keys can be in a database that has nothing else, where the same migration makes the same tables.
func TestDatabaseOfTheirOwn(t *testing.T) {
	t.Parallel()
	log, apart := pgtest.New(t), pgtest.NewEmpty(t)
	for range 2 {
		if _, err := migrations.UpSubjectKeys(ctx, apart.DB.DB); err != nil {
			t.Fatal(err)
		}
	}
	const columns = `SELECT string_agg(concat(table_schema, '.', table_name, '.', column_name, ' ', data_type), ', '
		ORDER BY table_name, ordinal_position) FROM information_schema.columns
		WHERE table_schema IN ('annals', 'annals_keys') AND table_schema = $1`
	var want, got string
	check(t, log.Get(&want, columns, "annals_keys"))
	check(t, apart.Get(&got, columns, "annals_keys"))
	if got != want {
		t.Errorf("the tables apart are\n%s\nwant\n%s", got, want)
	}
	var logs int
	check(t, apart.Get(&logs, `SELECT count(*) FROM pg_namespace WHERE nspname = 'annals'`))
	if logs != 0 {
		t.Error("the database of the keys has the schema of a log")
	}
	current(t, keystest.Open(t, apart.DSN), "acme", jane)
}
