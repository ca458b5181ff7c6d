package productionentries_test

import (
	"context"
	"slices"
	"testing"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/production"
	"annals/eventstore/pgtest"
	"annals/projections/productionentries"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(production.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	first, second, third = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	order, other         = projectionstest.StreamID(4), projectionstest.StreamID(5)
)

func entry(order domain.ID, line string, day domain.Date) production.Entry {
	hours := decimal.RequireFromString("8.5000")
	return production.Entry{
		WorkOrderID: order, Line: line, Shift: "A", ProductionDate: day, UnitsProduced: 200, DefectCount: 3, ScrapCount: 1,
		ReworkCount: 2, RunTimeHours: hours, ScheduledHours: hours, DowntimeHours: decimal.Zero, EmployeesAssigned: 5,
		IdealCycleTimeHours: production.DefaultCycleTime(), Estimated: true,
	}
}

func facts() []projectionstest.Fact {
	corrected := entry(order, "L2", "2026-01-08")
	corrected.UnitsProduced = 190
	again := corrected
	again.IdealCycleTimeHours, again.Estimated = decimal.RequireFromString("0.3"), false
	return []projectionstest.Fact{
		{Stream: first, Event: production.Created(entry(order, "L1", "2026-01-06"))},
		{Stream: second, Event: production.Created(entry(other, "L1", "2026-01-07"))},
		{Stream: third, Client: "globex", Event: production.Created(entry(order, "L1", "2026-01-06"))},
		{Stream: first, Event: production.Corrected{Reason: "recount", Entry: corrected, Changes: production.Changes{
			Line:           &production.Change[string]{Old: "L1", New: "L2"},
			ProductionDate: &production.Change[domain.Date]{Old: "2026-01-06", New: "2026-01-08"},
			UnitsProduced:  &production.Change[int64]{Old: 200, New: 190},
		}}},
		{Stream: first, Event: production.Corrected{Reason: "measured", Entry: again}},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), productionentries.New(), facts()...)["production_entries"]
	want := "(" + first.String() + `,acme,` + order.String() + `,L2,A,2026-01-08,190,3,1,2,8.5,8.5,0,5,0.3,f,2,3,1,5,` +
		`"2026-01-05 08:00:01.123456+00","2026-01-05 08:00:05.123456+00")`
	if len(rows) != 3 || !slices.Contains(rows, want) {
		t.Errorf("rows %q\nwant %s", rows, want)
	}
}

func serve(t *testing.T) *productionentries.Queries {
	t.Helper()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), productionentries.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	return productionentries.NewQueries(projectionstest.Tenants(t, db.DSN))
}

func TestGet(t *testing.T) {
	t.Parallel()
	q := serve(t)
	e, position, err := q.Get(context.Background(), "acme", first)
	if err != nil || position != 5 || e.Line != "L2" || e.ProductionDate != "2026-01-08" || e.UnitsProduced != 190 ||
		e.RunTimeHours.String() != "8.5" || e.Estimated || e.Corrections != 2 || e.Version != 3 || e.WorkOrderID != order {
		t.Errorf("%+v at %d: %v", e, position, err)
	}
	e, _, err = q.Get(context.Background(), "acme", second)
	if err != nil || !e.Estimated || e.IdealCycleTimeHours.String() != "0.25" || e.Version != 1 || e.Corrections != 0 {
		t.Errorf("%+v: %v", e, err)
	}
	if _, _, err := q.Get(context.Background(), "globex", first); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client's entry: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	q := serve(t)
	type filter = productionentries.Filter
	for _, c := range []struct {
		name, client string
		filter       filter
		want         []domain.ID
	}{
		{"all", "acme", filter{}, []domain.ID{first, second}},
		{"of an order", "acme", filter{WorkOrderID: &other}, []domain.ID{second}},
		{"on the line it was corrected to", "acme", filter{Line: "L2"}, []domain.ID{first}},
		{"on a line", "acme", filter{Line: "L1"}, []domain.ID{second}},
		{"in a shift", "acme", filter{Shift: "B"}, nil},
		{"from a day", "acme", filter{From: "2026-01-08"}, []domain.ID{first}},
		{"to a day", "acme", filter{To: "2026-01-07"}, []domain.ID{second}},
		{"from and to", "acme", filter{From: "2026-01-07", To: "2026-01-08"}, []domain.ID{first, second}},
		{"another client's", "globex", filter{WorkOrderID: &order, Line: "L1"}, []domain.ID{third}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []domain.ID
			for after, more := int64(0), true; more; {
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Items {
					got = append(got, e.ID)
				}
				after, more = page.Next, page.Next > 0
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
