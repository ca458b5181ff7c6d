package kpis_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/kpis"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(manufacturing.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	order, other  = projectionstest.StreamID(1), projectionstest.StreamID(2)
	first, second = projectionstest.StreamID(3), projectionstest.StreamID(4)
	third, fourth = projectionstest.StreamID(5), projectionstest.StreamID(6)
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func entry(order domain.ID, line, shift string, day domain.Date) production.Entry {
	return production.Entry{
		WorkOrderID: order, Line: line, Shift: shift, ProductionDate: day, UnitsProduced: 200, DefectCount: 3, ScrapCount: 1,
		RunTimeHours: dec("40.0000"), ScheduledHours: dec("8.5"), DowntimeHours: dec("0.5"), EmployeesAssigned: 5,
		IdealCycleTimeHours: dec("0.25"),
	}
}

// corrected gives the correction that makes one entry of another.
func corrected(before, after production.Entry) production.Corrected {
	e := production.Corrected{Reason: "recount", Entry: after}
	if before.Line != after.Line {
		e.Changes.Line = &production.Change[string]{Old: before.Line, New: after.Line}
	}
	if before.Shift != after.Shift {
		e.Changes.Shift = &production.Change[string]{Old: before.Shift, New: after.Shift}
	}
	if before.ProductionDate != after.ProductionDate {
		e.Changes.ProductionDate = &production.Change[domain.Date]{Old: before.ProductionDate, New: after.ProductionDate}
	}
	if before.UnitsProduced != after.UnitsProduced {
		e.Changes.UnitsProduced = &production.Change[int64]{Old: before.UnitsProduced, New: after.UnitsProduced}
	}
	if before.Estimated != after.Estimated {
		e.Changes.Estimated = &production.Change[bool]{Old: before.Estimated, New: after.Estimated}
	}
	return e
}

func inspected(order domain.ID, stage inspection.Stage, day domain.Date, passed, defective int64) inspection.Recorded {
	return inspection.Recorded{
		WorkOrderID: order, Stage: stage, InspectedOn: day, UnitsInspected: passed + defective, UnitsPassed: passed,
		UnitsDefective: defective, DefectCount: defective + 3, OpportunitiesPerUnit: 8,
	}
}

func shipped(at time.Time, due domain.Date) workorder.StatusChanged {
	return workorder.StatusChanged{FromStatus: "completed", ToStatus: "shipped", ChangedAt: at, DueOn: due}
}

func facts() []projectionstest.Fact {
	moved := entry(order, "L2", "B", "2026-01-12")
	moved.UnitsProduced = 190
	guessed := entry(other, "L1", "A", "2026-01-06")
	guessed.Estimated = true
	fewer := guessed
	fewer.UnitsProduced, fewer.Estimated = 100, false
	return []projectionstest.Fact{
		{Stream: first, Event: production.Created(entry(order, "L1", "A", "2026-01-06"))},
		{Stream: second, Event: production.Created(guessed)},
		{Stream: first, Event: corrected(entry(order, "L1", "A", "2026-01-06"), moved)}, // to another cell, leaving zeros
		{Stream: second, Event: corrected(guessed, fewer)},                              // within its cell
		{Stream: third, Event: inspected(order, "final", "2026-01-07", 985, 15)},
		{Stream: fourth, Event: inspected(order, "incoming", "2026-01-07", 50, 0)},
		{Stream: order, Event: workorder.StatusChanged{FromStatus: "received", ToStatus: "released"}},
		{Stream: order, Event: shipped(time.Date(2026, 1, 12, 23, 30, 0, 0, time.UTC), "2026-01-12")},
		{Stream: other, Client: "globex", Event: shipped(time.Date(2026, 1, 13, 0, 30, 0, 0, time.UTC), "2026-01-12")},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), kpis.New(), facts()...)["kpis"]
	zeros := strings.Repeat("0,", 23) + "0"
	for _, want := range []string{
		"acme,2026-01-06,L1,A," + order.String() + "," + zeros + ",3",
		"acme,2026-01-12,L2,B," + order.String() + ",1,0,190,3,1,47.5,42.5,40,8.5,0.5," + strings.Repeat("0,", 14) + "3",
		"acme,2026-01-06,L1,A," + other.String() + ",1,0,100,3,1,25,42.5,40,8.5,0.5," + strings.Repeat("0,", 14) + "4",
		`acme,2026-01-07,"","",` + order.String() + "," + strings.Repeat("0,", 10) +
			"2,50,50,0,0,0,0,1000,985,15,21,8400,0,0,6",
		`acme,2026-01-12,"","",` + order.String() + "," + strings.Repeat("0,", 22) + "1,1,8",
		`globex,2026-01-13,"","",` + other.String() + "," + strings.Repeat("0,", 22) + "1,0,9",
	} {
		if !slices.Contains(rows, "("+want+")") {
			t.Errorf("no row (%s)", want)
		}
	}
	if len(rows) != 6 {
		t.Errorf("rows %q", rows)
	}
}

func serve(t testing.TB, facts []projectionstest.Fact) (*kpis.Queries, *pgtest.DB) {
	t.Helper()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), kpis.New(), projectionstest.Record(t, registry(t), 0, facts...))
	return kpis.NewQueries(projectionstest.Tenants(t, db.DSN)), db
}

// every gives the groups of a grouping, read one at a time.
func every(t testing.TB, q *kpis.Queries, client string, by kpi.GroupBy, f kpis.Filter) map[string]kpi.Figures {
	t.Helper()
	all := make(map[string]kpi.Figures)
	last := ""
	for more := true; more; {
		page, err := q.Groups(context.Background(), client, by, f, last, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.Items {
			if g.Key <= last {
				t.Errorf("group %q comes after %q", g.Key, last)
			}
			last, all[g.Key] = g.Key, g.Figures
		}
		more = page.Next != ""
	}
	return all
}

func text(s string) *string { return &s }

func TestFigures(t *testing.T) {
	t.Parallel()
	q, _ := serve(t, facts())
	year := kpis.Filter{From: "2026-01-01", To: "2026-12-31"}
	none := kpi.Figures{
		Efficiency: "0.00", Performance: "0.00", Availability: "0.00", QualityRate: "0.00", OEE: "0.00",
		PPM: text("0.00"), DPMO: text("0.00"), FPY: text("0.00"), RTY: text("0.00"), OTD: text("0.00"),
		FPYByStage: &kpi.StageFPY{Incoming: "0.00", InProcess: "0.00", Final: "0.00"},
	}
	produced := none
	produced.Efficiency, produced.Performance, produced.Availability = "58.82", "62.50", "94.12"
	produced.QualityRate, produced.OEE = "96.00", "56.47"
	inspections := none
	inspections.PPM, inspections.DPMO = text("14285.71"), text("2500.00")
	inspections.FPY, inspections.RTY = text("98.57"), text("98.50")
	inspections.FPYByStage = &kpi.StageFPY{Incoming: "100.00", InProcess: "0.00", Final: "98.50"}
	days := every(t, q, "acme", kpi.ByDay, year)
	if diff := cmp.Diff(produced, days["2026-01-06"]); diff != "" {
		t.Errorf("a day of production (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(inspections, days["2026-01-07"]); diff != "" {
		t.Errorf("a day of inspections (-want +got):\n%s", diff)
	}
	if len(days) != 3 || *days["2026-01-12"].OTD != "100.00" || days["2026-01-12"].Efficiency != "111.76" {
		t.Errorf("days %+v", days)
	}
	late := every(t, q, "globex", kpi.ByTotal, year)
	if len(late) != 1 || *late["total"].OTD != "0.00" {
		t.Errorf("another client's %+v", late)
	}
	lines := every(t, q, "acme", kpi.ByLine, year)
	if len(lines) != 2 || lines["L1"].PPM != nil || lines["L1"].OTD != nil || lines["L1"].FPYByStage != nil {
		t.Errorf("lines %+v", lines)
	}
	ofLine := year
	ofLine.Line = "L2"
	if got := every(t, q, "acme", kpi.ByTotal, ofLine); len(got) != 1 || got["total"].FPY != nil || got["total"].Efficiency != "111.76" {
		t.Errorf("the total of a line %+v", got)
	}
	ofOrder := year
	ofOrder.WorkOrderID = &other
	if got := every(t, q, "acme", kpi.ByDay, ofOrder); len(got) != 1 || got["2026-01-06"].Estimated {
		t.Errorf("the days of an order %+v", got)
	}
	if _, err := q.Groups(context.Background(), "acme", "month", year, "", 1); err == nil {
		t.Error("grouped by month")
	}
	page, err := q.Groups(context.Background(), "acme", kpi.ByDay, kpis.Filter{From: "2027-01-01"}, "", 5)
	if err != nil || page.Position != int64(len(facts())) || len(page.Items) != 0 || page.Next != "" {
		t.Errorf("nothing: %+v, %v", page, err)
	}
}

func TestEstimatedOnlyWhereAnEstimateIsLeft(t *testing.T) {
	t.Parallel()
	guessed := entry(order, "L1", "A", "2026-01-06")
	guessed.Estimated = true
	q, _ := serve(t, []projectionstest.Fact{
		{Stream: first, Event: production.Created(guessed)},
		{Stream: second, Event: production.Created(entry(order, "L2", "A", "2026-01-07"))},
	})
	got := every(t, q, "acme", kpi.ByLine, kpis.Filter{})
	if !got["L1"].Estimated || got["L2"].Estimated || !every(t, q, "acme", kpi.ByTotal, kpis.Filter{})["total"].Estimated {
		t.Errorf("%+v", got)
	}
}

func TestACellWithoutTheEntryThatIsTakenAway(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	p := kpis.New()
	if err := projections.CreateTables(ctx, tx, p.Spec(), "negative"); err != nil {
		t.Fatal(err)
	}
	events := projectionstest.Record(t, registry(t), 0, projectionstest.Fact{
		Stream: first, Event: corrected(entry(order, "L1", "A", "2026-01-06"), entry(order, "L2", "A", "2026-01-06")),
	})
	err = p.Apply(ctx, projections.Tx{Executor: tx, Schema: "negative"}, projections.Page{To: 1, Events: events})
	if err == nil || !strings.Contains(err.Error(), "doesn't count") {
		t.Errorf("applied: %v", err)
	}
}
