package inspections_test

import (
	"context"
	"slices"
	"testing"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/eventstore/pgtest"
	"annals/projections/inspections"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(inspection.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	first, second, third = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	order, other         = projectionstest.StreamID(4), projectionstest.StreamID(5)
)

func recorded(order domain.ID, stage inspection.Stage, day domain.Date) inspection.Recorded {
	return inspection.Recorded{
		WorkOrderID: order, Stage: stage, InspectedOn: day, UnitsInspected: 1000, UnitsPassed: 985, UnitsDefective: 15,
		UnitsReworked: 5, UnitsScrapped: 2, DefectCount: 18, OpportunitiesPerUnit: 8,
	}
}

func facts() []projectionstest.Fact {
	signed, inspector := recorded(order, inspection.StageFinal, "2026-01-06"), domain.Personal("q-2")
	signed.Inspector = &inspector
	return []projectionstest.Fact{
		{Stream: first, Event: signed},
		{Stream: second, Event: recorded(other, inspection.StageIncoming, "2026-01-07")},
		{Stream: third, Client: "globex", Event: recorded(order, inspection.StageInProcess, "2026-01-07")},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), inspections.New(), facts()...)["quality_inspections"]
	want := "(" + first.String() + `,acme,` + order.String() +
		`,final,2026-01-06,1000,985,15,5,2,18,8,q-2,1,1,"2026-01-05 08:00:01.123456+00")`
	if len(rows) != 3 || !slices.Contains(rows, want) {
		t.Errorf("rows %q\nwant %s", rows, want)
	}
}

func serve(t *testing.T) *inspections.Queries {
	t.Helper()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), inspections.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	return inspections.NewQueries(projectionstest.Tenants(t, db.DSN))
}

func TestGet(t *testing.T) {
	t.Parallel()
	q := serve(t)
	i, position, err := q.Get(context.Background(), "acme", second)
	if err != nil || position != 3 || i.Stage != "incoming" || i.InspectedOn != "2026-01-07" || i.UnitsPassed != 985 ||
		i.Inspector != nil || i.WorkOrderID != other || i.OpportunitiesPerUnit != 8 || i.Version != 1 {
		t.Errorf("%+v at %d: %v", i, position, err)
	}
	if _, _, err := q.Get(context.Background(), "globex", first); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client's inspection: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	q := serve(t)
	for _, c := range []struct {
		name, client string
		filter       inspections.Filter
		want         []domain.ID
	}{
		{"all", "acme", inspections.Filter{}, []domain.ID{first, second}},
		{"of an order", "acme", inspections.Filter{WorkOrderID: &other}, []domain.ID{second}},
		{"of a stage", "acme", inspections.Filter{Stage: "final"}, []domain.ID{first}},
		{"from a day", "acme", inspections.Filter{From: "2026-01-07"}, []domain.ID{second}},
		{"to a day", "acme", inspections.Filter{To: "2026-01-06"}, []domain.ID{first}},
		{"another client's", "globex", inspections.Filter{WorkOrderID: &order}, []domain.ID{third}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []domain.ID
			for after, more := int64(0), true; more; {
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range page.Items {
					got = append(got, i.ID)
				}
				after, more = page.Next, page.Next > 0
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
