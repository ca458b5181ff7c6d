package holds_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/eventstore/pgtest"
	"annals/projections/holds"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(hold.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	first, second, third = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	order, other         = projectionstest.StreamID(4), projectionstest.StreamID(5)
	lastSecond           = time.Date(2026, 1, 6, 23, 59, 59, 999999000, time.UTC)
)

func created(order domain.ID, category string) hold.Created {
	return hold.Created{WorkOrderID: order, Category: category, Reason: "awaiting resin", Quantity: 25}
}

func facts() []projectionstest.Fact {
	resolution := "rework done"
	return []projectionstest.Fact{
		{Stream: first, Event: created(order, "material")},
		{Stream: second, Event: created(other, "quality"), At: lastSecond},
		{Stream: third, Client: "globex", Event: created(order, "material")},
		{Stream: first, At: lastSecond.Add(36 * time.Hour), Event: hold.Resumed{
			QuantityReleased: 20, QuantityScrapped: 5, Resolution: &resolution, HeldFor: decimal.RequireFromString("52.5000"),
		}},
		{Stream: third, Client: "globex", Event: hold.Resumed{QuantityReleased: 25}},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), holds.New(), facts()...)["holds"]
	want := "(" + first.String() + `,acme,` + order.String() + `,material,"awaiting resin",25,resumed,20,5,"rework done",52.5,` +
		`"2026-01-08 11:59:59.999999+00",2,1,4,"2026-01-05 08:00:01.123456+00","2026-01-08 11:59:59.999999+00")`
	if len(rows) != 3 || !slices.Contains(rows, want) {
		t.Errorf("rows %q\nwant %s", rows, want)
	}
}

func serve(t *testing.T) *holds.Queries {
	t.Helper()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), holds.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	return holds.NewQueries(projectionstest.Tenants(t, db.DSN))
}

func TestGet(t *testing.T) {
	t.Parallel()
	q := serve(t)
	now := lastSecond.Add(12 * time.Hour)
	h, position, err := q.Get(context.Background(), "acme", second)
	if err != nil || position != 5 || h.Status != hold.StatusOpen || h.WorkOrderID != other || h.Quantity != 25 ||
		h.QuantityReleased != nil || h.QuantityScrapped != nil || h.Resolution != nil || h.HeldFor != nil ||
		h.ResumedAt != nil || h.Version != 1 || *h.AgeDays(now) != "0.50" {
		t.Errorf("%+v at %d: %v", h, position, err)
	}
	h, _, err = q.Get(context.Background(), "acme", first)
	if err != nil || h.Status != hold.StatusResumed || *h.QuantityReleased != 20 || *h.QuantityScrapped != 5 ||
		*h.Resolution != "rework done" || h.HeldFor.String() != "52.5" || h.Version != 2 ||
		!h.ResumedAt.Equal(lastSecond.Add(36*time.Hour)) || h.AgeDays(now) != nil {
		t.Errorf("%+v: %v", h, err)
	}
	h, _, err = q.Get(context.Background(), "globex", third)
	if err != nil || h.Resolution != nil || *h.QuantityScrapped != 0 {
		t.Errorf("%+v: %v", h, err)
	}
	if _, _, err := q.Get(context.Background(), "globex", first); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client's hold: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	q := serve(t)
	for _, c := range []struct {
		name, client string
		filter       holds.Filter
		want         []domain.ID
	}{
		{"all", "acme", holds.Filter{}, []domain.ID{first, second}},
		{"open", "acme", holds.Filter{Status: "open"}, []domain.ID{second}},
		{"resumed", "acme", holds.Filter{Status: "resumed"}, []domain.ID{first}},
		{"of an order", "acme", holds.Filter{WorkOrderID: &order}, []domain.ID{first}},
		{"of a category", "acme", holds.Filter{Category: "quality"}, []domain.ID{second}},
		{"created from", "acme", holds.Filter{From: "2026-01-06"}, []domain.ID{second}},
		{"created to", "acme", holds.Filter{To: "2026-01-05"}, []domain.ID{first}},
		{"created to the day's end", "acme", holds.Filter{From: "2026-01-05", To: "2026-01-06"}, []domain.ID{first, second}},
		{"created later", "acme", holds.Filter{From: "2026-01-07"}, nil},
		{"another client's", "globex", holds.Filter{WorkOrderID: &order}, []domain.ID{third}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []domain.ID
			for after, more := int64(0), true; more; {
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, h := range page.Items {
					got = append(got, h.ID)
				}
				after, more = page.Next, page.Next > 0
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
