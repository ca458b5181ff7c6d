package workorder

import (
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Output counts pieces; a difference may be negative.
type Output struct {
	UnitsProduced int64 `json:"units_produced"`
	Defects       int64 `json:"defects"`
	Scrap         int64 `json:"scrap"`
}

// State is a work order as its events leave it.
type State struct {
	Number              string           `json:"number"`
	ProductCode         string           `json:"product_code"`
	CustomerName        *domain.Personal `json:"customer_name"`
	QuantityOrdered     int64            `json:"quantity_ordered"`
	ReceivedOn          domain.Date      `json:"received_on"`
	DueOn               domain.Date      `json:"due_on"`
	IdealCycleTimeHours *decimal.Decimal `json:"ideal_cycle_time_hours"`
	Workflow            Workflow         `json:"workflow"`
	CloseOnShip         bool             `json:"close_on_ship"`
	Status              Status           `json:"status"`
	Output              Output           `json:"output"`
	QCApproved          bool             `json:"qc_approved"`
	OpenHolds           []domain.ID      `json:"open_holds"`  // in the order of their creation
	BeforeHold          Status           `json:"before_hold"` // while on hold: where the last resume leads
	OnHoldSince         time.Time        `json:"on_hold_since,omitzero"`
	TimeOnHold          time.Duration    `json:"time_on_hold"` // of the stays on hold that have ended, in nanoseconds
	ShippedAt           time.Time        `json:"shipped_at,omitzero"`
}

// HeldFor is the time that the order has spent on hold until now, the present stay included.
func (s State) HeldFor(now time.Time) time.Duration {
	if s.Status != StatusOnHold {
		return s.TimeOnHold
	}
	return s.TimeOnHold + max(0, now.Sub(s.OnHoldSince))
}

// Overdue reports whether the order should have been shipped before the given day.
func (s State) Overdue(today domain.Date) bool { return s.Status.Open() && s.DueOn < today }

// Aggregate holds the rules of a work order.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "work_order",
	StateVersion: 1,
	Initial:      func() State { return State{} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Created:
		return State{
			Number: e.Number, ProductCode: e.ProductCode, CustomerName: e.CustomerName,
			QuantityOrdered: e.QuantityOrdered, ReceivedOn: e.ReceivedOn, DueOn: e.DueOn,
			IdealCycleTimeHours: e.IdealCycleTimeHours, Workflow: e.Workflow, CloseOnShip: e.CloseOnShip,
			Status: StatusReceived,
		}
	case StatusChanged:
		return s.move(e)
	case OutputRecorded:
		s.Output = e.TotalsAfter
	case HoldAdded:
		s.OpenHolds = append(slices.Clone(s.OpenHolds), e.HoldID)
	case HoldRemoved:
		s.OpenHolds = without(s.OpenHolds, e.HoldID)
	case QCApproved:
		s.QCApproved = true
	}
	return s
}

func (s State) move(e StatusChanged) State {
	if s.Status == StatusOnHold {
		s.TimeOnHold = s.HeldFor(e.ChangedAt)
		s.OnHoldSince, s.BeforeHold = time.Time{}, ""
		s.OpenHolds = without(s.OpenHolds, e.HoldID)
	}
	s.Status = e.ToStatus
	switch e.ToStatus {
	case StatusOnHold:
		s.BeforeHold, s.OnHoldSince = e.FromStatus, e.ChangedAt
		s.OpenHolds = append(slices.Clone(s.OpenHolds), e.HoldID)
	case StatusShipped:
		s.ShippedAt = e.ChangedAt
	}
	return s
}

// without gives the holds that are left, nil when none is.
func without(holds []domain.ID, id domain.ID) []domain.ID {
	var left []domain.ID
	for _, h := range holds {
		if h != id {
			left = append(left, h)
		}
	}
	return left
}
