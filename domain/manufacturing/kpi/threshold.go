package kpi

import (
	"github.com/shopspring/decimal"

	"annals/domain"
)

// State is a threshold as its events leave it.
type State struct {
	Active    bool            `json:"active"` // set and not removed since
	KPI       Name            `json:"kpi"`
	Direction Direction       `json:"direction"`
	Limit     decimal.Decimal `json:"limit"`
	Period    Period          `json:"period"`
	Scope     Scope           `json:"scope"`
	// Violated: the last judgement that stated something was a violation. A new limit doesn't change it: the next
	// judgement decides whether the figure recovered or is still beyond the limit.
	Violated bool  `json:"violated"`
	JudgedAt int64 `json:"judged_at"` // position of the figure in that judgement
}

// Command is something a threshold can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Set makes the threshold exist, or gives it other values. Values that it has already change nothing.
type Set struct {
	KPI       Name
	Direction Direction
	Limit     decimal.Decimal // in the figure's unit
	Period    Period
	Line      *string // nil: all of the production
}

// Remove ends the threshold. One that doesn't exist stays so.
type Remove struct{}

// Judge compares a figure with the limit. Value is the figure of the latest period that has data, computed when the read
// model had applied the position. It states something only when the figure crosses the limit, and nothing for a figure
// that is older than the one judged last.
type Judge struct {
	Value              decimal.Decimal
	Period             string // such as "2026-01-06" or "2026-W02"
	ComputedAtPosition int64
}

func (c Set) decide(s State) ([]Event, error) {
	if s.Active && s.Direction == c.Direction && s.Limit.Equal(c.Limit) && s.Period == c.Period {
		return nil, nil
	}
	return []Event{ThresholdSet{
		KPI: c.KPI, Direction: c.Direction, Limit: c.Limit, Period: c.Period, Scope: Scope{Line: c.Line},
	}}, nil
}

func (Remove) decide(s State) ([]Event, error) {
	if !s.Active {
		return nil, nil
	}
	return []Event{ThresholdRemoved{KPI: s.KPI, Direction: &s.Direction, Limit: &s.Limit, Scope: s.Scope}}, nil
}

func (c Judge) decide(s State) ([]Event, error) {
	if !s.Active || c.ComputedAtPosition < s.JudgedAt || s.beyond(c.Value) == s.Violated {
		return nil, nil
	}
	if s.Violated {
		return []Event{ThresholdRecovered{
			KPI: s.KPI, Value: c.Value, Limit: s.Limit, Period: c.Period, Scope: s.Scope,
			ComputedAtPosition: c.ComputedAtPosition,
		}}, nil
	}
	return []Event{ThresholdViolated{
		KPI: s.KPI, Value: c.Value, Limit: s.Limit, Direction: s.Direction, Period: c.Period, Scope: s.Scope,
		ComputedAtPosition: c.ComputedAtPosition,
	}}, nil
}

func (s State) beyond(value decimal.Decimal) bool {
	if s.Direction == Min {
		return value.LessThan(s.Limit)
	}
	return value.GreaterThan(s.Limit)
}

// Aggregate holds the rules of a threshold.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "kpi",
	StateVersion: 1,
	Initial:      func() State { return State{} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case ThresholdSet:
		s.Active = true
		s.KPI, s.Direction, s.Limit, s.Period, s.Scope = e.KPI, e.Direction, e.Limit, e.Period, e.Scope
	case ThresholdRemoved:
		s.Active, s.Violated = false, false
	case ThresholdViolated:
		s.Violated, s.JudgedAt = true, e.ComputedAtPosition
	case ThresholdRecovered:
		s.Violated, s.JudgedAt = false, e.ComputedAtPosition
	}
	return s
}
