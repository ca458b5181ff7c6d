package sealer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/projectionstest"
	"annals/projections/sealer"
)

// fill writes events $1 to $2 past the event store, with all kinds of text.
const fill = `
	INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
		schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
		data, metadata, data_salt, metadata_salt)
	SELECT n, gen_random_uuid(), md5('stream' || n % 100)::uuid, (n - 1) / 100 + 1, now(), clock_timestamp(), 1, 'cart.created', 'cart',
		'acme', 'Ädä "x"', 'request-' || n, CASE WHEN n % 2 = 0 THEN 'command-' || n ELSE '' END, 'request-' || n,
		json_build_object('n', n), '{ "traceparent" : "x" }', uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid())
	FROM generate_series($1::bigint, $2::bigint) n`

// bench is a log and the reader of its tree.
type bench struct {
	t   testing.TB
	db  *pgtest.DB
	log *integrity.Log
}

func setup(t testing.TB, events int64) *bench {
	t.Helper()
	db := pgtest.New(t)
	b := &bench{t: t, db: db, log: integrity.NewLog(db.DB)}
	if err := projections.EnsureSchemas(context.Background(), db.DB, sealer.New().Spec()); err != nil {
		t.Fatal(err)
	}
	b.fill(1, events)
	return b
}

func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	if _, err := b.db.Exec(query, args...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) fill(from, to int64) { b.t.Helper(); b.exec(fill, from, to) }

// tamper does what the trigger doesn't let anybody do.
func (b *bench) tamper(query string, args ...any) {
	b.t.Helper()
	b.exec(`ALTER TABLE annals.events DISABLE TRIGGER ALL; ALTER TABLE annals.integrity_tiles DISABLE TRIGGER ALL`)
	b.exec(query, args...)
	b.exec(`ALTER TABLE annals.events ENABLE TRIGGER ALL; ALTER TABLE annals.integrity_tiles ENABLE TRIGGER ALL`)
}

// run runs a group with the projector until stop is called.
func (b *bench) run(pageSize int, p projections.Projector, change ...func(*projections.Config)) (g *projections.Group, stop func()) {
	b.t.Helper()
	pool, err := eventstore.OpenPreparedDB(b.db.DSN, eventstore.RoleApp, 4, "sealer")
	if err != nil {
		b.t.Fatal(err)
	}
	registry, err := domain.NewRegistry()
	if err != nil {
		b.t.Fatal(err)
	}
	cfg := projections.Config{
		DB: pool, Registry: registry, PageSize: pageSize, Poll: 5 * time.Millisecond, RetryPause: time.Millisecond,
		StandbyPause: time.Millisecond, ErrorPause: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	g, err = projections.New(cfg, p)
	if err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	stop = sync.OnceFunc(func() {
		if err := g.Close(); err != nil {
			b.t.Error(err)
		}
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		pool.Close()
	})
	b.t.Cleanup(stop)
	return g, stop
}

// sealed waits until the tree has a size, and checks it from scratch: the root over the leaves of the events as they are,
// each tile, and the subscriber's position.
func (b *bench) sealed(g *projections.Group, size int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.WaitFor(ctx, sealer.Name, size); err != nil {
		b.t.Fatal(err)
	}
	b.verify(size)
}

func (b *bench) verify(size int64) {
	b.t.Helper()
	ctx := context.Background()
	records, err := integrity.NewRecords(projectionstest.Tenants(b.t, b.db.DSN)).Page(ctx, eventstore.AllClients, 0, size)
	if err != nil {
		b.t.Fatal(err)
	}
	var tree integrity.Tree
	for _, r := range records {
		leaf, err := r.Leaf()
		if err != nil {
			b.t.Fatal(err)
		}
		hash, err := leaf.Hash()
		if err != nil {
			b.t.Fatal(err)
		}
		tree.Append(hash, func(want integrity.Tile) {
			got, err := b.log.Tile(ctx, want.Level, want.Index, 256)
			if err != nil || string(got) != string(want.Hashes) {
				b.t.Errorf("tile %d of level %d: %v", want.Index, want.Level, err)
			}
		})
	}
	view, err := b.log.View(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	var position, tiles int64
	if err := b.db.Get(&position, `SELECT position FROM annals.subscribers WHERE name = 'sealer'`); err != nil {
		b.t.Fatal(err)
	}
	if err := b.db.Get(&tiles, `SELECT count(*) FROM annals.integrity_tiles`); err != nil {
		b.t.Fatal(err)
	}
	if view.Size() != size || view.Root() != tree.Root() || position != size || tiles != size/256+size/65536 {
		b.t.Errorf("size %d, root %v, position %d, %d tiles; want size %d, root %v", view.Size(), view.Root(), position, tiles,
			size, tree.Root())
	}
}

// failure waits until the sealer has stopped.
func (b *bench) failure(g *projections.Group) (projections.State, string) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		states, err := g.Status(context.Background())
		if err != nil {
			b.t.Fatal(err)
		}
		if f := states[0].Failure; f != nil && f.Attempts > 1 {
			return states[0], f.Error
		}
	}
	b.t.Fatal("the sealer didn't stop")
	return projections.State{}, ""
}

func TestPagesAreSealed(t *testing.T) {
	t.Parallel()
	for _, pageSize := range []int{7, 256, 1000} {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			t.Parallel()
			b := setup(t, 700)
			g, _ := b.run(pageSize, sealer.New())
			b.sealed(g, 700)
			b.fill(701, 1300)
			b.sealed(g, 1300)
		})
	}
}

// crashing seals a page and then fails in its transaction, or lets it commit.
type crashing struct {
	sealer.Sealer
	fails func() bool
}

func (c crashing) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	if err := c.Sealer.Apply(ctx, tx, page); err != nil {
		return err
	}
	if c.fails() {
		return context.DeadlineExceeded // not an event's failure: the page is rolled back and tried again
	}
	return nil
}

func TestRolledBackPagesLeaveNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, 1500)
	var calls atomic.Int64
	g, _ := b.run(100, crashing{fails: func() bool { return calls.Add(1)%3 != 0 }})
	b.sealed(g, 1500)
	if n := calls.Load(); n < 40 {
		t.Errorf("%d calls", n)
	}
}

func TestNodesTakeTurns(t *testing.T) {
	t.Parallel()
	b := setup(t, 1000)
	first, stop := b.run(50, sealer.New())
	second, _ := b.run(70, sealer.New())
	b.sealed(first, 1000)
	b.fill(1001, 2000)
	stop() // in the middle of whatever it does
	b.sealed(second, 2000)
}

// write appends pairs of events, a batch each, and gives the log whose tail has them.
func (b *bench) write(pairs int64) *eventstore.Sequencer {
	b.t.Helper()
	ctx := context.Background()
	log, err := eventstore.OpenSequencer(ctx, eventstore.SequencerConfig{DSN: b.db.DSN})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { log.Close(ctx) })
	stream := domain.ID(uuid.Must(uuid.NewV7()))
	for pair := range pairs {
		request := eventstore.AppendRequest{
			Client: "acme", Streams: []eventstore.StreamExpectation{{AggregateID: stream, Expected: 2 * pair}},
		}
		for n := range int64(2) {
			request.Events = append(request.Events, eventstore.NewEvent{
				EventID: domain.ID(uuid.Must(uuid.NewV7())), EventType: "cart.created", SchemaVersion: 1, AggregateType: "cart",
				AggregateID: stream, AggregateVersion: 2*pair + n + 1, ActorID: "Ädä \"x\"", OccurredAt: time.Now(),
				CorrelationID: "c", CausationID: "", RequestID: "r", Data: []byte(`{ "n" : "é" }`), Metadata: []byte(`{"k":  "v"}`),
			})
		}
		if _, err := log.Append(ctx, request); err != nil {
			b.t.Fatal(err)
		}
	}
	return log
}

// What this node has written is sealed as it was written: an event that is altered before the sealer comes to it is found.
func TestWhatWasWrittenIsSealed(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	log := b.write(30)
	b.exec(`CREATE TABLE original AS SELECT position, data FROM annals.events`)
	b.tamper(`UPDATE annals.events SET data = '{ "n" : "e" }' WHERE position = 40`)
	g, _ := b.run(50, sealer.New(), func(cfg *projections.Config) { cfg.Waker, cfg.Tail = log.Signal(), log.Tail() })
	wait, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.WaitFor(wait, sealer.Name, 60); err != nil {
		t.Fatal(err)
	}
	b.tamper(`UPDATE annals.events e SET data = o.data FROM original o WHERE o.position = e.position AND e.position = 40`)
	b.verify(60)
}

// The leaf's format is what the database gave the event: one that this program doesn't know stops it, also where it wrote the event.
func TestWhatWasWrittenInALaterFormat(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	log := b.write(3)
	b.tamper(`UPDATE annals.events SET leaf_version = 2 WHERE position IN (3, 4)`)
	g, _ := b.run(50, sealer.New(), func(cfg *projections.Config) { cfg.Waker, cfg.Tail = log.Signal(), log.Tail() })
	if state, text := b.failure(g); state.Failure.Position != 3 || !strings.Contains(text, "the leaf's format is not known: version 2") {
		t.Errorf("%+v: %s", state, text)
	}
	b.verify(2)
}

func TestGapsAbort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to int64 // what is taken away
		sealed   int64
	}{
		"in a page":          {from: 42, to: 42, sealed: 41},
		"the first":          {from: 1, to: 1, sealed: 0},
		"a page's last":      {from: 50, to: 50, sealed: 49},
		"a whole page":       {from: 51, to: 100, sealed: 50},
		"more than one page": {from: 31, to: 190, sealed: 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 300)
			b.exec(`CREATE TABLE taken AS SELECT * FROM annals.events WHERE position BETWEEN $1 AND $2`, c.from, c.to)
			b.tamper(`DELETE FROM annals.events WHERE position BETWEEN $1 AND $2`, c.from, c.to)
			g, _ := b.run(50, sealer.New())
			state, text := b.failure(g)
			if state.Position != c.sealed || state.Failure.Position != c.from || !strings.Contains(text, fmt.Sprintf("position %d is missing", c.from)) {
				t.Errorf("%+v: %s", state, text)
			}
			b.verify(c.sealed)
			// The event can't be left out.
			err := g.Skip(context.Background(), sealer.Name, c.from, "a reason", "me")
			if !errors.Is(err, projections.ErrNotSkipped) {
				t.Errorf("skip: %v", err)
			}
			// Once it is back, sealing goes on.
			b.exec(`INSERT INTO annals.events SELECT * FROM taken`)
			b.sealed(g, 300)
		})
	}
}

func TestContradictionsAbort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, text string }{
		"the position is ahead":  {`UPDATE annals.subscribers SET position = position + 5`, "position 301 is missing: the tree reaches to 300, and position 306 came next"},
		"the position is behind": {`UPDATE annals.subscribers SET position = position - 5`, "position 296 is sealed already: the tree reaches to 300"},
		"another root":           {`UPDATE annals.integrity_log SET root = sha256('x')`, "the edge's root is"},
		"another edge":           {`UPDATE annals.integrity_log SET open_leaves = set_byte(open_leaves, 40, 255 - get_byte(open_leaves, 40))`, "the edge's root is"},
		"another size":           {`UPDATE annals.integrity_log SET size = size + 1`, "level 0 has too few hashes"},
		"a short salt":           {`UPDATE annals.events SET data_salt = '' WHERE position = 301`, "position 301: not a leaf: its salts have 0 and 16 bytes"},
		"a later format":         {`UPDATE annals.events SET leaf_version = 2 WHERE position = 301`, "position 301: the leaf's format is not known: version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 300)
			g, stop := b.run(1000, sealer.New())
			b.sealed(g, 300)
			stop()
			b.fill(301, 320)
			b.tamper(c.change)
			var before, after string
			const row = `SELECT l.size || ' ' || encode(root, 'hex') || position FROM annals.integrity_log l, annals.subscribers`
			get := func(dest *string) {
				if err := b.db.Get(dest, row); err != nil {
					t.Fatal(err)
				}
			}
			get(&before)
			g, _ = b.run(1000, sealer.New())
			_, text := b.failure(g)
			if get(&after); !strings.Contains(text, c.text) || before != after {
				t.Errorf("%s\n%s\n%s", text, before, after)
			}
		})
	}
}

// BenchmarkSeal seals pages of 1,000 events as the program does, on a server that syncs to disk.
func BenchmarkSeal(b *testing.B) {
	events := int64(100_000)
	if testing.Short() {
		events = 5_000
	}
	for b.Loop() {
		rate, size := sealOnce(b, events)
		b.ReportMetric(rate, "events/s")
		b.ReportMetric(size, "disk-bytes/event")
	}
	b.ReportMetric(0, "ns/op") // which would be mostly that of filling the log
}

func sealOnce(tb testing.TB, events int64) (rate, bytesPerEvent float64) {
	b := setup(tb, 0)
	b.fill(1, events)
	b.exec(`VACUUM ANALYZE annals.events`)
	g, stop := b.run(1000, sealer.New())
	defer stop()
	start := time.Now()
	if err := g.WaitFor(context.Background(), sealer.Name, events); err != nil {
		tb.Fatal(err)
	}
	rate = float64(events) / time.Since(start).Seconds()
	b.exec(`VACUUM annals.integrity_log`)
	var size sql.NullFloat64
	if err := b.db.Get(&size, `SELECT pg_total_relation_size('annals.integrity_tiles')::float8`); err != nil {
		tb.Fatal(err)
	}
	return rate, size.Float64 / float64(events)
}
