package kpithresholds_test

import (
	"context"
	"slices"
	"testing"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore/pgtest"
	"annals/projections/kpithresholds"
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
	oee   = kpi.ThresholdID("acme", kpi.OEE, nil)
	oeeL1 = kpi.ThresholdID("acme", kpi.OEE, &line)
	other = kpi.ThresholdID("globex", kpi.PPM, nil)
	limit = decimal.RequireFromString("60.5000")
)

func set(name kpi.Name, line *string) kpi.ThresholdSet {
	return kpi.ThresholdSet{KPI: name, Direction: kpi.Min, Limit: limit, Period: kpi.PeriodDay, Scope: kpi.Scope{Line: line}}
}

func facts() []projectionstest.Fact {
	weekly := set(kpi.OEE, &line)
	weekly.Period, weekly.Limit = kpi.PeriodWeek, decimal.RequireFromString("70")
	return []projectionstest.Fact{
		{Stream: ppm, Event: set(kpi.PPM, nil)},
		{Stream: oee, Event: set(kpi.OEE, nil)},
		{Stream: oeeL1, Event: set(kpi.OEE, &line)},
		{Stream: other, Client: "globex", Event: set(kpi.PPM, nil)},
		{Stream: oeeL1, Event: kpi.ThresholdViolated{KPI: kpi.OEE, ComputedAtPosition: 4}},
		{Stream: oeeL1, Event: weekly},
		{Stream: ppm, Event: kpi.ThresholdRemoved{KPI: kpi.PPM}},
		{Stream: oee, Event: kpi.ThresholdRemoved{KPI: kpi.OEE}},
		{Stream: ppm, Event: set(kpi.PPM, nil)},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), kpithresholds.New(), facts()...)["kpi_thresholds"]
	want := "(" + oeeL1.String() + `,acme,oee,L1,min,70,week,t,t,3,3,6,` +
		`"2026-01-05 08:00:03.123456+00","2026-01-05 08:00:06.123456+00")`
	again := "(" + ppm.String() + `,acme,ppm,,min,60.5,day,t,f,3,9,9,` +
		`"2026-01-05 08:00:09.123456+00","2026-01-05 08:00:09.123456+00")`
	if len(rows) != 4 || !slices.Contains(rows, want) || !slices.Contains(rows, again) {
		t.Errorf("rows %q\nwant %s\nand %s", rows, want, again)
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), kpithresholds.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := kpithresholds.NewQueries(projectionstest.Tenants(t, db.DSN))
	for _, c := range []struct {
		name, client string
		filter       kpithresholds.Filter
		want         []domain.ID
	}{
		{"all, one set again", "acme", kpithresholds.Filter{}, []domain.ID{oeeL1, ppm}},
		{"of a figure", "acme", kpithresholds.Filter{KPI: kpi.PPM}, []domain.ID{ppm}},
		{"of a line", "acme", kpithresholds.Filter{Line: "L1"}, []domain.ID{oeeL1}},
		{"another client's", "globex", kpithresholds.Filter{}, []domain.ID{other}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []domain.ID
			for after, more := int64(0), true; more; {
				page, err := q.List(ctx, c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, found := range page.Items {
					got = append(got, found.ID)
				}
				after, more = page.Next, page.Next > 0
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name  string
		lines []string
		ids   []domain.ID
		want  []domain.ID
	}{
		{"the whole production", nil, nil, []domain.ID{ppm}},
		{"a line", []string{"L0", "L1"}, nil, []domain.ID{oeeL1, ppm}},
		{"another line", []string{"L2", ""}, nil, []domain.ID{ppm}},
		{"by id", nil, []domain.ID{oeeL1, other, oee}, []domain.ID{oeeL1, ppm}},
		{"all of it", []string{"L1"}, []domain.ID{ppm, oeeL1}, []domain.ID{oeeL1, ppm}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, position, err := q.Concerned(ctx, "acme", c.lines, c.ids)
			var got []domain.ID
			for _, threshold := range found {
				got = append(got, threshold.ID)
			}
			if err != nil || position != 9 || !slices.Equal(got, c.want) {
				t.Errorf("%v at %d, want %v: %v", got, position, c.want, err)
			}
		})
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), kpithresholds.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := kpithresholds.NewQueries(projectionstest.Tenants(t, db.DSN))
	found, position, err := q.Get(ctx, "acme", kpi.OEE, &line)
	if err != nil || position != 9 || found.ID != oeeL1 || found.Version != 3 || found.Limit.String() != "70" ||
		found.Period != kpi.PeriodWeek || *found.Line != "L1" || !found.Violated || found.Direction != kpi.Min {
		t.Errorf("%+v at %d: %v", found, position, err)
	}
	l2 := "L2"
	for _, c := range []struct {
		client string
		name   kpi.Name
		line   *string
	}{{"acme", kpi.OEE, nil}, {"acme", kpi.OEE, &l2}, {"globex", kpi.OEE, &line}, {"acme", kpi.FPY, nil}} {
		_, position, err := q.Get(ctx, c.client, c.name, c.line)
		if domain.CodeOf(err) != domain.CodeNotFound || position != 9 {
			t.Errorf("%+v at %d: %v", c, position, err)
		}
	}
}
