package eventstore

import (
	"context"
	"errors"
	"testing"

	"annals/eventstore/pgtest"
)

func TestCheckIncarnation(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	newCounter(t, store, 1)
	ctx := context.Background()
	var recorded []IncarnationChange
	failing := errors.New("failing")
	var fail error
	check := func(followers ...Progress) error {
		return store.CheckIncarnation(ctx, followers, func(_ context.Context, c IncarnationChange) error {
			recorded = append(recorded, c)
			return fail
		})
	}
	for range 2 { // the first start, and one on the same server
		if err := check(Progress{"a", 0}, Progress{"b", 1}); err != nil || len(recorded) != 0 {
			t.Fatalf("%v, recorded %+v", err, recorded)
		}
	}
	if err := check(Progress{"a", 1}, Progress{"ahead", 2}); !errors.Is(err, ErrLogBehind) {
		t.Errorf("a follower ahead of the log: %v", err)
	}
	for _, moved := range []string{
		`UPDATE annals.incarnation SET timeline = timeline + 1`,
		`UPDATE annals.incarnation SET system_identifier = system_identifier - 1`,
	} {
		change(t, db, moved)
		recorded, fail = nil, failing
		if err := check(); !errors.Is(err, failing) || len(recorded) != 1 {
			t.Errorf("%v, recorded %+v", err, recorded)
		}
		fail = nil
		if err := check(); err != nil || len(recorded) != 2 { // what failed to be recorded is tried again
			t.Errorf("%v, recorded %+v", err, recorded)
		}
		if c := recorded[1]; c.Before == c.Now || c.Head != 1 || c.Now.Timeline != 1 {
			t.Errorf("change %+v", c)
		}
		if err := check(); err != nil || len(recorded) != 2 { // what was recorded isn't again
			t.Errorf("%v, recorded %+v", err, recorded)
		}
	}
}

// Where the server keeps its identity to itself, a start goes on without it.
func TestCheckIncarnationWithoutTheRight(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	change(t, db, `REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`)
	err := store.CheckIncarnation(context.Background(), []Progress{{"a", 0}}, func(context.Context, IncarnationChange) error {
		t.Error("a change was recorded")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
