package policies_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/domain/commerce"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/eventstore/subjectkeys/keystest"
	"annals/projections"
	"annals/projections/carts"
	"annals/projections/policies"
)

// node is one process's event store, with a clock that the test sets.
type node struct {
	*eventstore.Store
	offset atomic.Int64 // of its clock, nanoseconds
}

func open(t testing.TB, db *pgtest.DB, registry *domain.Registry) *node {
	t.Helper()
	n := &node{}
	store, err := eventstore.Open(context.Background(), eventstore.Config{
		DSN: db.DSN, Registry: registry, Keys: keystest.Open(t, db.DSN),
		Clock: func() time.Time { return time.Now().Add(time.Duration(n.offset.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Store = store
	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// run executes a use case at a time before now.
func (n *node) run(t testing.TB, ago time.Duration, useCase func(context.Context, *domain.UnitOfWork) error) domain.ID {
	t.Helper()
	n.offset.Store(int64(-ago))
	defer n.offset.Store(0)
	result, err := n.Runner.Run(context.Background(), eventstore.Command{Client: "acme", Actor: "tester", RequestID: "r"}, useCase)
	if err != nil {
		t.Fatal(err)
	}
	return result.ID
}

// group runs the carts' read model and the expiry on a node.
func (n *node) group(t testing.TB, db *pgtest.DB, registry *domain.Registry) *projections.Group {
	t.Helper()
	pool, err := eventstore.OpenPreparedDB(db.DSN, eventstore.RoleApp, 8, "projections")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	g, err := projections.New(projections.Config{
		DB: pool, Registry: registry, Waker: n.Sequencer.Signal(), Tail: n.Sequencer.Tail(), ListenDSN: db.DSN,
		Logger: slog.New(slog.DiscardHandler), StandbyPause: 10 * time.Millisecond, Lease: time.Second,
	}, carts.New())
	if err != nil {
		t.Fatal(err)
	}
	err = g.AddTimers(policies.NewCartExpiry(policies.CartExpiryConfig{
		Carts: carts.NewQueries(n.Tenants), Commands: n.Runner, Head: n.Reader.Head, WaitFor: g.WaitFor,
		Every: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := projections.EnsureSchemas(context.Background(), db.DB, g.Specs()...); err != nil {
		t.Fatal(err)
	}
	return g
}

func start(t testing.TB, g *projections.Group) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	t.Cleanup(func() {
		g.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// shop fills a store: a product, and carts that hold one piece of it each, idle for as long as asked.
func shop(t testing.TB, n *node, idle ...time.Duration) (productID domain.ID, cartIDs []domain.ID) {
	t.Helper()
	productID = n.run(t, 100*time.Hour, func(ctx context.Context, u *domain.UnitOfWork) error {
		return commerce.RegisterProduct(ctx, u, commerce.RegisterProductCommand{
			SKU: "A", Name: "A", Price: "1", Currency: "EUR", Stock: 100,
		})
	})
	for _, ago := range idle {
		id := n.run(t, ago+time.Hour, func(ctx context.Context, u *domain.UnitOfWork) error {
			return commerce.CreateCart(ctx, u, commerce.CreateCartCommand{})
		})
		n.run(t, ago, func(ctx context.Context, u *domain.UnitOfWork) error {
			return commerce.AddItem(ctx, u, commerce.AddItemCommand{CartID: id, ProductID: productID.String(), Quantity: 1})
		})
		cartIDs = append(cartIDs, id)
	}
	return productID, cartIDs
}

func count(t testing.TB, db *sqlx.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.Get(&n, query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

const expired = `SELECT count(*) FROM annals.events WHERE event_type = 'cart.expired'`

func TestIdleCartsExpireOnceOnTwoNodes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	registry, err := domain.NewRegistry(commerce.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	one, two := open(t, db, registry), open(t, db, registry)
	day := 24 * time.Hour
	product, ids := shop(t, one, 2*day, day+time.Hour, 23*time.Hour, time.Minute, 3*day)
	first, second := one.group(t, db, registry), two.group(t, db, registry)
	start(t, first)
	start(t, second)
	pgtest.Eventually(t, "three carts expired", func() bool { return count(t, db.DB, expired) == 3 })
	// One more due cart: whoever ticks has looked again since.
	late := one.run(t, 2*day, func(ctx context.Context, u *domain.UnitOfWork) error {
		return commerce.CreateCart(ctx, u, commerce.CreateCartCommand{})
	})
	ids = append(ids, late)
	pgtest.Eventually(t, "four carts expired", func() bool { return count(t, db.DB, expired) == 4 })
	for i, want := range []int{1, 1, 0, 0, 1, 1} {
		if n := count(t, db.DB, expired+` AND aggregate_id = $1`, ids[i].String()); n != want {
			t.Errorf("cart %d expired %d times, want %d", i, n, want)
		}
	}
	if n := count(t, db.DB, `SELECT count(*) FROM annals.events WHERE event_type = 'product.stock_released' AND aggregate_id = $1`, product.String()); n != 3 {
		t.Errorf("stock was released %d times", n)
	}
	states, err := first.Status(context.Background())
	if err != nil || len(states) != 2 || states[1].Name != "cart_expiry" || states[1].Kind != projections.KindPolicy ||
		states[1].Status != projections.StatusRunning || states[1].Lag != 0 {
		t.Errorf("states %+v: %v", states, err)
	}
}

func TestCartThatIsNotDueByItsNodesClockExpiresLater(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	registry, err := domain.NewRegistry(commerce.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	n := open(t, db, registry)
	_, ids := shop(t, n, 25*time.Hour)
	g := n.group(t, db, registry)
	timer := policies.NewCartExpiry(policies.CartExpiryConfig{
		Carts: carts.NewQueries(n.Tenants), Head: n.Reader.Head, WaitFor: func(context.Context, string, int64) error { return nil },
		Commands: n.Runner, Logger: slog.New(slog.DiscardHandler),
	})
	apply(t, db, registry)
	// A node whose clock is two hours behind looks at the cart, and must not settle its fate.
	n.offset.Store(int64(-2 * time.Hour))
	if _, err := timer.Tick(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db.DB, expired); n != 0 {
		t.Fatal("a node with a slow clock expired the cart")
	}
	n.offset.Store(0)
	start(t, g)
	pgtest.Eventually(t, "the cart expired", func() bool {
		return count(t, db.DB, expired+` AND aggregate_id = $1`, ids[0].String()) == 1
	})
}

// apply applies the log to the carts' read model, without running it.
func apply(t testing.TB, db *pgtest.DB, registry *domain.Registry) {
	t.Helper()
	ctx := context.Background()
	rows, err := db.QueryContext(ctx, `SELECT position, aggregate_id, aggregate_version, event_type, schema_version, client_id,
		occurred_at, data FROM annals.events WHERE aggregate_type = 'cart' ORDER BY position`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var page projections.Page
	for rows.Next() {
		var e projections.Event
		var id, data []byte
		if err := rows.Scan(&e.Position, &id, &e.AggregateVersion, &e.EventType, &e.SchemaVersion, &e.ClientID, &e.OccurredAt, &data); err != nil {
			t.Fatal(err)
		}
		if err := e.AggregateID.UnmarshalText(id); err != nil {
			t.Fatal(err)
		}
		e.Data = data
		page.Events = append(page.Events, e)
	}
	if _, err := projections.NewDecoder(registry).Decode(carts.Spec(), page.Events); err != nil || rows.Err() != nil {
		t.Fatal(err, rows.Err())
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := carts.New().Apply(ctx, projections.Tx{Executor: tx, Schema: carts.Spec().Schema()}, page); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
