package eventstore

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/eventstore/pgtest"
)

func TestStatesOfThePast(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	db := pgtest.New(t)
	store := openStore(t, db, func(c *Config) { c.Clock = func() time.Time { return now } })
	ctx := context.Background()
	id := newCounter(t, store, 1000)
	const events = 130 // long enough for a snapshot
	for range events - 1 {
		now = now.Add(time.Minute)
		mustRun(t, store, acmeCommand(), onCounter(id, counterTake(1)))
	}
	flushSnapshots(t, store)
	fresh := openStore(t, db)
	for _, s := range []*States{store.States, fresh.States} {
		for _, version := range []int64{1, 2, 100, 101, 102, events} {
			want := StateAt{AggregateType: "counter", ID: id, ClientID: acme, Loaded: domain.Loaded{
				State:   counterState{Left: 1001 - version, Events: version},
				Version: version, Position: version,
				CreatedAt: start, UpdatedAt: start.Add(time.Duration(version-1) * time.Minute),
			}}
			at := want.UpdatedAt.Add(59 * time.Second)
			byVersion, err1 := s.AtVersion(ctx, acme, "counter", id, version)
			byTime, err2 := s.AtTime(ctx, AllClients, "counter", id, at)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			name := byVersion.State.(counterState).Name
			state := want.State.(counterState)
			state.Name = name
			want.State = state
			if diff := cmp.Diff(want, byVersion); diff != "" || name == "" {
				t.Errorf("at version %d (-want +got):\n%s", version, diff)
			}
			if diff := cmp.Diff(want, byTime); diff != "" {
				t.Errorf("at %s (-want +got):\n%s", at, diff)
			}
		}
		current, err := s.Current(ctx, acme, "counter", id)
		if err != nil || current.Version != events || current.Position != events || !current.CreatedAt.Equal(start) {
			t.Errorf("current %+v, %v", current, err)
		}
		if exact, err := s.AtTime(ctx, acme, "counter", id, start); err != nil || exact.Version != 1 {
			t.Errorf("at the first event: %+v, %v", exact, err)
		}
		missing := map[string]func() (StateAt, error){
			"version 0":      func() (StateAt, error) { return s.AtVersion(ctx, acme, "counter", id, 0) },
			"version ahead":  func() (StateAt, error) { return s.AtVersion(ctx, acme, "counter", id, events+1) },
			"too early":      func() (StateAt, error) { return s.AtTime(ctx, acme, "counter", id, start.Add(-1000)) },
			"other client":   func() (StateAt, error) { return s.Current(ctx, "other", "counter", id) },
			"other client v": func() (StateAt, error) { return s.AtVersion(ctx, "other", "counter", id, 1) },
			"other client t": func() (StateAt, error) { return s.AtTime(ctx, "other", "counter", id, now) },
			"other type":     func() (StateAt, error) { return s.Current(ctx, acme, "mark", id) },
			"other type v":   func() (StateAt, error) { return s.AtVersion(ctx, acme, "mark", id, 1) },
			"unknown type":   func() (StateAt, error) { return s.Current(ctx, acme, "nothing", id) },
			"unknown type v": func() (StateAt, error) { return s.AtVersion(ctx, acme, "nothing", id, 1) },
			"unknown id":     func() (StateAt, error) { return s.Current(ctx, acme, "counter", newUUID()) },
		}
		for name, read := range missing {
			if got, err := read(); domain.CodeOf(err) != domain.CodeNotFound {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
	if stats := fresh.States.CacheStats(); stats.Entries != 1 {
		t.Errorf("cache %+v", stats)
	}
}

// flushSnapshots waits until the store has written what waits, and ends its writer.
func flushSnapshots(t testing.TB, store *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := store.States.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// A state that another node's events have moved on is read on from where it was, not from the beginning.
func TestCurrentReadsOn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := openStore(t, db), openStore(t, db)
	id := newCounter(t, a, 10)
	mustRun(t, b, acmeCommand(), onCounter(id, counterTake(1)))
	mustRun(t, b, acmeCommand(), onCounter(id, counterTake(1)))
	if left := counterLeft(t, a, id); left != 8 {
		t.Errorf("%d left", left)
	}
	if stats := a.States.CacheStats(); stats.Misses != 0 || stats.Refreshes != 1 {
		t.Errorf("cache %+v", stats)
	}
}

// A cached state that the log doesn't hold, because the log lost its tail, is thrown away.
func TestStateTheLogDoesNotHold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	id := newCounter(t, store, 10)
	mustRun(t, store, acmeCommand(), onCounter(id, counterTake(4)))
	// Another event has taken the lost one's version since.
	change(t, db, `ALTER TABLE annals.events DISABLE TRIGGER events_append_only;
		UPDATE annals.events SET position = 3, data = '{"n":1,"left":9}' WHERE position = 2`)
	if left := counterLeft(t, store, id); left != 9 {
		t.Errorf("%d left", left)
	}
	change(t, db, `DELETE FROM annals.events WHERE position = 3`)
	if left := counterLeft(t, store, id); left != 10 {
		t.Errorf("%d left", left)
	}
	store.States.Forget()
	if stats := store.States.CacheStats(); stats.Entries != 0 || stats.Bytes != 0 {
		t.Errorf("cache %+v", stats)
	}
}

// syncBuffer is a log that tests read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Count(s.b.Bytes(), []byte(text))
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	writer := openStore(t, db)
	id := newCounter(t, writer, 1000)
	for range 249 {
		mustRun(t, writer, acmeCommand(), onCounter(id, counterTake(1)))
	}
	flushSnapshots(t, writer)
	type row struct {
		Version     int64
		Position    int64
		Client      string `db:"client_id"`
		Type        string `db:"aggregate_type"`
		Fingerprint string
	}
	var stored row
	read := `SELECT version, position, client_id, aggregate_type, fingerprint FROM annals.snapshots WHERE aggregate_id = $1`
	if err := db.Get(&stored, read, id[:]); err != nil {
		t.Fatal(err)
	}
	fingerprint := counterRegistry(t).SnapshotFingerprint("counter")
	// 101 events after nothing, and 101 after that.
	if diff := cmp.Diff(row{202, 202, acme, "counter", fingerprint}, stored); diff != "" {
		t.Error(diff)
	}
	var log syncBuffer
	open := func(registry *domain.Registry) *Store {
		return openStore(t, db, func(c *Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if registry != nil {
				c.Registry = registry
			}
		})
	}
	// The state comes from the snapshot: 48 events more were applied to it.
	change(t, db, `UPDATE annals.snapshots SET state = jsonb_set(state::jsonb, '{events}', '1000')::json`)
	state, err := open(nil).States.Current(context.Background(), acme, "counter", id)
	if err != nil || state.State.(counterState).Events != 1048 || state.Version != 250 {
		t.Errorf("state %+v, %v", state, err)
	}
	reshaped := *counterAggregate
	reshaped.StateVersion++
	ignored := []struct {
		name, set string
		registry  *domain.Registry
		logged    int
	}{
		{"another shape", `version = 202`, counterRegistryOf(t, &reshaped), 0},
		{"a position the log doesn't have it at", `position = 201`, nil, 0},
		{"a version the stream doesn't have", `version = 300`, nil, 0},
		{"another fingerprint", `fingerprint = 'x'`, nil, 0},
		{"unreadable", `state = '[]'`, nil, 1},
	}
	for _, test := range ignored {
		change(t, db, `UPDATE annals.snapshots SET version = 202, position = 202, fingerprint = '`+fingerprint+`',
			state = '{"name": "wrong", "left": 7, "events": 7000}'`)
		change(t, db, `UPDATE annals.snapshots SET `+test.set)
		node := open(test.registry)
		for range 2 {
			state, err := node.States.Current(context.Background(), acme, "counter", id)
			if err != nil || state.State.(counterState).Events != 250 || state.Version != 250 {
				t.Errorf("%s: state %+v, %v", test.name, state, err)
			}
			node.States.Forget()
		}
		if got := log.count("a snapshot can't be read"); got != test.logged {
			t.Errorf("%s: logged %d times, want %d", test.name, got, test.logged)
		}
		mustRefuse(t, node, acmeCommand(), onCounter(id, counterTake(1000)), codeShort)
		// The long tail asks for a new snapshot, which replaces the one that can't be used.
		flushSnapshots(t, node)
		if err := db.Get(&stored, read, id[:]); err != nil || stored.Version != 250 {
			t.Errorf("%s: the snapshot is still there: %+v, %v", test.name, stored, err)
		}
	}
}

func change(t testing.TB, db *pgtest.DB, sql string) {
	t.Helper()
	if _, err := db.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

// A snapshot never serves another client than its stream's, whatever the snapshot says.
func TestSnapshotOfAnotherClient(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	id := newCounter(t, store, 1000)
	for range 110 {
		mustRun(t, store, acmeCommand(), onCounter(id, counterTake(1)))
	}
	flushSnapshots(t, store)
	change(t, db, `UPDATE annals.snapshots SET client_id = 'other', aggregate_type = 'mark'`)
	fresh := openStore(t, db)
	if _, err := fresh.States.Current(context.Background(), "other", "counter", id); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client sees it: %v", err)
	}
	if left := counterLeft(t, fresh, id); left != 890 {
		t.Errorf("%d left", left)
	}
}

// An event that this program doesn't know is an error, not a guess.
func TestUnknownEvents(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	id := newCounter(t, store, 10)
	mustRun(t, store, acmeCommand(), onCounter(id, counterTake(4)))
	change(t, db, `ALTER TABLE annals.events DISABLE TRIGGER events_append_only;
		UPDATE annals.events SET schema_version = 9 WHERE position = 2`)
	fresh := openStore(t, db)
	_, err := fresh.Runner.Run(context.Background(), acmeCommand(), onCounter(id, counterTake(1)))
	if err == nil || domain.CodeOf(err) != "" {
		t.Errorf("got %v, want a failure", err)
	}
}
