package kpi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/kpi"
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

var (
	line    = "L1"
	ppmSet  = kpi.ThresholdSet{KPI: kpi.PPM, Direction: kpi.Max, Limit: dec("2000"), Period: kpi.PeriodDay}
	oeeSet  = kpi.ThresholdSet{KPI: "oee", Direction: "min", Limit: dec("60.5"), Period: "week", Scope: kpi.Scope{Line: &line}}
	tooHigh = kpi.Judge{Value: dec("2000.01"), Period: "2026-01-06", ComputedAtPosition: 40}
	alert   = kpi.ThresholdViolated{
		KPI: "ppm", Value: dec("2000.01"), Limit: dec("2000"), Direction: "max", Period: "2026-01-06",
		ComputedAtPosition: 40,
	}
)

func TestSet(t *testing.T) {
	t.Parallel()
	set := kpi.Set{KPI: kpi.OEE, Direction: kpi.Min, Limit: dec("60.5"), Period: kpi.PeriodWeek, Line: &line}
	s := domaintest.Given(t, kpi.Aggregate).When(set).Then(oeeSet)
	want := kpi.State{
		Active: true, KPI: "oee", Direction: "min", Limit: dec("60.5"), Period: "week", Scope: kpi.Scope{Line: &line},
	}
	if diff := cmp.Diff(want, s.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	set.Limit = dec("60.500")
	s = s.When(set).ThenNothing()
	for _, change := range []func(*kpi.Set){
		func(c *kpi.Set) { c.Limit = dec("60.6") },
		func(c *kpi.Set) { c.Direction = kpi.Max },
		func(c *kpi.Set) { c.Period = kpi.PeriodDay },
	} {
		other := set
		change(&other)
		s.When(other).Then(kpi.ThresholdSet{
			KPI: other.KPI, Direction: other.Direction, Limit: other.Limit, Period: other.Period,
			Scope: kpi.Scope{Line: other.Line},
		})
		s = domaintest.Given(t, kpi.Aggregate, oeeSet)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	domaintest.Given(t, kpi.Aggregate).When(kpi.Remove{}).ThenNothing()
	s := domaintest.Given(t, kpi.Aggregate, oeeSet).When(kpi.Remove{}).
		Then(kpi.ThresholdRemoved{KPI: "oee", Direction: &oeeSet.Direction, Limit: &oeeSet.Limit, Scope: kpi.Scope{Line: &line}})
	s = s.When(kpi.Remove{}).ThenNothing()
	s = s.When(kpi.Judge{Value: dec("1"), Period: "2026-W02", ComputedAtPosition: 9}).ThenNothing()
	s.When(kpi.Set{KPI: kpi.OEE, Direction: kpi.Min, Limit: dec("60.5"), Period: kpi.PeriodWeek, Line: &line}).
		Then(oeeSet)
}

func TestTheLimitItselfIsAllowed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		set      kpi.ThresholdSet
		value    string
		violates bool
	}{
		{ppmSet, "1999.99", false}, {ppmSet, "2000.00", false}, {ppmSet, "2000.01", true},
		{oeeSet, "60.51", false}, {oeeSet, "60.50", false}, {oeeSet, "60.49", true},
	}
	for _, test := range tests {
		events, err := kpi.Aggregate.Decide(kpi.Aggregate.Fold(kpi.State{}, test.set),
			kpi.Judge{Value: dec(test.value), Period: "p", ComputedAtPosition: 1})
		if err != nil || (len(events) == 1) != test.violates {
			t.Errorf("%s %s %s: %v, %v", test.set.KPI, test.set.Direction, test.value, events, err)
		}
	}
}

func TestCrossingTheLimitIsStatedOnce(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, kpi.Aggregate, ppmSet).When(tooHigh).Then(alert)
	s = s.When(tooHigh).ThenNothing()
	s = s.When(kpi.Judge{Value: dec("9000"), Period: "2026-01-07", ComputedAtPosition: 50}).ThenNothing()
	s = s.When(kpi.Judge{Value: dec("2000"), Period: "2026-01-07", ComputedAtPosition: 39}).ThenNothing() // older
	s = s.When(kpi.Judge{Value: dec("2000"), Period: "2026-01-07", ComputedAtPosition: 60}).
		Then(kpi.ThresholdRecovered{
			KPI: "ppm", Value: dec("2000"), Limit: dec("2000"), Period: "2026-01-07", ComputedAtPosition: 60,
		})
	s = s.When(tooHigh).ThenNothing() // older than the recovery
	s.When(kpi.Judge{Value: dec("2000.01"), Period: "2026-01-06", ComputedAtPosition: 60}).
		Then(kpi.ThresholdViolated{
			KPI: "ppm", Value: dec("2000.01"), Limit: dec("2000"), Direction: "max", Period: "2026-01-06",
			ComputedAtPosition: 60,
		})
}

func TestANewLimitIsJudgedNextTime(t *testing.T) {
	t.Parallel()
	higher := kpi.ThresholdSet{KPI: "ppm", Direction: "max", Limit: dec("3000"), Period: "day"}
	s := domaintest.Given(t, kpi.Aggregate, ppmSet, alert, higher)
	if !s.State().Violated {
		t.Error("a new limit must not end an alert by itself")
	}
	s.When(kpi.Judge{Value: dec("3000.01"), Period: "2026-01-06", ComputedAtPosition: 41}).ThenNothing()
	s.When(kpi.Judge{Value: dec("2000.01"), Period: "2026-01-06", ComputedAtPosition: 41}).
		Then(kpi.ThresholdRecovered{
			KPI: "ppm", Value: dec("2000.01"), Limit: dec("3000"), Period: "2026-01-06", ComputedAtPosition: 41,
		})
	lower := kpi.ThresholdSet{KPI: "ppm", Direction: "max", Limit: dec("10"), Period: "day"}
	domaintest.Given(t, kpi.Aggregate, ppmSet, lower).
		When(kpi.Judge{Value: dec("11"), Period: "2026-01-06", ComputedAtPosition: 41}).
		Then(kpi.ThresholdViolated{
			KPI: "ppm", Value: dec("11"), Limit: dec("10"), Direction: "max", Period: "2026-01-06",
			ComputedAtPosition: 41,
		})
}

func TestRemovingEndsAnAlert(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, kpi.Aggregate, ppmSet, alert, kpi.ThresholdRemoved{KPI: "ppm"}, ppmSet)
	if s.State().Violated {
		t.Error("the alert of a removed threshold is still open")
	}
	again := tooHigh
	again.ComputedAtPosition = 41
	want := alert
	want.ComputedAtPosition = 41
	s.When(again).Then(want)
}

// TestViolationsAndRecoveriesAlternate runs random commands: between two settings of a threshold, violated and recovered
// follow each other, and each tells the truth about the limit that holds.
func TestViolationsAndRecoveriesAlternate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s kpi.State
		violated := false
		limits := rapid.Map(rapid.Int64Range(0, 4), decimal.NewFromInt)
		for position := range rapid.Int64Range(1, 40).Draw(t, "commands") {
			var command kpi.Command
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				command = kpi.Remove{}
			case 1, 2:
				command = kpi.Set{
					KPI: kpi.PPM, Direction: rapid.SampledFrom([]kpi.Direction{kpi.Min, kpi.Max}).Draw(t, "direction"),
					Limit: limits.Draw(t, "limit"), Period: kpi.PeriodDay,
				}
			default:
				command = kpi.Judge{Value: limits.Draw(t, "value"), Period: "p", ComputedAtPosition: position}
			}
			events, err := kpi.Aggregate.Decide(s, command)
			if err != nil || len(events) > 1 {
				t.Fatalf("%v, %v", events, err)
			}
			for _, event := range events {
				switch e := event.(type) {
				case kpi.ThresholdViolated:
					if violated || !beyond(s.Direction, e.Value, s.Limit) || !e.Limit.Equal(s.Limit) {
						t.Fatalf("%+v on %+v", e, s)
					}
					violated = true
				case kpi.ThresholdRecovered:
					if !violated || beyond(s.Direction, e.Value, s.Limit) || !e.Limit.Equal(s.Limit) {
						t.Fatalf("%+v on %+v", e, s)
					}
					violated = false
				case kpi.ThresholdRemoved:
					violated = false
				}
			}
			s = kpi.Aggregate.Fold(s, events...)
			if judge, ok := command.(kpi.Judge); ok && s.Active && violated != beyond(s.Direction, judge.Value, s.Limit) {
				t.Fatalf("after %s against %s %s: violated is %t", judge.Value, s.Direction, s.Limit, violated)
			}
		}
	})
}

func beyond(direction kpi.Direction, value, limit decimal.Decimal) bool {
	if direction == kpi.Max {
		return value.Cmp(limit) > 0
	}
	return value.Cmp(limit) < 0
}

func TestThresholdID(t *testing.T) {
	t.Parallel()
	other, empty := "L2", ""
	ids := map[domain.ID]string{}
	for name, id := range map[string]domain.ID{
		"all lines":      kpi.ThresholdID("acme", kpi.OEE, nil),
		"a line":         kpi.ThresholdID("acme", kpi.OEE, &line),
		"another line":   kpi.ThresholdID("acme", kpi.OEE, &other),
		"another kpi":    kpi.ThresholdID("acme", kpi.Efficiency, nil),
		"another client": kpi.ThresholdID("acm", kpi.OEE, nil),
	} {
		if ids[id] != "" {
			t.Errorf("%s and %s have one id", name, ids[id])
		}
		ids[id] = name
		if id[6]>>4 != 5 || id[8]>>6 != 2 {
			t.Errorf("%s: %s isn't a UUIDv5", name, id)
		}
	}
	if kpi.ThresholdID("acme", kpi.OEE, &empty) != kpi.ThresholdID("acme", kpi.OEE, nil) {
		t.Error("no line is the empty line")
	}
	// Stored streams are found by this id for ever.
	if got := kpi.ThresholdID("acme", kpi.OEE, &line).String(); got != "730a05ce-181e-5e4a-aa76-c06232d90fcf" {
		t.Errorf("the id changed to %s", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	byLine := map[kpi.Name]bool{"efficiency": true, "performance": true, "availability": true, "quality_rate": true, "oee": true}
	figures := kpi.Compute(kpi.Sums{}, true)
	of := kpi.Compute(kpi.Sums{}, false)
	for _, name := range kpi.Names() {
		if !name.Known() || name.ByLine() != byLine[name] {
			t.Errorf("%s: known %t, by line %t", name, name.Known(), name.ByLine())
		}
		if _, ok := figures.Figure(name); !ok {
			t.Errorf("%s has no figure", name)
		}
		if _, ok := of.Figure(name); ok != byLine[name] {
			t.Errorf("%s: a figure for a line %t", name, ok)
		}
	}
	if kpi.Name("wip_age").Known() || len(kpi.Names()) != 10 {
		t.Error("ages can't be watched")
	}
	if _, ok := figures.Figure("wip_age"); ok {
		t.Error("a figure of an unknown name")
	}
}

func goldens() []domaintest.Golden {
	return append(domaintest.Today(
		oeeSet,
		kpi.ThresholdViolated{
			KPI: "oee", Value: dec("59.99"), Limit: dec("60.5"), Direction: "min", Period: "2026-W02",
			Scope: kpi.Scope{Line: &line}, ComputedAtPosition: 40,
		},
		kpi.ThresholdRecovered{
			KPI: "oee", Value: dec("60.5"), Limit: dec("60.5"), Period: "2026-W03", Scope: kpi.Scope{Line: &line},
			ComputedAtPosition: 60,
		},
		kpi.ThresholdRemoved{KPI: "oee", Direction: &oeeSet.Direction, Limit: &oeeSet.Limit, Scope: kpi.Scope{Line: &line}},
	), domaintest.Golden{Version: 1, Event: kpi.ThresholdRemoved{KPI: "oee", Scope: kpi.Scope{Line: &line}}})
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, kpi.Definition(), goldens()...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, kpi.Definition(), goldens()...)
}
