// Package carts is the read model of carts.
package carts

import (
	_ "embed"
	"fmt"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "carts"

// Cart is a row of the read model. Times are those at which the first and the last event occurred.
type Cart struct {
	ID              domain.ID                     `db:"id,key"`
	ClientID        string                        `db:"client_id"`
	CustomerID      *string                       `db:"customer_id"`
	Status          cart.Status                   `db:"status"`
	Currency        *string                       `db:"currency"` // nil while there are no lines
	Lines           projections.JSON[[]cart.Line] `db:"lines,type=json"`
	Total           domain.Amount                 `db:"total"`
	ItemCount       int64                         `db:"item_count"`
	OrderID         *domain.ID                    `db:"order_id"` // of a submitted cart
	Version         int64                         `db:"version"`
	CreatedPosition int64                         `db:"created_position"`
	LastPosition    int64                         `db:"last_position"`
	CreatedAt       time.Time                     `db:"created_at"`
	UpdatedAt       time.Time                     `db:"updated_at"`
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "carts", Version: 1, Kind: projections.KindReadModel, Lean: true, DDL: ddl,
		EventTypes: projections.EventTypesOf(cart.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Cart] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Cart]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *Cart, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(cart.Event)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not a cart's event", e.EventType)
	}
	if row.Version == 0 {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
		row.Lines.Value = []cart.Line{}
	}
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	row.set(cart.Aggregate.Evolve(row.state(), event))
	return projections.Write, nil
}

// state is the aggregate's state: what an event means is written down once.
func (c *Cart) state() cart.State {
	s := cart.State{CustomerID: c.CustomerID, Status: c.Status, Lines: c.Lines.Value}
	if c.OrderID != nil {
		s.OrderID = *c.OrderID
	}
	return s
}

func (c *Cart) set(s cart.State) {
	c.CustomerID, c.Status, c.Lines.Value = s.CustomerID, s.Status, s.Lines
	c.Total, c.ItemCount, c.Currency, c.OrderID = s.Total(), s.ItemCount(), nil, nil
	if currency := s.Currency(); currency != "" {
		c.Currency = &currency
	}
	if !s.OrderID.IsZero() {
		c.OrderID = &s.OrderID
	}
}
