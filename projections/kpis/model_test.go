package kpis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/eventstore/pgtest"
	"annals/projections/kpis"
	"annals/projections/projectionstest"
)

// history makes a reproducible history of a client: entries and their corrections, inspections and deliveries around the
// turn of a year, on whose days and weeks calendars disagree.
func history(seed uint64, n int) []projectionstest.Fact {
	r := rand.New(rand.NewPCG(seed, 1))
	start := time.Date(2025, 12, 22, 0, 0, 0, 0, time.UTC)
	day := func() domain.Date { return domain.DateOf(start.AddDate(0, 0, r.IntN(24))) }
	orderID := func() domain.ID { return projectionstest.StreamID(1 + r.IntN(3)) }
	hours := func(limit int64) decimal.Decimal { return decimal.New(r.Int64N(limit), -4) }
	line := func() string { return []string{"L1", "l1", "Ärger", "L-2", "L 2"}[r.IntN(5)] }
	random := func() production.Entry {
		return production.Entry{
			WorkOrderID: orderID(), Line: line(), Shift: fmt.Sprint(r.IntN(2)), ProductionDate: day(),
			UnitsProduced: r.Int64N(1e9), DefectCount: r.Int64N(500), ScrapCount: r.Int64N(500), RunTimeHours: hours(1e10),
			ScheduledHours: hours(1e6), DowntimeHours: hours(1e5), EmployeesAssigned: r.Int64N(9),
			IdealCycleTimeHours: hours(1e4), Estimated: r.IntN(8) == 0,
		}
	}
	entries := make(map[domain.ID]production.Entry)
	var ids []domain.ID
	var list []projectionstest.Fact
	for i := range n {
		id := projectionstest.StreamID(100 + i)
		switch k := r.IntN(10); {
		case k < 4 || len(ids) == 0:
			entries[id] = random()
			ids = append(ids, id)
			list = append(list, projectionstest.Fact{Stream: id, Event: production.Created(entries[id])})
		case k < 7:
			id = ids[r.IntN(len(ids))]
			after := entries[id]
			other := random()
			after.Line, after.Shift, after.ProductionDate = other.Line, other.Shift, other.ProductionDate
			after.UnitsProduced, after.Estimated = other.UnitsProduced, false
			list = append(list, projectionstest.Fact{Stream: id, Event: corrected(entries[id], after)})
			entries[id] = after
		case k < 9:
			stage := inspection.Stages()[r.IntN(3)]
			list = append(list, projectionstest.Fact{Stream: id, Event: inspected(orderID(), stage, day(), r.Int64N(1e9/2), r.Int64N(99))})
		default:
			at := start.Add(time.Duration(r.IntN(24*60)) * time.Hour / 60)
			list = append(list, projectionstest.Fact{Stream: orderID(), Event: shipped(at, day())})
		}
	}
	return list
}

// figures computes the groups of a range in Go, over the contributions of the events.
func figures(list []projectionstest.Fact, by kpi.GroupBy, from, to domain.Date) map[string]kpi.Figures {
	sums := make(map[string]kpi.Sums)
	for _, f := range list {
		for _, c := range manufacturing.Contributions(f.Stream, f.Event) {
			if key, ok := by.Key(c.Cell); ok && c.Cell.Day >= from && c.Cell.Day <= to {
				sums[key] = sums[key].Plus(c.Sums)
			}
		}
	}
	groups := make(map[string]kpi.Figures)
	for key, s := range sums {
		if !s.Empty() {
			groups[key] = kpi.Compute(s, by.Complete())
		}
	}
	return groups
}

func TestEveryGroupingAndRangeIsTheSumOfWhatCounts(t *testing.T) {
	t.Parallel()
	list := history(7, 400)
	q, _ := serve(t, list)
	for _, bounds := range [][2]domain.Date{
		{"1926-01-01", "2026-01-01"}, {"2025-12-28", "2026-01-05"}, {"2026-01-01", "2026-01-01"}, {"2026-01-02", "9999-12-31"},
		{"2026-01-03", "2026-01-02"},
	} {
		for _, by := range kpi.GroupBys() {
			want := figures(list, by, bounds[0], bounds[1])
			got := every(t, q, "acme", by, kpis.Filter{From: bounds[0], To: bounds[1]})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("by %s from %s to %s (-want +got):\n%s", by, bounds[0], bounds[1], diff)
			}
		}
	}
}

func TestRandomHistoriesAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	projectionstest.Check(t, pgtest.New(t).DB, registry(t), kpis.New(), history(11, 40)...)
}

// PostgreSQL and the domain agree on the keys of days and weeks.
func TestKeysOfDays(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	spans := [][2]string{{"0001-01-01", "0002-12-31"}, {"1995-01-01", "2030-12-31"}, {"9998-01-01", "9999-12-31"}}
	if testing.Short() {
		spans = [][2]string{{"2024-12-01", "2025-01-31"}}
	}
	for _, years := range spans {
		day, last := domain.Date(years[0]), domain.Date(years[1])
		var list []projectionstest.Fact
		for n := 0; day <= last; n++ {
			list = append(list, projectionstest.Fact{
				Stream: projectionstest.StreamID(n), Event: inspected(order, "final", day, 1, 0),
			})
			day = domain.DateOf(day.Time().AddDate(0, 0, 1))
			if len(day) != 10 { // the year 10000
				break
			}
		}
		projectionstest.Serve(t, db.DB, registry(t), kpis.New(), projectionstest.Record(t, registry(t), 0, list...))
		q := kpis.NewQueries(projectionstest.Tenants(t, db.DSN))
		for _, by := range []kpi.GroupBy{kpi.ByDay, kpi.ByWeek} {
			page, err := q.Groups(context.Background(), "acme", by, kpis.Filter{From: domain.Date(years[0]), To: last}, "", 100_000)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]kpi.Figures, len(page.Items))
			for _, g := range page.Items {
				got[g.Key] = g.Figures
			}
			if diff := cmp.Diff(figures(list, by, domain.Date(years[0]), last), got); diff != "" {
				t.Errorf("by %s (-want +got):\n%.2000s", by, diff)
			}
		}
	}
}

func TestLatest(t *testing.T) {
	t.Parallel()
	list := append(facts(), projectionstest.Fact{ // an older period changes nothing that is latest
		Stream: projectionstest.StreamID(50), Event: production.Created(entry(order, "L2", "A", "2025-03-01")),
	}, projectionstest.Fact{
		Stream: projectionstest.StreamID(51), Event: inspected(order, "final", "2026-01-09", 1, 1),
	})
	q, _ := serve(t, list)
	position := int64(len(list))
	for _, c := range []struct {
		client string
		name   kpi.Name
		period kpi.Period
		line   *string
		want   kpis.Latest
	}{
		{"acme", kpi.Efficiency, kpi.PeriodDay, nil, kpis.Latest{Period: "2026-01-12", Value: "111.76", Position: position}},
		{"acme", kpi.Efficiency, kpi.PeriodDay, text("L1"), kpis.Latest{Period: "2026-01-06", Value: "58.82", Position: position}},
		{"acme", kpi.Efficiency, kpi.PeriodWeek, text("L1"), kpis.Latest{Period: "2026-W02", Value: "58.82", Position: position}},
		{"acme", kpi.Efficiency, kpi.PeriodDay, text("L9"), kpis.Latest{Position: position}},
		{"acme", kpi.FPY, kpi.PeriodDay, nil, kpis.Latest{Period: "2026-01-09", Value: "50.00", Position: position}},
		{"acme", kpi.FPY, kpi.PeriodWeek, nil, kpis.Latest{Period: "2026-W02", Value: "98.48", Position: position}},
		{"acme", kpi.OTD, kpi.PeriodDay, nil, kpis.Latest{Period: "2026-01-12", Value: "100.00", Position: position}},
		{"globex", kpi.OTD, kpi.PeriodWeek, nil, kpis.Latest{Period: "2026-W03", Value: "0.00", Position: position}},
		{"globex", kpi.OEE, kpi.PeriodWeek, nil, kpis.Latest{Position: position}},
	} {
		got, err := q.Latest(context.Background(), c.client, c.name, c.period, c.line)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s of %s by %s: %v\n%s", c.name, c.client, c.period, err, diff)
		}
	}
	if _, err := q.Latest(context.Background(), "*", kpi.OEE, kpi.PeriodDay, nil); err == nil {
		t.Error("a figure of every client at once")
	}
}
