package manufacturing_test

import (
	"testing"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/kpi"
)

func setPPM(limit string) manufacturing.SetThresholdCommand {
	return manufacturing.SetThresholdCommand{KPI: "ppm", Direction: "max", Limit: limit, Period: "day"}
}

func TestSetAndRemoveThreshold(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	out := must(p, manufacturing.SetThreshold, setPPM("2000.0"))
	stated(t, out, kpi.ThresholdSet{KPI: "ppm", Direction: "max", Limit: dec("2000"), Period: "day"})
	if out.ID != kpi.ThresholdID("acme", kpi.PPM, nil) || out.Version != 1 || out.Created {
		t.Errorf("the target isn't the threshold: %+v", out)
	}
	stated(t, must(p, manufacturing.SetThreshold, setPPM("2000")))
	stated(t, must(p, manufacturing.SetThreshold, setPPM("3000")),
		kpi.ThresholdSet{KPI: "ppm", Direction: "max", Limit: dec("3000"), Period: "day"})
	line := manufacturing.SetThresholdCommand{KPI: "oee", Direction: "min", Limit: "60", Period: "week", Line: ptr("L1")}
	out = must(p, manufacturing.SetThreshold, line)
	stated(t, out, kpi.ThresholdSet{
		KPI: "oee", Direction: "min", Limit: dec("60"), Period: "week", Scope: kpi.Scope{Line: ptr("L1")},
	})
	if out.ID != kpi.ThresholdID("acme", kpi.OEE, ptr("L1")) {
		t.Errorf("the target isn't the line's threshold: %+v", out)
	}
	refused(p, manufacturing.RemoveThreshold, manufacturing.RemoveThresholdCommand{KPI: "oee"}, domain.CodeNotFound)
	refused(p, manufacturing.RemoveThreshold,
		manufacturing.RemoveThresholdCommand{KPI: "ppm", Line: ptr("")}, domain.CodeNotFound)
	remove := manufacturing.RemoveThresholdCommand{KPI: "oee", Line: ptr("L1")}
	stated(t, must(p, manufacturing.RemoveThreshold, remove),
		kpi.ThresholdRemoved{KPI: "oee", Direction: ptr(kpi.Min), Limit: ptr(dec("60")), Scope: kpi.Scope{Line: ptr("L1")}})
	refused(p, manufacturing.RemoveThreshold, remove, domain.CodeNotFound)
	out = must(p, manufacturing.SetThreshold, line)
	if len(out.Events) != 1 || out.Version != 3 {
		t.Errorf("setting it again: %+v", out)
	}
	p.Client = "globex"
	refused(p, manufacturing.RemoveThreshold, remove, domain.CodeNotFound)
	p.Replay()
}

func TestThresholdOrderOfChecks(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	unknown := setPPM("2000")
	unknown.KPI = "wip_age"
	refused(p, manufacturing.SetThreshold, unknown, domain.CodeNotFound)
	unknown.Limit = "-1"
	refused(p, manufacturing.SetThreshold, unknown, domain.CodeValidation, "/limit")
	refused(p, manufacturing.RemoveThreshold, manufacturing.RemoveThresholdCommand{KPI: "x"}, domain.CodeNotFound)
	refusedAt(p, 1, manufacturing.SetThreshold, setPPM("2000"), domain.CodeVersionMismatch)
	must(p, manufacturing.SetThreshold, setPPM("2000"))
	refusedAt(p, 2, manufacturing.SetThreshold, setPPM("2000"), domain.CodeVersionMismatch)
	refusedAt(p, 2, manufacturing.RemoveThreshold, manufacturing.RemoveThresholdCommand{KPI: "ppm"}, domain.CodeVersionMismatch)
}

func TestEvaluateThreshold(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	judge := func(value string, position int64) manufacturing.EvaluateThresholdCommand {
		return manufacturing.EvaluateThresholdCommand{
			KPI: kpi.PPM, Value: dec(value), Period: "2026-01-06", ComputedAtPosition: position,
		}
	}
	stated(t, must(p, manufacturing.EvaluateThreshold, judge("9999", 1))) // there is no threshold
	must(p, manufacturing.SetThreshold, setPPM("2000"))
	stated(t, must(p, manufacturing.EvaluateThreshold, judge("2000.00", 5)))
	stated(t, must(p, manufacturing.EvaluateThreshold, judge("2000.01", 6)), kpi.ThresholdViolated{
		KPI: "ppm", Value: dec("2000.01"), Limit: dec("2000"), Direction: "max", Period: "2026-01-06",
		ComputedAtPosition: 6,
	})
	stated(t, must(p, manufacturing.EvaluateThreshold, judge("2000.01", 6)))
	stated(t, must(p, manufacturing.EvaluateThreshold, judge("1.00", 7)), kpi.ThresholdRecovered{
		KPI: "ppm", Value: dec("1"), Limit: dec("2000"), Period: "2026-01-06", ComputedAtPosition: 7,
	})
	must(p, manufacturing.RemoveThreshold, manufacturing.RemoveThresholdCommand{KPI: "ppm"})
	stated(t, must(p, manufacturing.EvaluateThreshold, judge("9999", 8)))
	refused(p, manufacturing.EvaluateThreshold, manufacturing.EvaluateThresholdCommand{KPI: "x"}, domain.CodeNotFound)
	p.Replay()
}
