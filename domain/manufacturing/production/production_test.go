package production_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/production"
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func ptr[T any](v T) *T { return &v }

func entry() production.Entry {
	return production.Entry{
		WorkOrderID: domain.MustParseID("0190a000-0000-7000-8000-00000000000a"), Line: "L1", Shift: "A",
		ProductionDate: "2026-01-06", UnitsProduced: 200, DefectCount: 3, ScrapCount: 1, ReworkCount: 2,
		RunTimeHours: dec("8.5"), ScheduledHours: dec("8.75"), DowntimeHours: dec("0.25"), EmployeesAssigned: 5,
		IdealCycleTimeHours: dec("0.25"), Estimated: true,
	}
}

func with(change func(*production.Entry)) production.Entry {
	e := entry()
	change(&e)
	return e
}

func TestRecordResolvesTheCycleTime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		own, workOrder *decimal.Decimal
		want           string
		estimated      bool
	}{
		{"the entry's", ptr(dec("0.1")), ptr(dec("0.2")), "0.1", false},
		{"the entry's, zero", ptr(dec("0")), ptr(dec("0.2")), "0", false},
		{"the work order's", nil, ptr(dec("0.2")), "0.2", false},
		{"the work order's, equal to the default", nil, ptr(dec("0.25")), "0.25", false},
		{"the default", nil, nil, "0.25", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			record := production.Record{Entry: entry(), CycleTime: test.own, WorkOrderCycleTime: test.workOrder}
			want := with(func(e *production.Entry) { e.IdealCycleTimeHours, e.Estimated = dec(test.want), test.estimated })
			s := domaintest.Given(t, production.Aggregate).When(record).Then(production.Created(want))
			if diff := cmp.Diff(production.State{Entry: want, Recorded: true}, s.State()); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			s.When(record).ThenBroken()
		})
	}
}

func TestCorrectEachValue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		correct production.Correct
		change  func(*production.Entry)
		want    production.Changes
	}{
		{
			"line", production.Correct{Line: ptr("L2")}, func(e *production.Entry) { e.Line = "L2" },
			production.Changes{Line: &production.Change[string]{Old: "L1", New: "L2"}},
		},
		{
			"shift", production.Correct{Shift: ptr("B")}, func(e *production.Entry) { e.Shift = "B" },
			production.Changes{Shift: &production.Change[string]{Old: "A", New: "B"}},
		},
		{
			"date", production.Correct{ProductionDate: ptr(domain.Date("2026-01-07"))},
			func(e *production.Entry) { e.ProductionDate = "2026-01-07" },
			production.Changes{ProductionDate: &production.Change[domain.Date]{Old: "2026-01-06", New: "2026-01-07"}},
		},
		{
			"units", production.Correct{UnitsProduced: ptr(int64(190))},
			func(e *production.Entry) { e.UnitsProduced = 190 },
			production.Changes{UnitsProduced: &production.Change[int64]{Old: 200, New: 190}},
		},
		{
			"defects", production.Correct{DefectCount: ptr(int64(0))}, func(e *production.Entry) { e.DefectCount = 0 },
			production.Changes{DefectCount: &production.Change[int64]{Old: 3, New: 0}},
		},
		{
			"scrap", production.Correct{ScrapCount: ptr(int64(9))}, func(e *production.Entry) { e.ScrapCount = 9 },
			production.Changes{ScrapCount: &production.Change[int64]{Old: 1, New: 9}},
		},
		{
			"rework", production.Correct{ReworkCount: ptr(int64(4))}, func(e *production.Entry) { e.ReworkCount = 4 },
			production.Changes{ReworkCount: &production.Change[int64]{Old: 2, New: 4}},
		},
		{
			"run time", production.Correct{RunTimeHours: ptr(dec("8"))},
			func(e *production.Entry) { e.RunTimeHours = dec("8") },
			production.Changes{RunTimeHours: &production.Change[decimal.Decimal]{Old: dec("8.5"), New: dec("8")}},
		},
		{
			"scheduled", production.Correct{ScheduledHours: ptr(dec("9"))},
			func(e *production.Entry) { e.ScheduledHours = dec("9") },
			production.Changes{ScheduledHours: &production.Change[decimal.Decimal]{Old: dec("8.75"), New: dec("9")}},
		},
		{
			"downtime", production.Correct{DowntimeHours: ptr(dec("0"))},
			func(e *production.Entry) { e.DowntimeHours = dec("0") },
			production.Changes{DowntimeHours: &production.Change[decimal.Decimal]{Old: dec("0.25"), New: dec("0")}},
		},
		{
			"employees", production.Correct{EmployeesAssigned: ptr(int64(0))},
			func(e *production.Entry) { e.EmployeesAssigned = 0 },
			production.Changes{EmployeesAssigned: &production.Change[int64]{Old: 5, New: 0}},
		},
		{
			"cycle time", production.Correct{IdealCycleTimeHours: ptr(dec("0.3"))},
			func(e *production.Entry) { e.IdealCycleTimeHours, e.Estimated = dec("0.3"), false },
			production.Changes{
				IdealCycleTimeHours: &production.Change[decimal.Decimal]{Old: dec("0.25"), New: dec("0.3")},
				Estimated:           &production.Change[bool]{Old: true, New: false},
			},
		},
		{
			"cycle time, as it was estimated", production.Correct{IdealCycleTimeHours: ptr(dec("0.250"))},
			func(e *production.Entry) { e.Estimated = false },
			production.Changes{Estimated: &production.Change[bool]{Old: true, New: false}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			after := with(test.change)
			test.correct.Reason = "recount"
			corrected := production.Corrected{Reason: "recount", Changes: test.want, Entry: after}
			s := domaintest.Given(t, production.Aggregate, production.Created(entry())).
				When(test.correct).Then(corrected)
			if diff := cmp.Diff(production.State{Entry: after, Recorded: true}, s.State()); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(entry(), corrected.Before()); diff != "" {
				t.Errorf("before (-want +got):\n%s", diff)
			}
			s.When(test.correct).ThenNothing()
		})
	}
}

func TestCorrectToWhatItIs(t *testing.T) {
	t.Parallel()
	e := with(func(e *production.Entry) { e.Estimated = false })
	domaintest.Given(t, production.Aggregate, production.Created(e)).When(production.Correct{
		Line: &e.Line, Shift: &e.Shift, ProductionDate: &e.ProductionDate, UnitsProduced: &e.UnitsProduced,
		DefectCount: &e.DefectCount, ScrapCount: &e.ScrapCount, ReworkCount: &e.ReworkCount,
		RunTimeHours: ptr(dec("8.50")), ScheduledHours: ptr(dec("8.7500")), DowntimeHours: ptr(dec("0.250")),
		EmployeesAssigned: &e.EmployeesAssigned, IdealCycleTimeHours: ptr(dec("0.2500")), Reason: "none",
	}).ThenNothing()
}

func TestBeforeUndoesAnyCorrection(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.Ptr(rapid.Int64Range(0, 300), true)
		hours := rapid.Ptr(rapid.Map(rapid.Int64Range(0, 9), func(n int64) decimal.Decimal { return decimal.New(n, -1) }), true)
		text := rapid.Ptr(rapid.StringMatching("[A-C]"), true)
		before := entry()
		correct := production.Correct{
			Line: text.Draw(t, "line"), Shift: text.Draw(t, "shift"), UnitsProduced: counts.Draw(t, "units"),
			DefectCount: counts.Draw(t, "defects"), ScrapCount: counts.Draw(t, "scrap"),
			ReworkCount: counts.Draw(t, "rework"), EmployeesAssigned: counts.Draw(t, "employees"),
			RunTimeHours: hours.Draw(t, "run"), ScheduledHours: hours.Draw(t, "scheduled"),
			DowntimeHours: hours.Draw(t, "downtime"), IdealCycleTimeHours: hours.Draw(t, "cycle"), Reason: "x",
		}
		events, err := production.Aggregate.Decide(production.State{Entry: before, Recorded: true}, correct)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			corrected := e.(production.Corrected)
			if diff := cmp.Diff(before, corrected.Before()); diff != "" {
				t.Fatalf("before (-want +got):\n%s", diff)
			}
			if cmp.Equal(before, corrected.Entry) {
				t.Fatal("a correction that changes nothing")
			}
		}
	})
}

func goldens() []domaintest.Golden {
	return domaintest.Today(production.Created(entry()), production.Corrected{
		Reason: "recount",
		Changes: production.Changes{
			Line:                &production.Change[string]{Old: "L1", New: "L2"},
			Shift:               &production.Change[string]{Old: "A", New: "B"},
			ProductionDate:      &production.Change[domain.Date]{Old: "2026-01-06", New: "2026-01-07"},
			UnitsProduced:       &production.Change[int64]{Old: 200, New: 190},
			DefectCount:         &production.Change[int64]{Old: 3, New: 4},
			ScrapCount:          &production.Change[int64]{Old: 1, New: 0},
			ReworkCount:         &production.Change[int64]{Old: 2, New: 3},
			RunTimeHours:        &production.Change[decimal.Decimal]{Old: dec("8.5"), New: dec("8")},
			ScheduledHours:      &production.Change[decimal.Decimal]{Old: dec("8.75"), New: dec("9")},
			DowntimeHours:       &production.Change[decimal.Decimal]{Old: dec("0.25"), New: dec("1")},
			EmployeesAssigned:   &production.Change[int64]{Old: 5, New: 6},
			IdealCycleTimeHours: &production.Change[decimal.Decimal]{Old: dec("0.25"), New: dec("0.0001")},
			Estimated:           &production.Change[bool]{Old: true, New: false},
		},
		Entry: production.Entry{
			WorkOrderID: entry().WorkOrderID, Line: "L2", Shift: "B", ProductionDate: "2026-01-07", UnitsProduced: 190,
			DefectCount: 4, ScrapCount: 0, ReworkCount: 3, RunTimeHours: dec("8"), ScheduledHours: dec("9"),
			DowntimeHours: dec("1"), EmployeesAssigned: 6, IdealCycleTimeHours: dec("0.0001"),
		},
	})
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, production.Definition(), goldens()...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, production.Definition(), goldens()...)
}
