package manufacturing_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/manufacturing"
)

type validated interface{ Validate() []domain.FieldError }

type valueTest struct {
	name    string
	command validated
	want    []string
}

func checkValues(t *testing.T, tests []valueTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range test.command.Validate() {
				if f.Detail == "" {
					t.Errorf("%s has no detail", f.Pointer)
				}
				got = append(got, f.Pointer)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("pointers (-want +got):\n%s", diff)
			}
		})
	}
}

// changed gives a copy of a command with a change.
func changed[C any](command C, change func(*C)) C {
	change(&command)
	return command
}

func TestWorkOrderValues(t *testing.T) {
	t.Parallel()
	type create = manufacturing.CreateWorkOrderCommand
	good := anOrder("WO-1")
	with := func(change func(*create)) create { return changed(good, change) }
	checkValues(t, []valueTest{
		{"order", good, nil},
		{"nothing", create{}, []string{"/number", "/product_code", "/quantity_ordered", "/received_on", "/due_on"}},
		{"longest number", with(func(c *create) { c.Number = strings.Repeat("é", 64) }), nil},
		{"number too long", with(func(c *create) { c.Number = strings.Repeat("é", 65) }), []string{"/number"}},
		{"product code too long", with(func(c *create) { c.ProductCode = strings.Repeat("p", 201) }), []string{"/product_code"}},
		{"empty customer", with(func(c *create) { c.CustomerName = ptr("") }), []string{"/customer_name"}},
		{"none ordered", with(func(c *create) { c.QuantityOrdered = ptr(int64(0)) }), nil},
		{"too many ordered", with(func(c *create) { c.QuantityOrdered = ptr(int64(1_000_000_001)) }), []string{"/quantity_ordered"}},
		{"no such day", with(func(c *create) { c.ReceivedOn = "2026-02-29" }), []string{"/received_on"}},
		{"not a day", with(func(c *create) { c.DueOn = "2026-01-30T00:00:00Z" }), []string{"/due_on"}},
		{"cycle time too fine", with(func(c *create) { c.IdealCycleTimeHours = ptr("0.00001") }), []string{"/ideal_cycle_time_hours"}},
		{"cycle time", with(func(c *create) { c.IdealCycleTimeHours = ptr("1000000") }), nil},
		{"cycle time too high", with(func(c *create) { c.IdealCycleTimeHours = ptr("1000000.1") }), []string{"/ideal_cycle_time_hours"}},
		{"workflow", with(func(c *create) { c.Workflow = ptr("agile") }), []string{"/workflow"}},
		{"empty workflow", with(func(c *create) { c.Workflow = ptr("") }), []string{"/workflow"}},

		{"transition", manufacturing.TransitionWorkOrderCommand{To: "on_hold", Notes: ptr(strings.Repeat("x", 2000))}, nil},
		{"transition to nothing", manufacturing.TransitionWorkOrderCommand{}, []string{"/to"}},
		{"transition, long notes", manufacturing.TransitionWorkOrderCommand{
			To: "received", Notes: ptr(strings.Repeat("x", 2001)),
		}, []string{"/notes"}},
		{"approval", manufacturing.ApproveQCCommand{}, nil},
		{"approval, wrong", manufacturing.ApproveQCCommand{InspectionID: ptr("x"), Notes: ptr("a\x00b")},
			[]string{"/inspection_id", "/notes"}},
	})
}

func TestProductionValues(t *testing.T) {
	t.Parallel()
	type record = manufacturing.RecordProductionCommand
	type correct = manufacturing.CorrectProductionCommand
	good := anEntry(nobody, 1)
	with := func(change func(*record)) record { return changed(good, change) }
	checkValues(t, []valueTest{
		{"entry", good, nil},
		{"nothing", record{}, []string{
			"/work_order_id", "/line", "/shift", "/production_date", "/units_produced", "/run_time_hours",
			"/scheduled_hours", "/employees_assigned",
		}},
		{"everything wrong", record{
			WorkOrderID: "7", Line: strings.Repeat("l", 65), Shift: strings.Repeat("s", 65), ProductionDate: "today",
			UnitsProduced: ptr(int64(-1)), DefectCount: -1, ScrapCount: -1, ReworkCount: -1, RunTimeHours: "-1",
			ScheduledHours: "1e3", DowntimeHours: ptr(""), EmployeesAssigned: ptr(int64(-1)), IdealCycleTimeHours: ptr("x"),
		}, []string{
			"/work_order_id", "/line", "/shift", "/production_date", "/units_produced", "/defect_count", "/scrap_count",
			"/rework_count", "/run_time_hours", "/scheduled_hours", "/downtime_hours", "/employees_assigned",
			"/ideal_cycle_time_hours",
		}},
		{"more defects than units", with(func(c *record) { c.DefectCount, c.ScrapCount = 9, domain.MaxCount }), nil},
		{"finest hours", with(func(c *record) { c.RunTimeHours = "0.0001" }), nil},

		{"correction", correct{Line: ptr("L2"), Reason: "x"}, nil},
		{"correction of nothing", correct{EntryID: nobody, Reason: "x"}, []string{""}},
		{"empty correction", correct{}, []string{"", "/reason"}},
		{"correction, everything wrong", correct{
			Line: ptr(""), Shift: ptr(""), ProductionDate: ptr(""), UnitsProduced: ptr(int64(-1)), DefectCount: ptr(int64(-1)),
			ScrapCount: ptr(int64(-1)), ReworkCount: ptr(int64(-1)), RunTimeHours: ptr(""), ScheduledHours: ptr(""),
			DowntimeHours: ptr(""), EmployeesAssigned: ptr(int64(-1)), IdealCycleTimeHours: ptr(""),
			Reason: strings.Repeat("x", 2001),
		}, []string{
			"/reason", "/line", "/shift", "/production_date", "/units_produced", "/defect_count", "/scrap_count",
			"/rework_count", "/employees_assigned", "/run_time_hours", "/scheduled_hours", "/downtime_hours",
			"/ideal_cycle_time_hours",
		}},
	})
}

func TestInspectionAndHoldValues(t *testing.T) {
	t.Parallel()
	type inspect = manufacturing.RecordInspectionCommand
	good := anInspection(nobody, 985, 15)
	with := func(change func(*inspect)) inspect { return changed(good, change) }
	checkValues(t, []valueTest{
		{"inspection", good, nil},
		{"nothing", inspect{}, []string{
			"/work_order_id", "/stage", "/units_inspected", "/units_passed", "/units_defective",
		}},
		{"everything wrong", inspect{
			WorkOrderID: "7", Stage: "last", InspectedOn: ptr("x"), UnitsInspected: ptr(int64(-1)),
			UnitsPassed: ptr(int64(-1)), UnitsDefective: ptr(int64(-1)), UnitsReworked: -1, UnitsScrapped: -1,
			DefectCount: -1, OpportunitiesPerUnit: ptr(int64(-1)), Inspector: ptr(""),
		}, []string{
			"/work_order_id", "/stage", "/inspected_on", "/units_inspected", "/units_passed", "/units_defective",
			"/units_reworked", "/units_scrapped", "/defect_count", "/opportunities_per_unit", "/inspector",
		}},
		{"one more inspected", with(func(c *inspect) { c.UnitsInspected = ptr(int64(1001)) }), []string{"/units_inspected"}},
		{"one more passed", with(func(c *inspect) { c.UnitsPassed = ptr(int64(986)) }), []string{"/units_inspected"}},
		{"all reworked or scrapped", with(func(c *inspect) { c.UnitsReworked, c.UnitsScrapped = 5, 10 }), nil},
		{"one more scrapped", with(func(c *inspect) { c.UnitsReworked, c.UnitsScrapped = 5, 11 }), []string{"/units_defective"}},
		{"nothing inspected", anInspection(nobody, 0, 0), nil},

		{"hold", aHold(nobody, 0), nil},
		{"empty hold", manufacturing.CreateHoldCommand{}, []string{"/work_order_id", "/category", "/reason", "/quantity"}},
		{"hold, everything wrong", manufacturing.CreateHoldCommand{
			WorkOrderID: "7", Category: strings.Repeat("c", 201), Reason: strings.Repeat("r", 2001), Quantity: ptr(int64(-1)),
		}, []string{"/work_order_id", "/category", "/reason", "/quantity"}},
		{"resume", manufacturing.ResumeHoldCommand{}, nil},
		{"resume, everything wrong", manufacturing.ResumeHoldCommand{
			QuantityReleased: -1, QuantityScrapped: domain.MaxCount + 1, Resolution: ptr(""),
		}, []string{"/quantity_released", "/quantity_scrapped", "/resolution"}},
	})
}

func TestThresholdValues(t *testing.T) {
	t.Parallel()
	type set = manufacturing.SetThresholdCommand
	with := func(change func(*set)) set { return changed(setPPM("2000"), change) }
	checkValues(t, []valueTest{
		{"threshold", setPPM("2000"), nil},
		{"nothing", set{KPI: "ppm"}, []string{"/direction", "/limit", "/period"}},
		{"everything wrong", set{
			KPI: "oee", Direction: "up", Limit: "0.00001", Period: "month", Line: ptr(""),
		}, []string{"/direction", "/limit", "/period", "/line"}},
		{"highest limit", setPPM("1000000000"), nil},
		{"limit too high", setPPM("1000000000.0001"), []string{"/limit"}},
		{"a line has no ppm", with(func(c *set) { c.Line = ptr("L1") }), []string{"/line"}},
		{"no line of ppm, whatever its name", with(func(c *set) { c.Line = ptr("") }), []string{"/line"}},
		{"a line has no otd", with(func(c *set) { c.KPI, c.Line = "otd", ptr("L1") }), []string{"/line"}},
		{"a line has oee", with(func(c *set) { c.KPI, c.Line = "oee", ptr("L1") }), nil},
	})
}
