// Package kpi holds the key figures of manufacturing: how they are computed from what production entries, inspections and
// deliveries state, and the thresholds that watch them.
package kpi

import (
	"github.com/shopspring/decimal"

	"annals/domain"
)

// Event is a fact about the threshold of a key figure.
type Event interface {
	domain.Event
	kpiEvent()
}

// Scope is the part of a client's production that a threshold watches.
type Scope struct {
	Line *string `json:"line"` // nil: all of it
}

// ThresholdSet: the threshold has these values, whether it existed before or not.
type ThresholdSet struct {
	KPI       Name            `json:"kpi"`
	Direction Direction       `json:"direction"`
	Limit     decimal.Decimal `json:"limit"`
	Period    Period          `json:"period"`
	Scope     Scope           `json:"scope"`
}

// ThresholdRemoved: the figure isn't watched any more. An alert that was open is over. Direction and Limit are those of the
// threshold that was; version 1 didn't say.
type ThresholdRemoved struct {
	KPI       Name             `json:"kpi"`
	Direction *Direction       `json:"direction"`
	Limit     *decimal.Decimal `json:"limit"`
	Scope     Scope            `json:"scope"`
}

// thresholdRemovedV1 is what version 1 of ThresholdRemoved carried.
type thresholdRemovedV1 struct {
	KPI   Name  `json:"kpi"`
	Scope Scope `json:"scope"`
}

// ThresholdViolated: the figure of the latest period with data is beyond the limit.
type ThresholdViolated struct {
	KPI                Name            `json:"kpi"`
	Value              decimal.Decimal `json:"value"`
	Limit              decimal.Decimal `json:"limit"`
	Direction          Direction       `json:"direction"`
	Period             string          `json:"period"` // the one judged, such as "2026-01-06" or "2026-W02"
	Scope              Scope           `json:"scope"`
	ComputedAtPosition int64           `json:"computed_at_position"` // of the log
}

// ThresholdRecovered: the figure of the latest period with data is within the limit again.
type ThresholdRecovered struct {
	KPI                Name            `json:"kpi"`
	Value              decimal.Decimal `json:"value"`
	Limit              decimal.Decimal `json:"limit"`
	Period             string          `json:"period"`
	Scope              Scope           `json:"scope"`
	ComputedAtPosition int64           `json:"computed_at_position"`
}

// EventType implements domain.Event.
func (ThresholdSet) EventType() string { return "kpi.threshold_set" }

// EventType implements domain.Event.
func (ThresholdRemoved) EventType() string { return "kpi.threshold_removed" }

// EventType implements domain.Event.
func (ThresholdViolated) EventType() string { return "kpi.threshold_violated" }

// EventType implements domain.Event.
func (ThresholdRecovered) EventType() string { return "kpi.threshold_recovered" }

func (ThresholdSet) kpiEvent()       {}
func (ThresholdRemoved) kpiEvent()   {}
func (ThresholdViolated) kpiEvent()  {}
func (ThresholdRecovered) kpiEvent() {}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefineEvent[ThresholdSet](),
			domain.DefineEvent[ThresholdRemoved](
				domain.Steps(domain.AddMember("direction", "null"), domain.AddMember("limit", "null")),
			).Formerly(thresholdRemovedV1{}),
			domain.DefineEvent[ThresholdViolated](),
			domain.DefineEvent[ThresholdRecovered](),
		},
	}
}
