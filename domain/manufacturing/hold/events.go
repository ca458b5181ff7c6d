// Package hold is the hold aggregate: a reason for which work on an order stops, and how it was resolved.
package hold

import (
	"github.com/shopspring/decimal"

	"annals/domain"
)

// Event is a fact about a hold.
type Event interface {
	domain.Event
	holdEvent()
}

// Created: the hold is open.
type Created struct {
	WorkOrderID domain.ID `json:"work_order_id"`
	Category    string    `json:"category"`
	Reason      string    `json:"reason"`
	Quantity    int64     `json:"quantity"`
}

// Resumed: the hold is over.
type Resumed struct {
	QuantityReleased int64           `json:"quantity_released"`
	QuantityScrapped int64           `json:"quantity_scrapped"`
	Resolution       *string         `json:"resolution"`
	HeldFor          decimal.Decimal `json:"held_for"` // hours
}

// EventType implements domain.Event.
func (Created) EventType() string { return "hold.created" }

// EventType implements domain.Event.
func (Resumed) EventType() string { return "hold.resumed" }

func (Created) holdEvent() {}
func (Resumed) holdEvent() {}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefineEvent[Created](),
			domain.DefineEvent[Resumed](),
		},
	}
}
