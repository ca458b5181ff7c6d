// Package holds is the read model of holds.
package holds

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/kpi"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "holds"

// Hold is a row of the read model. Times are those at which the first and the last event occurred. The members from
// QuantityReleased to ResumedAt are nil while the hold is open.
type Hold struct {
	ID               domain.ID        `db:"id,key"`
	ClientID         string           `db:"client_id"`
	WorkOrderID      domain.ID        `db:"work_order_id"`
	Category         string           `db:"category"`
	Reason           string           `db:"reason"`
	Quantity         int64            `db:"quantity"`
	Status           hold.Status      `db:"status"`
	QuantityReleased *int64           `db:"quantity_released"`
	QuantityScrapped *int64           `db:"quantity_scrapped"`
	Resolution       *string          `db:"resolution"` // nil also when none was given
	HeldFor          *decimal.Decimal `db:"held_for"`   // hours
	ResumedAt        *time.Time       `db:"resumed_at"`
	Version          int64            `db:"version"`
	CreatedPosition  int64            `db:"created_position"`
	LastPosition     int64            `db:"last_position"`
	CreatedAt        time.Time        `db:"created_at"`
	UpdatedAt        time.Time        `db:"updated_at"`
}

// AgeDays is the age of an open hold at a moment in days with two fraction digits; nil for one that is over.
func (h Hold) AgeDays(now time.Time) *string {
	if h.Status != hold.StatusOpen {
		return nil
	}
	age := kpi.HoldAge(h.CreatedAt, now)
	return &age
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "holds", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: projections.EventTypesOf(hold.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Hold] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Hold]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *Hold, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(hold.Event)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not a hold's event", e.EventType)
	}
	if row.Version == 0 {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
	}
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	row.set(hold.Aggregate.Evolve(row.state(), event), e.OccurredAt)
	return projections.Write, nil
}

// state is the aggregate's state: what an event means is written down once. An open hold was not resumed, so that what a
// resume states is zero.
func (h *Hold) state() hold.State {
	s := hold.State{
		WorkOrderID: h.WorkOrderID, Category: h.Category, Reason: h.Reason, Quantity: h.Quantity, Status: h.Status,
	}
	if h.Status == hold.StatusResumed {
		s.QuantityReleased, s.QuantityScrapped = *h.QuantityReleased, *h.QuantityScrapped
		s.Resolution, s.HeldFor = h.Resolution, *h.HeldFor
	}
	return s
}

func (h *Hold) set(s hold.State, at time.Time) {
	h.WorkOrderID, h.Category, h.Reason, h.Quantity, h.Status = s.WorkOrderID, s.Category, s.Reason, s.Quantity, s.Status
	if s.Status == hold.StatusResumed {
		h.QuantityReleased, h.QuantityScrapped = &s.QuantityReleased, &s.QuantityScrapped
		h.Resolution, h.HeldFor, h.ResumedAt = s.Resolution, &s.HeldFor, &at
	}
}
