package kpialerts_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore/pgtest"
	"annals/projections/kpialerts"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(kpi.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	line  = "L1"
	ppm   = kpi.ThresholdID("acme", kpi.PPM, nil)
	oeeL1 = kpi.ThresholdID("acme", kpi.OEE, &line)
	other = kpi.ThresholdID("globex", kpi.PPM, nil)
	late  = time.Date(2026, 1, 6, 23, 59, 59, 0, time.UTC)
)

func violated(name kpi.Name, line *string, value string) kpi.ThresholdViolated {
	return kpi.ThresholdViolated{
		KPI: name, Value: decimal.RequireFromString(value), Limit: decimal.RequireFromString("2000.00"), Direction: kpi.Max,
		Period: "2026-01-06", Scope: kpi.Scope{Line: line}, ComputedAtPosition: 7,
	}
}

func facts() []projectionstest.Fact {
	return []projectionstest.Fact{
		{Stream: ppm, Event: kpi.ThresholdSet{KPI: kpi.PPM}},
		{Stream: ppm, Event: violated(kpi.PPM, nil, "2000.10")},
		{Stream: oeeL1, Event: violated(kpi.OEE, &line, "12")},
		{Stream: ppm, Event: kpi.ThresholdRecovered{KPI: kpi.PPM}},
		{Stream: other, Client: "globex", Event: violated(kpi.PPM, nil, "3000")},
		{Stream: ppm, Event: violated(kpi.PPM, nil, "2500"), At: late},
		{Stream: oeeL1, Event: kpi.ThresholdRemoved{KPI: kpi.OEE, Scope: kpi.Scope{Line: &line}}, At: late},
		{Stream: oeeL1, Event: kpi.ThresholdRemoved{KPI: kpi.OEE}},
		{Stream: ppm, Event: kpi.ThresholdRecovered{KPI: kpi.PPM}, At: late.Add(time.Hour)},
		{Stream: ppm, Event: violated(kpi.PPM, nil, "2001"), At: late.Add(2 * time.Hour)},
	}
}

// ids are those of the violations at positions, in the recorded facts.
func ids(t testing.TB, positions ...int) []domain.ID {
	t.Helper()
	var list []domain.ID
	events := projectionstest.Record(t, registry(t), 0, facts()...)
	for _, p := range positions {
		list = append(list, events[p-1].EventID)
	}
	return list
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), kpialerts.New(), facts()...)["kpi_alerts"]
	id := ids(t, 2, 3, 6, 10)
	for _, want := range []string{
		id[0].String() + ",acme," + ppm.String() + `,ppm,,2000.1,2000,max,2026-01-06,` +
			`"2026-01-05 08:00:02.123456+00","2026-01-05 08:00:04.123456+00",2,4`,
		id[1].String() + ",acme," + oeeL1.String() + `,oee,L1,12,2000,max,2026-01-06,` +
			`"2026-01-05 08:00:03.123456+00","2026-01-06 23:59:59+00",3,7`,
		id[2].String() + ",acme," + ppm.String() + `,ppm,,2500,2000,max,2026-01-06,` +
			`"2026-01-06 23:59:59+00","2026-01-07 00:59:59+00",6,9`,
		id[3].String() + ",acme," + ppm.String() + `,ppm,,2001,2000,max,2026-01-06,"2026-01-07 01:59:59+00",,10,`,
	} {
		if !slices.Contains(rows, "("+want+")") {
			t.Errorf("no row (%s)", want)
		}
	}
	if len(rows) != 5 {
		t.Errorf("rows %q", rows)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), kpialerts.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := kpialerts.NewQueries(projectionstest.Tenants(t, db.DSN))
	yes, no := true, false
	for _, c := range []struct {
		name, client string
		filter       kpialerts.Filter
		want         []int
	}{
		{"all", "acme", kpialerts.Filter{}, []int{2, 3, 6, 10}},
		{"of a figure", "acme", kpialerts.Filter{KPI: kpi.OEE}, []int{3}},
		{"of a line", "acme", kpialerts.Filter{Line: "L1"}, []int{3}},
		{"open", "acme", kpialerts.Filter{Open: &yes}, []int{10}},
		{"over", "acme", kpialerts.Filter{Open: &no}, []int{2, 3, 6}},
		{"from a day", "acme", kpialerts.Filter{From: "2026-01-06"}, []int{6, 10}},
		{"to a day", "acme", kpialerts.Filter{To: "2026-01-06"}, []int{2, 3, 6}},
		{"another client's", "globex", kpialerts.Filter{}, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []domain.ID
			for after, more := int64(0), true; more; {
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				if page.Position != 10 {
					t.Errorf("applied position %d", page.Position)
				}
				for _, a := range page.Items {
					got = append(got, a.ID)
				}
				after, more = page.Next, page.Next > 0
			}
			if want := ids(t, c.want...); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
	page, err := q.List(context.Background(), "acme", kpialerts.Filter{}, 0, 1)
	if err != nil || page.Items[0].ValueText() != "2000.10" {
		t.Errorf("%+v: %v", page, err)
	}
}
