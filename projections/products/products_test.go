package products_test

import (
	"context"
	"slices"
	"testing"

	"annals/domain"
	"annals/domain/commerce/product"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections/products"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(product.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	laptop = projectionstest.StreamID(1)
	mouse  = projectionstest.StreamID(2)
	desk   = projectionstest.StreamID(3)
	cart   = projectionstest.StreamID(4)
	order  = projectionstest.StreamID(5)
	price  = domain.MustAmount("999.90")
)

func facts() []projectionstest.Fact {
	reason := "delivery 7"
	return []projectionstest.Fact{
		{Stream: laptop, Event: product.Registered{SKU: "LAP-1", Name: "Laptop", Price: price, Currency: "EUR", InitialStock: 10}},
		{Stream: mouse, Event: product.Registered{SKU: "MOU-1", Name: "Mouse", Price: domain.MustAmount("0"), Currency: "EUR"}},
		{Stream: laptop, Event: product.StockReserved{CartID: cart, Quantity: 4, AvailableAfter: 6}},
		{Stream: desk, Client: "globex", Event: product.Registered{SKU: "LAP-1", Name: "Desk", Price: price, Currency: "USD", InitialStock: 1}},
		{Stream: laptop, Event: product.StockReleased{CartID: cart, Quantity: 1, AvailableAfter: 7, Reason: product.ItemRemoved}},
		{Stream: laptop, Event: product.StockCommitted{OrderID: order, Quantity: 2}},
		{Stream: laptop, Event: product.Renamed{OldName: "Laptop", NewName: "LapTop 2"}},
		{Stream: laptop, Event: product.PriceChanged{OldPrice: price, NewPrice: domain.MustAmount("1099.5"), Currency: "EUR"}},
		{Stream: laptop, Event: product.StockReceived{Quantity: 5, AvailableAfter: 12, Reason: &reason}},
		{Stream: mouse, Event: product.Discontinued{}},
		{Stream: desk, Client: "globex", Event: product.Discontinued{}},
		{Stream: desk, Client: "globex", Event: product.Restored{}},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), products.New(), facts()...)["products"]
	want := laptop.String() + `,acme,LAP-1,"LapTop 2",1099.50,EUR,12,1,active,7,1,9,` +
		`"2026-01-05 08:00:01.123456+00","2026-01-05 08:00:09.123456+00"`
	if len(rows) != 3 || !slices.Contains(rows, "("+want+")") {
		t.Errorf("rows %q\nwant (%s)", rows, want)
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), products.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := products.NewQueries(projectionstest.Tenants(t, db.DSN))
	for _, c := range []struct {
		name, client string
		filter       products.Filter
		want         []string
	}{
		{"active ones", "acme", products.Filter{}, []string{"LapTop 2"}},
		{"all", "acme", products.Filter{Discontinued: true}, []string{"LapTop 2", "Mouse"}},
		{"another client's", "globex", products.Filter{Discontinued: true}, []string{"Desk"}},
		{"an unknown client's", "nobody", products.Filter{Discontinued: true}, nil},
		{"every client's", eventstore.AllClients, products.Filter{Discontinued: true}, []string{"LapTop 2", "Mouse", "Desk"}},
		{"by sku", "acme", products.Filter{Discontinued: true, SKU: "MOU-1"}, []string{"Mouse"}},
		{"by part of the name", "acme", products.Filter{Discontinued: true, Text: "TOP"}, []string{"LapTop 2"}},
		{"by part of the sku", "acme", products.Filter{Discontinued: true, Text: "ou-"}, []string{"Mouse"}},
		{"wildcards are letters", "acme", products.Filter{Discontinued: true, Text: "%"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for after, more := int64(0), true; more; {
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				if page.Position != int64(len(facts())) {
					t.Errorf("applied position %d", page.Position)
				}
				for _, p := range page.Items {
					got = append(got, p.Name)
				}
				after, more = page.Next, page.Next > 0
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), products.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := products.NewQueries(projectionstest.Tenants(t, db.DSN))
	p, position, err := q.Get(context.Background(), "acme", mouse)
	if err != nil || p.Name != "Mouse" || p.Status != product.StatusDiscontinued || p.Version != 2 || position != 12 {
		t.Errorf("%+v at %d: %v", p, position, err)
	}
	for client, id := range map[string]domain.ID{"globex": mouse, "acme": cart} {
		if _, position, err := q.Get(context.Background(), client, id); domain.CodeOf(err) != domain.CodeNotFound || position != 12 {
			t.Errorf("%s of %s at %d: %v", id, client, position, err)
		}
	}
}
