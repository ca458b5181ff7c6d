package projections_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/projectionstest"
)

// counted is the event of the tests' own aggregate.
type counted struct {
	N      int64  `json:"n"`
	Poison string `json:"poison,omitempty"`
}

func (counted) EventType() string { return "tally.counted" }

type noted struct {
	Text string `json:"text"`
}

func (noted) EventType() string { return "tally.noted" }

var tally = &domain.Aggregate[int64, any, domain.Event]{
	Type: "tally", StateVersion: 1,
	Initial: func() int64 { return 0 },
	Decide:  func(int64, any) ([]domain.Event, error) { return nil, nil },
	Evolve:  func(s int64, _ domain.Event) int64 { return s + 1 },
}

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	return mustRegistry()
}

func mustRegistry() *domain.Registry {
	r, err := domain.NewRegistry(domain.Definition{Aggregate: tally, Events: []domain.EventDefinition{
		domain.DefineEvent[counted](), domain.DefineEvent[noted](),
	}})
	if err != nil {
		panic(err)
	}
	return r
}

// total is a row of the tests' read model.
type total struct {
	ID     domain.ID `db:"id,key"`
	Client string    `db:"client_id"`
	Sum    int64     `db:"sum"`
	Events int64     `db:"events"`
	Last   int64     `db:"last_position"`
}

func totalsSpec(name string) projections.Spec {
	return projections.Spec{
		Name: name, Version: 1, Kind: projections.KindReadModel, EventTypes: []string{"tally.counted"},
		DDL: `CREATE TABLE totals (id uuid PRIMARY KEY, client_id text NOT NULL, sum bigint NOT NULL,
			events bigint NOT NULL, last_position bigint NOT NULL)`,
	}
}

// totals sums what each stream counted. Each applied event goes to before, when it isn't nil.
func totals(name string, before func(counted) error) *projections.Fold[domain.ID, total] {
	return projections.MustFold(projections.FoldConfig[domain.ID, total]{
		Spec: totalsSpec(name), Table: "totals",
		Keys: func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Step: func(_ domain.ID, row *total, e projections.Event) (projections.Outcome, error) {
			if before != nil {
				if err := before(e.Payload.(counted)); err != nil {
					return projections.Keep, err
				}
			}
			row.Client = e.ClientID
			row.Sum += e.Payload.(counted).N
			row.Events++
			return projections.Write, nil
		},
	})
}

// bench is one test's database, log and groups.
type bundle struct {
	t        testing.TB
	db       *pgtest.DB
	registry *domain.Registry
	signal   *eventstore.Signal
	mu       sync.Mutex
	head     int64
	versions map[domain.ID]int64
}

func setup(t testing.TB) *bundle {
	t.Helper()
	return &bundle{t: t, db: pgtest.New(t), registry: registry(t), signal: eventstore.NewSignal(0), versions: map[domain.ID]int64{}}
}

func (b *bundle) ensure(specs ...projections.Spec) {
	b.t.Helper()
	if err := projections.EnsureSchemas(context.Background(), b.db.DB, specs...); err != nil {
		b.t.Fatal(err)
	}
}

// append writes events to a few streams and announces them.
func (b *bundle) append(events ...domain.Event) int64 {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var facts []projectionstest.Fact
	for i, e := range events {
		facts = append(facts, projectionstest.Fact{Stream: projectionstest.StreamID(int(b.head+int64(i)) % 7), Event: e})
	}
	recorded := projectionstest.Record(b.t, b.registry, b.head, facts...)
	for i := range recorded {
		id := recorded[i].AggregateID
		b.versions[id]++
		recorded[i].AggregateVersion = b.versions[id]
	}
	projectionstest.Insert(b.t, b.db.DB, recorded...)
	b.head += int64(len(events))
	b.signal.Announce(b.head)
	return b.head
}

func counts(n int) []domain.Event {
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = counted{N: int64(i + 1)}
	}
	return events
}

// appPool is a node's own pool, with the program's role.
func (b *bundle) appPool() *sqlx.DB {
	b.t.Helper()
	db, err := eventstore.OpenPreparedDB(b.db.DSN, eventstore.RoleApp, 8, "projections")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { db.Close() })
	return db
}

func (b *bundle) config() projections.Config {
	return projections.Config{
		DB: b.appPool(), Registry: b.registry, Waker: b.signal, Logger: slog.New(slog.DiscardHandler),
		ListenDSN: b.db.DSN, RetryPause: 10 * time.Millisecond, StandbyPause: 20 * time.Millisecond, PageSize: 50,
	}
}

// group makes a group and its tables.
func (b *bundle) group(cfg projections.Config, projectors ...projections.Projector) *projections.Group {
	b.t.Helper()
	g, err := projections.New(cfg, projectors...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ensure(g.Specs()...)
	return g
}

// run runs a group until the test ends or stop is called.
func (b *bundle) run(g *projections.Group) (stop func()) {
	b.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.Background()) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			g.Close()
			if err := <-ended; err != nil {
				b.t.Errorf("Run: %v", err)
			}
		})
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *bundle) waitFor(g *projections.Group, name string, position int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := g.WaitFor(ctx, name, position); err != nil {
		b.t.Fatal(err)
	}
}

// checkTotals compares a model's rows with the sum over the log, less the positions left out.
func (b *bundle) checkTotals(name string, upTo int64, without ...int64) {
	b.t.Helper()
	var wrong []string
	skipped := "0"
	for _, p := range without {
		skipped += fmt.Sprintf(", %d", p)
	}
	err := b.db.Select(&wrong, fmt.Sprintf(`
		SELECT format('%%s: %%s events, sum %%s; the log has %%s, %%s', coalesce(t.id, l.id), t.events, t.sum, l.events, l.sum)
		FROM rm_%s_v1.totals t
		FULL JOIN (SELECT aggregate_id AS id, count(*) AS events, sum((data->>'n')::bigint) AS sum FROM annals.events
			WHERE event_type = 'tally.counted' AND position <= %d AND position NOT IN (%s) GROUP BY aggregate_id) l USING (id)
		WHERE (t.events, t.sum) IS DISTINCT FROM (l.events, l.sum)`, name, upTo, skipped))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, w := range wrong {
		b.t.Error(w)
	}
}

func (b *bundle) state(g *projections.Group, name string) projections.State {
	b.t.Helper()
	states, err := g.Status(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, s := range states {
		if s.Name == name {
			return s
		}
	}
	b.t.Fatalf("no state of %s", name)
	return projections.State{}
}

// countLooks gives a function that waits until a node has looked at the log so many times.
func (b *bundle) countLooks(cfg *projections.Config) func(times int) {
	looks := make(chan struct{}, 1000)
	projections.SetLooked(cfg, func(string) {
		select {
		case looks <- struct{}{}:
		default:
		}
	})
	return func(times int) {
		b.t.Helper()
		for range times {
			select {
			case <-looks:
			case <-time.After(30 * time.Second):
				b.t.Fatal("the node doesn't look at the log")
			}
		}
	}
}

func TestFollowsTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.group(b.config(), totals("totals", nil))
	b.append(counts(333)...) // a catch-up over several pages
	b.run(g)
	b.waitFor(g, "totals", 333)
	b.checkTotals("totals", 333)
	for range 5 {
		b.waitFor(g, "totals", b.append(counts(3)...))
	}
	// Events of other types move the checkpoint too.
	head := b.append(noted{"a"}, noted{"b"})
	b.waitFor(g, "totals", head)
	b.checkTotals("totals", head)
	s := b.state(g, "totals")
	if s.Status != projections.StatusRunning || s.Position != head || s.Head != head || s.Lag != 0 || s.LagSeconds != 0 || s.Failure != nil {
		t.Errorf("state %+v", s)
	}
}

func TestEndedBeforeItBegan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.group(b.config(), totals("totals", nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

var errPoison = errors.New("the event can't be applied")
