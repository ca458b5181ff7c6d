package workorder

import (
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// MaxOpenHolds is the number of holds that can be open on a work order at a time: its state lists them, and each of its
// events copies that list.
const MaxOpenHolds = 1000

// Command is something a work order can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Create makes the order exist, received.
type Create struct {
	Number              string
	ProductCode         string
	CustomerName        *domain.Personal
	QuantityOrdered     int64
	ReceivedOn          domain.Date
	DueOn               domain.Date
	IdealCycleTimeHours *decimal.Decimal
	Workflow            Workflow
	CloseOnShip         bool
}

// Transition moves the order along its workflow. It is refused with invalid-transition, then output-required, then
// qc-approval-required.
type Transition struct {
	To    Status
	Notes *string
	At    time.Time
}

// CloseAfterShipping closes a shipped order that was created to close itself. Any other order stays as it is.
type CloseAfterShipping struct{ At time.Time }

// ApproveQC gives the approval of quality control. An approved order stays as it is. It is refused with invalid-transition
// once the order is shipped or terminal.
type ApproveQC struct {
	InspectionID domain.ID // zero: none
	Notes        *string
}

// RecordOutput adds what a production entry made. It is refused with invalid-transition unless the order records output in
// its state.
type RecordOutput struct {
	EntryID domain.ID
	Output  Output
}

// CorrectOutput adds the difference that the correction of an entry makes, in any state.
type CorrectOutput struct {
	EntryID    domain.ID
	Difference Output
}

// PlaceHold opens a hold on the order. The first one puts it on hold. It is refused with invalid-transition, and with
// validation-failed past MaxOpenHolds.
type PlaceHold struct {
	HoldID  domain.ID
	Trigger Trigger
	At      time.Time
}

// LiftHold ends a hold. The last one returns the order to where it was before the first; an order that was cancelled
// meanwhile stays so.
type LiftHold struct {
	HoldID domain.ID
	At     time.Time
}

func (c Create) decide(s State) ([]Event, error) {
	if s.Status != "" {
		return nil, fmt.Errorf("work order %s is created already", s.Number)
	}
	return []Event{Created(c)}, nil
}

func (c Transition) decide(s State) ([]Event, error) {
	t := templateOf(s.Workflow)
	switch {
	case !slices.Contains(Allowed(s.Workflow, s.Status), c.To):
		return nil, domain.Refuse(domain.CodeInvalidTransition,
			"a %s work order that is %s can't become %s", s.Workflow, s.Status, c.To)
	case slices.Contains(t.needsOutput, c.To) && s.Output.UnitsProduced <= 0:
		return nil, domain.Refuse(domain.CodeOutputRequired, "no output is recorded")
	case slices.Contains(t.needsQC, c.To) && !s.QCApproved:
		return nil, domain.Refuse(domain.CodeQCApprovalRequired, "quality control has not approved the work order")
	}
	return []Event{s.change(c.To, TriggerManual, c.Notes, c.At)}, nil
}

func (c CloseAfterShipping) decide(s State) ([]Event, error) {
	if s.Status != StatusShipped || !s.CloseOnShip {
		return nil, nil
	}
	return []Event{s.change(StatusClosed, TriggerSystem, nil, c.At)}, nil
}

func (c ApproveQC) decide(s State) ([]Event, error) {
	switch {
	case s.QCApproved:
		return nil, nil
	case !s.Status.Open():
		return nil, domain.Refuse(domain.CodeInvalidTransition, "the work order is %s", s.Status)
	default:
		return []Event{QCApproved(c)}, nil
	}
}

func (c RecordOutput) decide(s State) ([]Event, error) {
	if !RecordsOutput(s.Workflow, s.Status) {
		return nil, domain.Refuse(domain.CodeInvalidTransition,
			"a %s work order that is %s takes no production entry", s.Workflow, s.Status)
	}
	return []Event{s.record(c.EntryID, c.Output)}, nil
}

func (c CorrectOutput) decide(s State) ([]Event, error) {
	if c.Difference == (Output{}) {
		return nil, nil
	}
	return []Event{s.record(c.EntryID, c.Difference)}, nil
}

func (c PlaceHold) decide(s State) ([]Event, error) {
	switch {
	case slices.Contains(s.OpenHolds, c.HoldID):
		return nil, fmt.Errorf("hold %s is open on work order %s already", c.HoldID, s.Number)
	case s.Status == StatusOnHold && len(s.OpenHolds) >= MaxOpenHolds:
		return nil, domain.Invalid("/work_order_id", "would have %d open holds; a work order has at most %d",
			len(s.OpenHolds)+1, MaxOpenHolds)
	case s.Status == StatusOnHold:
		return []Event{HoldAdded{HoldID: c.HoldID, OpenHolds: int64(len(s.OpenHolds)) + 1}}, nil
	case !s.Status.Holdable():
		return nil, domain.Refuse(domain.CodeInvalidTransition, "a work order that is %s can't be put on hold", s.Status)
	}
	change := s.change(StatusOnHold, c.Trigger, nil, c.At)
	change.HoldID = c.HoldID
	return []Event{change}, nil
}

func (c LiftHold) decide(s State) ([]Event, error) {
	if !slices.Contains(s.OpenHolds, c.HoldID) {
		return nil, fmt.Errorf("hold %s is not open on work order %s", c.HoldID, s.Number)
	}
	left := int64(len(s.OpenHolds)) - 1
	if s.Status != StatusOnHold || left > 0 {
		return []Event{HoldRemoved{HoldID: c.HoldID, OpenHolds: left}}, nil
	}
	change := s.change(s.BeforeHold, TriggerHold, nil, c.At)
	change.HoldID = c.HoldID
	return []Event{change}, nil
}

func (s State) change(to Status, trigger Trigger, notes *string, at time.Time) StatusChanged {
	e := StatusChanged{FromStatus: s.Status, ToStatus: to, Notes: notes, TriggerSource: trigger, ChangedAt: at}
	if to == StatusShipped {
		e.DueOn = s.DueOn
	}
	return e
}

func (s State) record(entry domain.ID, output Output) OutputRecorded {
	return OutputRecorded{
		ProductionEntryID: entry,
		UnitsProduced:     output.UnitsProduced, Defects: output.Defects, Scrap: output.Scrap,
		TotalsAfter: Output{
			UnitsProduced: s.Output.UnitsProduced + output.UnitsProduced,
			Defects:       s.Output.Defects + output.Defects,
			Scrap:         s.Output.Scrap + output.Scrap,
		},
	}
}
