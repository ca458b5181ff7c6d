package inspection_test

import (
	"testing"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/inspection"
)

var (
	inspector = "q-2"
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

func TestFailed(t *testing.T) {
	t.Parallel()
	for _, stage := range inspection.Stages() {
		for _, defective := range []int64{0, 1} {
			i := inspection.Inspection{Stage: stage, UnitsDefective: defective}
			if got := i.Failed(); got != (stage == "final" && defective == 1) {
				t.Errorf("%s inspection with %d defective units: failed is %t", stage, defective, got)
			}
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
