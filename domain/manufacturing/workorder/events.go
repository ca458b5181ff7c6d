// Package workorder is the work order aggregate: what is to be made, how far it has come, and what holds it up.
package workorder

import (
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Event is a fact about a work order.
type Event interface {
	domain.Event
	workOrderEvent()
}

// Created: the order is received. Its workflow is fixed from now on.
type Created struct {
	Number              string           `json:"number"`
	ProductCode         string           `json:"product_code"`
	CustomerName        *domain.Personal `json:"customer_name"`
	QuantityOrdered     int64            `json:"quantity_ordered"`
	ReceivedOn          domain.Date      `json:"received_on"`
	DueOn               domain.Date      `json:"due_on"`
	IdealCycleTimeHours *decimal.Decimal `json:"ideal_cycle_time_hours"` // per piece; nil: not known
	Workflow            Workflow         `json:"workflow"`
	CloseOnShip         bool             `json:"close_on_ship"`
}

// StatusChanged: the order is in another state. ChangedAt repeats the time of the event, because the time that an order
// spends on hold is part of its state.
type StatusChanged struct {
	FromStatus    Status    `json:"from_status"`
	ToStatus      Status    `json:"to_status"`
	Notes         *string   `json:"notes"`
	TriggerSource Trigger   `json:"trigger_source"`
	ChangedAt     time.Time `json:"changed_at"`
	// HoldID is the hold that put the order on hold, or whose end took it off: the change is also the one of the open
	// holds.
	HoldID domain.ID `json:"hold_id,omitzero"`
	// DueOn is set when the order is shipped, so that the delivery can be judged from this event alone.
	DueOn domain.Date `json:"due_on,omitempty"`
}

// OutputRecorded: a production entry, or the difference that the correction of one makes, which may be negative.
type OutputRecorded struct {
	ProductionEntryID domain.ID `json:"production_entry_id"`
	UnitsProduced     int64     `json:"units_produced"`
	Defects           int64     `json:"defects"`
	Scrap             int64     `json:"scrap"`
	TotalsAfter       Output    `json:"totals_after"`
}

// HoldAdded: a further hold is open on an order that was on hold already.
type HoldAdded struct {
	HoldID    domain.ID `json:"hold_id"`
	OpenHolds int64     `json:"open_holds"` // after the event
}

// HoldRemoved: a hold ended, and the order stays in its state: others are open, or the order is in a terminal state.
type HoldRemoved struct {
	HoldID    domain.ID `json:"hold_id"`
	OpenHolds int64     `json:"open_holds"` // after the event
}

// QCApproved: quality control agrees that the order is completed or shipped.
type QCApproved struct {
	InspectionID domain.ID `json:"inspection_id,omitzero"` // what it relies on
	Notes        *string   `json:"notes"`
}

// EventType implements domain.Event.
func (Created) EventType() string { return "work_order.created" }

// EventType implements domain.Event.
func (StatusChanged) EventType() string { return "work_order.status_changed" }

// EventType implements domain.Event.
func (OutputRecorded) EventType() string { return "work_order.output_recorded" }

// EventType implements domain.Event.
func (HoldAdded) EventType() string { return "work_order.hold_added" }

// EventType implements domain.Event.
func (HoldRemoved) EventType() string { return "work_order.hold_removed" }

// EventType implements domain.Event.
func (QCApproved) EventType() string { return "work_order.qc_approved" }

func (Created) workOrderEvent()        {}
func (StatusChanged) workOrderEvent()  {}
func (OutputRecorded) workOrderEvent() {}
func (HoldAdded) workOrderEvent()      {}
func (HoldRemoved) workOrderEvent()    {}
func (QCApproved) workOrderEvent()     {}

// SubjectCustomerName is the kind of the subject that a work order is about: its customer, who is known by name alone.
const SubjectCustomerName = "customer_name"

func subject(e Created, _ domain.ID) domain.Subject {
	if e.CustomerName == nil {
		return domain.Subject{}
	}
	return domain.Subject{Kind: SubjectCustomerName, Reference: string(*e.CustomerName)}
}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefinePersonalEvent(subject),
			domain.DefineEvent[StatusChanged](),
			domain.DefineEvent[OutputRecorded](),
			domain.DefineEvent[HoldAdded](),
			domain.DefineEvent[HoldRemoved](),
			domain.DefineEvent[QCApproved](),
		},
	}
}
