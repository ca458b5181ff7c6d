// Package orders is the read model of orders.
package orders

import (
	_ "embed"
	"fmt"
	"time"

	"annals/domain"
	"annals/domain/commerce/order"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "orders"

// Order is a row of the read model. Times are those at which the first and the last event occurred.
type Order struct {
	ID                 domain.ID                       `db:"id,key"`
	ClientID           string                          `db:"client_id"`
	CartID             domain.ID                       `db:"cart_id"`
	CustomerID         *string                         `db:"customer_id"`
	Status             order.Status                    `db:"status"`
	Lines              projections.JSON[[]order.Line]  `db:"lines,type=json"`
	ShippingAddress    projections.JSON[order.Address] `db:"shipping_address,type=json"`
	Total              domain.Amount                   `db:"total"`
	Currency           string                          `db:"currency"`
	CancellationReason *string                         `db:"cancellation_reason"`
	TrackingReference  *string                         `db:"tracking_reference"`
	Version            int64                           `db:"version"`
	CreatedPosition    int64                           `db:"created_position"`
	LastPosition       int64                           `db:"last_position"`
	CreatedAt          time.Time                       `db:"created_at"`
	UpdatedAt          time.Time                       `db:"updated_at"`
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "orders", Version: 1, Kind: projections.KindReadModel, Lean: true, DDL: ddl,
		EventTypes: projections.EventTypesOf(order.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Order] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Order]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *Order, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(order.Event)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not an order's event", e.EventType)
	}
	if row.Version == 0 {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
	}
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	row.set(order.Aggregate.Evolve(row.state(), event))
	return projections.Write, nil
}

// state is the aggregate's state: what an event means is written down once.
func (o *Order) state() order.State {
	return order.State{
		CartID: o.CartID, CustomerID: o.CustomerID, Status: o.Status, Lines: o.Lines.Value,
		ShippingAddress: o.ShippingAddress.Value, Total: o.Total, Currency: o.Currency,
		CancellationReason: o.CancellationReason, TrackingReference: o.TrackingReference,
	}
}

func (o *Order) set(s order.State) {
	o.CartID, o.CustomerID, o.Status, o.Lines.Value = s.CartID, s.CustomerID, s.Status, s.Lines
	o.ShippingAddress.Value, o.Total, o.Currency = s.ShippingAddress, s.Total, s.Currency
	o.CancellationReason, o.TrackingReference = s.CancellationReason, s.TrackingReference
}
