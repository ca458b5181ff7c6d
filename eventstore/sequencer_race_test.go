package eventstore

import (
	"context"
	"errors"
	"sync"
	"testing"

	"annals/eventstore/pgtest"
)

// TestRaceOnOneStream lets many callers race on one stream. Each decides again after a conflict, and all succeed.
func TestRaceOnOneStream(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Sequencer{openSequencer(t, db.DSN), openSequencer(t, db.DSN)}
	const callers, each = 64, 3
	stream := freshID()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			version := int64(0)
			for done := 0; done < each; {
				_, err := nodes[i%2].Append(t.Context(), onStream(stream, version, 1))
				if conflict, ok := errors.AsType[*ConflictError](err); ok {
					if conflict.Versions[stream] <= version {
						t.Errorf("conflict at version %d tells of version %d", version, conflict.Versions[stream])
						return
					}
					version = conflict.Versions[stream]
					continue
				}
				if err != nil {
					t.Error(describe(err))
					return
				}
				version++
				done++
			}
		})
	}
	wg.Wait()
	checkDense(t, db, callers*each)
}

// TestLongTransactionElsewhere: what is open in the database neither stops appends nor makes a reader miss any.
func TestLongTransactionElsewhere(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	tx := db.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`SELECT pg_current_xact_id(); SELECT count(*) FROM annals.events`)
	const callers, each = 8, 25
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			stream := freshID()
			for v := range int64(each) {
				mustAppend(t, s, onStream(stream, v, 1))
			}
		})
	}
	// A reader by position sees each event once, in order and without a gap, while they are written.
	for last := int64(0); last < callers*each; {
		var positions []int64
		if err := db.Select(&positions, `SELECT position FROM annals.events WHERE position > $1 ORDER BY position`, last); err != nil {
			t.Fatal(err)
		}
		for _, p := range positions {
			if p != last+1 {
				t.Fatalf("position %d follows %d", p, last)
			}
			last = p
		}
	}
	wg.Wait()
}

func TestSignal(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	writer, other := openSequencer(t, db.DSN), openSequencer(t, db.DSN)
	wake, cancel := other.Signal().Subscribe()
	defer cancel()
	mustAppend(t, writer, onStream(freshID(), 0, 3))
	for name, node := range map[string]*Sequencer{"writer": writer, "other": other} {
		for head := int64(0); head < 3; {
			var err error
			if head, err = node.Signal().Wait(t.Context(), head); err != nil {
				t.Fatal(name, err)
			}
		}
	}
	<-wake
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if head, err := other.Signal().Wait(ctx, 3); head != 3 || !errors.Is(err, context.Canceled) {
		t.Error(head, err)
	}
	// A lost listening connection is made again, and what may have been missed wakes.
	db.MustExec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'annals listen'`)
	<-wake
	mustAppend(t, writer, onStream(freshID(), 0, 1))
	for other.Signal().Head() < 4 {
		if _, err := other.Signal().Wait(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
	}
}
