package carts_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/eventstore/pgtest"
	"annals/projections/carts"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(cart.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	first, second, third = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	laptop, mouse        = projectionstest.StreamID(8), projectionstest.StreamID(9)
	order                = projectionstest.StreamID(10)
)

func added(id domain.ID, quantity int64, price string) cart.ItemAdded {
	return cart.ItemAdded{
		ProductID: id, SKU: "S", ProductName: "<Ä> & Co", Quantity: quantity, UnitPrice: domain.MustAmount(price), Currency: "EUR",
	}
}

func facts() []projectionstest.Fact {
	customer := "c-1"
	return []projectionstest.Fact{
		{Stream: first, Event: cart.Created{CustomerID: &customer}},
		{Stream: second, Event: cart.Created{}},
		{Stream: first, Event: added(laptop, 2, "999.90")},
		{Stream: third, Client: "globex", Event: cart.Created{}},
		{Stream: first, Event: added(mouse, 1, "0.10")},
		{Stream: second, Event: added(mouse, 3, "1")},
		{Stream: first, Event: added(laptop, 1, "999.90")},
		{Stream: second, Event: cart.ItemQuantityUpdated{ProductID: mouse, OldQuantity: 3, NewQuantity: 5}},
		{Stream: third, Client: "globex", Event: cart.Expired{IdleSince: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{Stream: first, Event: cart.Submitted{OrderID: order, Total: domain.MustAmount("2999.80"), ItemCount: 4}},
		{Stream: second, Event: cart.ItemRemoved{ProductID: mouse, Quantity: 5}},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), carts.New(), facts()...)["carts"]
	want := second.String() + `,acme,,open,,[],0.00,0,,4,2,11,"2026-01-05 08:00:02.123456+00","2026-01-05 08:00:11.123456+00"`
	if len(rows) != 3 || !slices.Contains(rows, "("+want+")") {
		t.Errorf("rows %q\nwant (%s)", rows, want)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), carts.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := carts.NewQueries(projectionstest.Tenants(t, db.DSN))
	c, position, err := q.Get(context.Background(), "acme", first)
	if err != nil {
		t.Fatal(err)
	}
	lines := []cart.Line{
		{ProductID: laptop, SKU: "S", ProductName: "<Ä> & Co", Quantity: 3, UnitPrice: domain.MustAmount("999.90"), Currency: "EUR"},
		{ProductID: mouse, SKU: "S", ProductName: "<Ä> & Co", Quantity: 1, UnitPrice: domain.MustAmount("0.10"), Currency: "EUR"},
	}
	if diff := cmp.Diff(lines, c.Lines.Value); diff != "" {
		t.Error(diff)
	}
	if position != 11 || c.Status != cart.StatusSubmitted || c.Total.String() != "2999.80" || c.ItemCount != 4 ||
		*c.Currency != "EUR" || *c.OrderID != order || *c.CustomerID != "c-1" || c.Version != 5 {
		t.Errorf("%+v at %d", c, position)
	}
	if _, _, err := q.Get(context.Background(), "globex", first); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client's cart: %v", err)
	}
}

func TestIdleAsksTheDatabasesClock(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	events := facts()
	var now time.Time
	if err := db.Get(&now, `SELECT now()`); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		events[i].At = now.Add(-time.Hour)
	}
	events = append(events, projectionstest.Fact{Stream: order, Event: cart.Created{}, At: now.Add(-30 * time.Minute)})
	projectionstest.Serve(t, db.DB, registry(t), carts.New(), projectionstest.Record(t, registry(t), 0, events...))
	q := carts.NewQueries(projectionstest.Tenants(t, db.DSN))
	for lifetime, want := range map[time.Duration][]domain.ID{
		2 * time.Hour: nil, 45 * time.Minute: {second}, 15 * time.Minute: {second, order},
	} {
		idle, position, err := q.Idle(context.Background(), lifetime, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []domain.ID
		for _, c := range idle {
			got = append(got, c.ID)
			if c.ClientID != "acme" || c.Version == 0 {
				t.Errorf("%+v", c)
			}
		}
		if !slices.Equal(got, want) || position != 12 {
			t.Errorf("idle for %s at %d: %v, want %v", lifetime, position, got, want)
		}
	}
}
