// Package inspection is the quality inspection aggregate: what quality control found on a sample of a work order. An
// inspection is recorded once and doesn't change.
package inspection

import (
	"fmt"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Stage is the point in the making of an order at which it is inspected.
type Stage string

// The stages of an inspection.
const (
	StageIncoming  Stage = "incoming"
	StageInProcess Stage = "in_process"
	StageFinal     Stage = "final"
)

// Stages lists the stages.
func Stages() []Stage { return []Stage{StageIncoming, StageInProcess, StageFinal} }

// DefaultOpportunities are the opportunities for a defect on each unit of an inspection that names none.
const DefaultOpportunities = 10

// Inspection holds the values of a quality inspection, counts from 0 to domain.MaxCount. Units passed and defective are
// those inspected, and no more are reworked and scrapped than are defective; a unit can have several defects.
type Inspection struct {
	WorkOrderID          domain.ID        `json:"work_order_id"`
	Stage                Stage            `json:"stage"`
	InspectedOn          domain.Date      `json:"inspected_on"`
	UnitsInspected       int64            `json:"units_inspected"`
	UnitsPassed          int64            `json:"units_passed"`
	UnitsDefective       int64            `json:"units_defective"`
	UnitsReworked        int64            `json:"units_reworked"`
	UnitsScrapped        int64            `json:"units_scrapped"`
	DefectCount          int64            `json:"defect_count"`
	OpportunitiesPerUnit int64            `json:"opportunities_per_unit"`
	Inspector            *domain.Personal `json:"inspector"`
}

// FailsBelow reports whether the order should be held: the first pass yield of a final inspection, in percent, is below a
// limit. The yield is taken exactly, and none of no units. Nothing fails below 0.
func (i Inspection) FailsBelow(limit decimal.Decimal) bool {
	if i.Stage != StageFinal || i.UnitsInspected == 0 {
		return false
	}
	passed, inspected := decimal.NewFromInt(i.UnitsPassed), decimal.NewFromInt(i.UnitsInspected)
	return passed.Shift(2).LessThan(limit.Mul(inspected))
}

// Event is a fact about a quality inspection.
type Event interface {
	domain.Event
	inspectionEvent()
}

// Recorded: the inspection took place.
type Recorded Inspection

// EventType implements domain.Event.
func (Recorded) EventType() string { return "quality_inspection.recorded" }

func (Recorded) inspectionEvent() {}

// State is a quality inspection as its event leaves it.
type State struct {
	Inspection
	Recorded bool `json:"recorded"`
}

// Command is something a quality inspection can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Record makes the inspection exist.
type Record struct{ Inspection Inspection }

func (c Record) decide(s State) ([]Event, error) {
	if s.Recorded {
		return nil, fmt.Errorf("the inspection of work order %s is recorded already", s.WorkOrderID)
	}
	return []Event{Recorded(c.Inspection)}, nil
}

// Aggregate holds the rules of a quality inspection.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "quality_inspection",
	StateVersion: 1,
	Initial:      func() State { return State{} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve: func(s State, event Event) State {
		if e, ok := event.(Recorded); ok {
			return State{Inspection: Inspection(e), Recorded: true}
		}
		return s
	},
}

// SubjectInspector is the kind of the subject that an inspection is about: its inspector, as named there.
const SubjectInspector = "inspector"

func subject(e Recorded, _ domain.ID) domain.Subject {
	if e.Inspector == nil {
		return domain.Subject{}
	}
	return domain.Subject{Kind: SubjectInspector, Reference: string(*e.Inspector)}
}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events:    []domain.EventDefinition{domain.DefinePersonalEvent(subject)},
	}
}
