// Package workorders is the read model of work orders.
package workorders

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/workorder"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "work_orders"

// WorkOrder is a row of the read model. Times are those at which the first and the last event occurred. What depends on
// the moment at which it is asked for isn't a column: see WIPAgeDays.
type WorkOrder struct {
	ID                  domain.ID                     `db:"id,key"`
	ClientID            string                        `db:"client_id"`
	Number              string                        `db:"number"`
	ProductCode         string                        `db:"product_code"`
	CustomerName        *domain.Personal              `db:"customer_name"`
	QuantityOrdered     int64                         `db:"quantity_ordered"`
	ReceivedOn          domain.Date                   `db:"received_on,type=date"`
	DueOn               domain.Date                   `db:"due_on,type=date"`
	IdealCycleTimeHours *decimal.Decimal              `db:"ideal_cycle_time_hours"` // per piece; nil: not known
	Workflow            workorder.Workflow            `db:"workflow"`
	CloseOnShip         bool                          `db:"close_on_ship"`
	Status              workorder.Status              `db:"status"`
	UnitsProduced       int64                         `db:"units_produced"`
	Defects             int64                         `db:"defects"`
	Scrap               int64                         `db:"scrap"`
	QCApproved          bool                          `db:"qc_approved"`
	OpenHolds           projections.JSON[[]domain.ID] `db:"open_holds,type=json"` // in the order of their creation
	BeforeHold          workorder.Status              `db:"before_hold"`          // while on hold: where the last resume leads
	OnHoldSince         *time.Time                    `db:"on_hold_since"`        // nil while not on hold
	TimeOnHold          time.Duration                 `db:"time_on_hold"`         // of the stays on hold that have ended
	ShippedAt           *time.Time                    `db:"shipped_at"`           // nil before
	Version             int64                         `db:"version"`
	CreatedPosition     int64                         `db:"created_position"`
	LastPosition        int64                         `db:"last_position"`
	CreatedAt           time.Time                     `db:"created_at"`
	UpdatedAt           time.Time                     `db:"updated_at"`
}

// WIPAgeDays is the order's age at a moment in days with two fraction digits: since the day on which it was received,
// without the time on hold. It is nil for an order that is shipped or in a terminal state.
func (o WorkOrder) WIPAgeDays(now time.Time) *string {
	if !o.Status.Open() {
		return nil
	}
	age := kpi.WIPAge(o.ReceivedOn, o.state().HeldFor(now), now)
	return &age
}

// Overdue reports whether the order should have been shipped before a day and isn't, and is not terminal.
func (o WorkOrder) Overdue(today domain.Date) bool { return o.state().Overdue(today) }

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "work_orders", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: projections.EventTypesOf(workorder.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, WorkOrder] {
	return projections.MustFold(projections.FoldConfig[domain.ID, WorkOrder]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *WorkOrder, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(workorder.Event)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not a work order's event", e.EventType)
	}
	if row.Version == 0 {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
	}
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	row.set(workorder.Aggregate.Evolve(row.state(), event))
	return projections.Write, nil
}

// state is the aggregate's state: what an event means is written down once.
func (o *WorkOrder) state() workorder.State {
	return workorder.State{
		Number: o.Number, ProductCode: o.ProductCode, CustomerName: o.CustomerName, QuantityOrdered: o.QuantityOrdered,
		ReceivedOn: o.ReceivedOn, DueOn: o.DueOn, IdealCycleTimeHours: o.IdealCycleTimeHours, Workflow: o.Workflow,
		CloseOnShip: o.CloseOnShip, Status: o.Status,
		Output:     workorder.Output{UnitsProduced: o.UnitsProduced, Defects: o.Defects, Scrap: o.Scrap},
		QCApproved: o.QCApproved, OpenHolds: o.OpenHolds.Value, BeforeHold: o.BeforeHold,
		OnHoldSince: timeOf(o.OnHoldSince), TimeOnHold: o.TimeOnHold, ShippedAt: timeOf(o.ShippedAt),
	}
}

func (o *WorkOrder) set(s workorder.State) {
	o.Number, o.ProductCode, o.CustomerName, o.QuantityOrdered = s.Number, s.ProductCode, s.CustomerName, s.QuantityOrdered
	o.ReceivedOn, o.DueOn, o.IdealCycleTimeHours = s.ReceivedOn, s.DueOn, s.IdealCycleTimeHours
	o.Workflow, o.CloseOnShip, o.Status = s.Workflow, s.CloseOnShip, s.Status
	o.UnitsProduced, o.Defects, o.Scrap = s.Output.UnitsProduced, s.Output.Defects, s.Output.Scrap
	o.QCApproved, o.OpenHolds.Value, o.BeforeHold = s.QCApproved, s.OpenHolds, s.BeforeHold
	o.OnHoldSince, o.TimeOnHold, o.ShippedAt = optionalTime(s.OnHoldSince), s.TimeOnHold, optionalTime(s.ShippedAt)
	if s.OpenHolds == nil {
		o.OpenHolds.Value = []domain.ID{}
	}
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
