package orders_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/commerce/order"
	"annals/eventstore/pgtest"
	"annals/projections/orders"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(order.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	first, second, third = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	cart, laptop         = projectionstest.StreamID(4), projectionstest.StreamID(5)
	state                = domain.Personal("Bavaria")
	address              = order.Address{StreetLine1: "Ä 1", City: "X", State: &state, PostalCode: "1", Country: "DE"}
	lines                = []order.Line{{ProductID: laptop, SKU: "S", ProductName: "L", Quantity: 2, UnitPrice: domain.MustAmount("9.90")}}
)

func created(customer string) order.Created {
	c := order.Created{
		CartID: cart, Lines: lines, ShippingAddress: address, Total: domain.MustAmount("19.80"), Currency: "EUR",
	}
	if customer != "" {
		c.CustomerID = &customer
	}
	return c
}

func facts() []projectionstest.Fact {
	reason, tracking := "changed my mind", "T-1"
	return []projectionstest.Fact{
		{Stream: first, Event: created("c-1")},
		{Stream: second, Event: created("")},
		{Stream: first, Event: order.Shipped{TrackingReference: &tracking}},
		{Stream: third, Client: "globex", Event: created("c-1")},
		{Stream: second, Event: order.Cancelled{Reason: &reason}},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), orders.New(), facts()...)["orders"]
	if len(rows) != 3 {
		t.Errorf("rows %q", rows)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), orders.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := orders.NewQueries(projectionstest.Tenants(t, db.DSN))
	o, position, err := q.Get(context.Background(), "acme", first)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines, o.Lines.Value) + cmp.Diff(address, o.ShippingAddress.Value); diff != "" {
		t.Error(diff)
	}
	if position != 5 || o.Status != order.StatusShipped || *o.TrackingReference != "T-1" || o.CancellationReason != nil ||
		o.Total.String() != "19.80" || o.CartID != cart || *o.CustomerID != "c-1" || o.Version != 2 {
		t.Errorf("%+v at %d", o, position)
	}
	if _, _, err := q.Get(context.Background(), "globex", first); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client's order: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), orders.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := orders.NewQueries(projectionstest.Tenants(t, db.DSN))
	for _, c := range []struct {
		name, client string
		filter       orders.Filter
		want         []domain.ID
	}{
		{"all", "acme", orders.Filter{}, []domain.ID{first, second}},
		{"of a customer", "acme", orders.Filter{CustomerID: "c-1"}, []domain.ID{first}},
		{"with a status", "acme", orders.Filter{Status: "cancelled"}, []domain.ID{second}},
		{"both", "acme", orders.Filter{CustomerID: "c-1", Status: "cancelled"}, nil},
		{"another client's", "globex", orders.Filter{}, []domain.ID{third}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []domain.ID
			for after, more := int64(0), true; more; {
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range page.Items {
					got = append(got, o.ID)
				}
				after, more = page.Next, page.Next > 0
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
