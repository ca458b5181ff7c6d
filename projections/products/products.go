// Package products is the read model of products.
package products

import (
	_ "embed"
	"fmt"
	"time"

	"annals/domain"
	"annals/domain/commerce/product"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "products"

// Product is a row of the read model. Times are those at which the first and the last event occurred.
type Product struct {
	ID              domain.ID      `db:"id,key"`
	ClientID        string         `db:"client_id"`
	SKU             string         `db:"sku"`
	Name            string         `db:"name"`
	Price           domain.Amount  `db:"price"`
	Currency        string         `db:"currency"`
	Available       int64          `db:"available"`
	Reserved        int64          `db:"reserved"`
	Status          product.Status `db:"status"`
	Version         int64          `db:"version"`
	CreatedPosition int64          `db:"created_position"`
	LastPosition    int64          `db:"last_position"`
	CreatedAt       time.Time      `db:"created_at"`
	UpdatedAt       time.Time      `db:"updated_at"`
}

// OnHand is the number of pieces in the house, available or reserved.
func (p Product) OnHand() int64 { return p.state().OnHand() }

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "products", Version: 1, Kind: projections.KindReadModel, Lean: true, DDL: ddl,
		EventTypes: projections.EventTypesOf(product.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Product] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Product]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *Product, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(product.Event)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not a product's event", e.EventType)
	}
	if row.Version == 0 {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
	}
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	row.set(product.Aggregate.Evolve(row.state(), event))
	return projections.Write, nil
}

// state is the aggregate's state: what an event means is written down once.
func (p *Product) state() product.State {
	return product.State{
		SKU: p.SKU, Name: p.Name, Price: p.Price, Currency: p.Currency,
		Available: p.Available, Reserved: p.Reserved, Status: p.Status,
	}
}

func (p *Product) set(s product.State) {
	p.SKU, p.Name, p.Price, p.Currency = s.SKU, s.Name, s.Price, s.Currency
	p.Available, p.Reserved, p.Status = s.Available, s.Reserved, s.Status
}
