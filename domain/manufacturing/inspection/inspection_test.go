package inspection_test

import (
	"testing"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/inspection"
)

var (
	inspector = domain.Personal("q-2")
	sample    = inspection.Inspection{
		WorkOrderID: domain.MustParseID("0190a000-0000-7000-8000-00000000000a"), Stage: inspection.StageFinal,
		InspectedOn: "2026-01-09", UnitsInspected: 1000, UnitsPassed: 985, UnitsDefective: 15, UnitsReworked: 5,
		UnitsScrapped: 2, DefectCount: 18, OpportunitiesPerUnit: 8, Inspector: &inspector,
	}
)

func TestRecord(t *testing.T) {
	t.Parallel()
	record := inspection.Record{Inspection: sample}
	s := domaintest.Given(t, inspection.Aggregate).When(record).Then(inspection.Recorded(sample))
	if got := s.State(); got.Inspection != sample || !got.Recorded {
		t.Errorf("state %+v", got)
	}
	s.When(record).ThenBroken()
}

func TestFailsBelow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stage             inspection.Stage
		passed, inspected int64
		limit             string
		want              bool
	}{
		{"final", 985, 1000, "98.5", false}, // the limit itself is allowed
		{"final", 985, 1000, "98.5001", true},
		{"final", 984, 1000, "98.5", true},
		{"final", 2, 3, "66.67", true}, // 66.666…, although it is shown as 66.67
		{"final", 0, 3, "0", false},
		{"final", 3, 3, "100", false},
		{"final", 0, 0, "100", false},
		{"in_process", 0, 3, "100", false},
		{"incoming", 0, 3, "100", false},
	} {
		i := inspection.Inspection{Stage: c.stage, UnitsPassed: c.passed, UnitsInspected: c.inspected}
		if got := i.FailsBelow(decimal.RequireFromString(c.limit)); got != c.want {
			t.Errorf("%s inspection with %d of %d passed fails below %s: %t", c.stage, c.passed, c.inspected, c.limit, got)
		}
	}
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, inspection.Definition(), domaintest.Today(inspection.Recorded(sample))...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, inspection.Definition(), domaintest.Today(inspection.Recorded(sample))...)
}
