package manufacturing_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
)

func TestContributionOfADelivery(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", -5*60*60)
	tests := []struct {
		name    string
		shipped time.Time
		day     domain.Date
		onTime  int64
	}{
		{"before it is due", time.Date(2026, 1, 29, 12, 0, 0, 0, time.UTC), "2026-01-29", 1},
		{"at the end of the day", time.Date(2026, 1, 30, 23, 59, 59, 0, time.UTC), "2026-01-30", 1},
		{"a day late", time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), "2026-01-31", 0},
		{"a day late in UTC", time.Date(2026, 1, 30, 19, 0, 0, 0, zone), "2026-01-31", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := []kpi.Contribution{{
				Cell: kpi.Cell{Day: test.day, WorkOrder: nobody},
				Sums: kpi.Sums{Shipped: 1, ShippedOnTime: test.onTime},
			}}
			got := manufacturing.Contributions(nobody, workorder.StatusChanged{
				FromStatus: "completed", ToStatus: "shipped", ChangedAt: test.shipped, DueOn: "2026-01-30",
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("contributions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestContributionOfACorrection(t *testing.T) {
	t.Parallel()
	before := production.Entry{
		WorkOrderID: nobody, Line: "L1", Shift: "A", ProductionDate: "2026-01-06", UnitsProduced: 200, DefectCount: 3,
		ScrapCount: 1, RunTimeHours: dec("40"), ScheduledHours: dec("8.5"), DowntimeHours: dec("0.5"),
		EmployeesAssigned: 5, IdealCycleTimeHours: dec("0.25"), Estimated: true,
	}
	after := before
	after.Line, after.UnitsProduced = "L2", 100
	sums := func(units int64, earned string) kpi.Sums {
		return kpi.Sums{
			Entries: 1, Estimated: 1, UnitsProduced: units, Defects: 3, Scrap: 1, EarnedHours: dec(earned),
			StaffHours: dec("42.5"), RunHours: dec("40"), ScheduledHours: dec("8.5"), DowntimeHours: dec("0.5"),
		}
	}
	cell := kpi.Cell{Day: "2026-01-06", Line: "L1", Shift: "A", WorkOrder: nobody}
	moved := cell
	moved.Line = "L2"
	got := manufacturing.Contributions(domain.ID{}, production.Created(before))
	if diff := cmp.Diff([]kpi.Contribution{{Cell: cell, Sums: sums(200, "50")}}, got); diff != "" {
		t.Errorf("recording (-want +got):\n%s", diff)
	}
	got = manufacturing.Contributions(domain.ID{}, production.Corrected{
		Reason: "recount", Entry: after, Changes: production.Changes{
			Line:          &production.Change[string]{Old: "L1", New: "L2"},
			UnitsProduced: &production.Change[int64]{Old: 200, New: 100},
		},
	})
	want := []kpi.Contribution{
		{Cell: cell, Sums: kpi.Sums{}.Minus(sums(200, "50"))},
		{Cell: moved, Sums: sums(100, "25")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("correction (-want +got):\n%s", diff)
	}
}

func TestContributionOfAnInspection(t *testing.T) {
	t.Parallel()
	units := kpi.StageSums{Inspected: 1000, Passed: 985, Defective: 15}
	for _, stage := range inspection.Stages() {
		want := kpi.Sums{Inspections: 1, DefectsFound: 18, Opportunities: dec("8000")}
		switch stage {
		case "incoming":
			want.Incoming = units
		case "in_process":
			want.InProcess = units
		case "final":
			want.Final = units
		}
		got := manufacturing.Contributions(domain.ID{}, inspection.Recorded{
			WorkOrderID: nobody, Stage: stage, InspectedOn: "2026-01-07", UnitsInspected: 1000, UnitsPassed: 985,
			UnitsDefective: 15, DefectCount: 18, OpportunitiesPerUnit: 8,
		})
		cell := kpi.Cell{Day: "2026-01-07", WorkOrder: nobody}
		if diff := cmp.Diff([]kpi.Contribution{{Cell: cell, Sums: want}}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stage, diff)
		}
	}
}

func TestOtherEventsContributeNothing(t *testing.T) {
	t.Parallel()
	for _, event := range []domain.Event{
		workorder.Created{}, workorder.StatusChanged{ToStatus: "completed"}, workorder.StatusChanged{ToStatus: "closed"},
		workorder.OutputRecorded{UnitsProduced: 1}, hold.Created{}, hold.Resumed{}, kpi.ThresholdSet{},
	} {
		if got := manufacturing.Contributions(nobody, event); len(got) != 0 {
			t.Errorf("%s contributes %v", event.EventType(), got)
		}
	}
}
