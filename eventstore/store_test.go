package eventstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// After a reconnect the database may be another one: nothing that was read before is taken for granted.
func TestReconnectEmptiesTheCache(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var reconnects atomic.Int64
	store := openStore(t, db, func(c *Config) {
		c.Sequencer.OnReconnect = func() { reconnects.Add(1) }
	})
	id, other := newCounter(t, store, 10), newCounter(t, store, 10)
	if stats := store.States.CacheStats(); stats.Entries != 2 {
		t.Fatalf("cache %+v", stats)
	}
	change(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE '%append'`)
	mustRun(t, store, acmeCommand(), onCounter(id, counterTake(1)))
	if stats := store.States.CacheStats(); stats.Entries > 1 || reconnects.Load() != 1 {
		t.Errorf("after %d reconnects the cache is %+v", reconnects.Load(), stats)
	}
	if left := counterLeft(t, store, other); left != 10 {
		t.Errorf("%d left", left)
	}
}

// A database that took another's place may have other streams: what this node knew of versions refuses nothing there.
func TestReconnectForgetsVersions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	stream := freshID()
	mustAppend(t, s, onStream(stream, 0, 3))
	tx := db.MustBegin()
	tx.MustExec(`SET LOCAL session_replication_role = replica`)
	tx.MustExec(`UPDATE annals.events SET aggregate_id = gen_random_uuid(), aggregate_version = 1`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	change(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE '%append'`)
	mustAppend(t, s, onStream(freshID(), 0, 1)) // finds the connection lost
	mustAppend(t, s, onStream(stream, 0, 1))
}

// What a reader was shown must not be written anew: the node that showed it remembers how far the log reached.
func TestReadersRaiseTheKnownHead(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	mustAppend(t, openSequencer(t, db.DSN), onStream(freshID(), 0, 3)) // another node
	for name, read := range map[string]func() error{
		"head":        func() error { _, err := store.Reader.Head(t.Context()); return err },
		"as recorded": func() error { _, err := store.Reader.AsRecorded().Head(t.Context()); return err },
	} {
		store.Sequencer.knownHead.Store(0)
		if err := read(); err != nil || store.Sequencer.KnownHead() != 3 {
			t.Errorf("%s: the known head is %d, %v", name, store.Sequencer.KnownHead(), err)
		}
	}
}

func TestOpenAndClose(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	id := newCounter(t, store, 1)
	for range 2 {
		if err := store.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := store.Runner.Run(context.Background(), acmeCommand(), onCounter(id, counterTake(1))); !errors.Is(err, ErrClosed) {
		t.Errorf("a command on a closed store gives %v", err)
	}
	if _, err := Open(context.Background(), Config{DSN: db.DSN}); err == nil {
		t.Error("a store without a registry opens")
	}
	empty := pgtest.NewEmpty(t)
	if _, err := Open(context.Background(), Config{DSN: empty.DSN, Registry: counterRegistry(t)}); err == nil {
		t.Error("a store opens on a database without its schema")
	}
	waitForNone(t, empty, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'annals%'`)
}

// waitForNone repeats a query for a count until it is 0: the server notices closed connections in its own time.
func waitForNone(t *testing.T, db *pgtest.DB, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for open := -1; open != 0; {
		if err := db.GetContext(ctx, &open, query); err != nil {
			t.Fatalf("still %d: %v", open, err)
		}
	}
}
