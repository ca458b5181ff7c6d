package migrations_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/pgtest"
	"annals/migrations"
)

// A login role called annals has the schema of that name first on its search path as soon as the first migration has
// made it. What has been applied must be found all the same.
func TestUpDoesNotDependOnTheSearchPath(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	empty := pgtest.NewEmpty(t)
	db, err := sqlx.ConnectContext(ctx, "postgres", empty.DSN+"&search_path=annals,public")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	applied, err := migrations.Up(ctx, db.DB)
	if err != nil || len(applied) == 0 {
		t.Fatalf("the first run applied %d migrations: %v", len(applied), err)
	}
	again, err := migrations.Up(ctx, db.DB)
	if err != nil || len(again) != 0 {
		t.Fatalf("the second run applied %v: %v", again, err)
	}
	states, err := migrations.Status(ctx, empty.DB.DB)
	if err != nil || len(states) != len(applied) {
		t.Fatalf("%d states of %d migrations: %v", len(states), len(applied), err)
	}
	for _, s := range states {
		if !s.Applied {
			t.Errorf("%s isn't applied on another search path", s.Name)
		}
	}
}

// A program never asks for more than it is, and refuses a database that does.
func TestGeneration(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	if err := migrations.CheckCompatible(ctx, pgtest.NewEmpty(t).DB.DB); err != nil {
		t.Errorf("an empty database: %v", err)
	}
	db := pgtest.New(t)
	if err := migrations.CheckCompatible(ctx, db.DB.DB); err != nil {
		t.Errorf("after its own migrations: %v", err)
	}
	db.MustExec(`UPDATE annals.compatibility SET min_binary = $1`, migrations.Generation+1)
	var behind *migrations.IncompatibleError
	for name, err := range map[string]error{
		"the check": migrations.CheckCompatible(ctx, db.DB.DB),
		"Up":        second(migrations.Up(ctx, db.DB.DB)),
	} {
		if !errors.As(err, &behind) || behind.Binary != migrations.Generation || behind.Needed != migrations.Generation+1 {
			t.Errorf("%s of a database for newer programs: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A migration that loses to a deadlock with a server of the release before is tried again, from where it failed.
func TestUpIsTriedAgainAfterADeadlock(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmpty(t)
	db.MustExec(`CREATE TABLE first (); CREATE TABLE second ()`)
	busy := db.MustBegin()
	defer busy.Rollback()
	busy.MustExec(`LOCK TABLE second`)
	type outcome struct {
		applied []string
		err     error
	}
	done := make(chan outcome)
	go func() {
		applied, err := migrations.UpFrom(context.Background(), db.DB.DB, fstest.MapFS{
			"00001_easy.sql": {Data: []byte("-- +goose Up\nCREATE TABLE third ();")},
			"00002_two.sql":  {Data: []byte("-- +goose Up\nALTER TABLE first ADD n int; ALTER TABLE second ADD n int;")},
		})
		done <- outcome{applied, err}
	}()
	pgtest.Eventually(t, "the migration waits", func() bool {
		var waits bool
		err := db.Get(&waits, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'second'::regclass)`)
		return err == nil && waits
	})
	busy.MustExec(`LOCK TABLE first`) // the migration has waited for longer, and is the victim
	if err := busy.Commit(); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.err != nil || !slices.Equal(got.applied, []string{"00001_easy.sql", "00002_two.sql"}) {
		t.Errorf("applied %v: %v", got.applied, got.err)
	}
	db.MustExec(`SELECT first.n, second.n FROM first, second`)
}
