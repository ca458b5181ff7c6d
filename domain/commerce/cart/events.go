// Package cart is the cart aggregate: what somebody is about to order. Its lines hold stock reserved.
package cart

import (
	"time"

	"annals/domain"
)

// Event is a fact about a cart.
type Event interface {
	domain.Event
	cartEvent()
}

// Created: the cart exists and is open.
type Created struct {
	CustomerID *string `json:"customer_id"`
}

// ItemAdded: pieces of a product were put into the cart. On a line that exists, Quantity is what came on top, and the
// other members are those of the line: a price or name changed since doesn't alter it.
type ItemAdded struct {
	ProductID   domain.ID     `json:"product_id"`
	SKU         string        `json:"sku"`
	ProductName string        `json:"product_name"`
	Quantity    int64         `json:"quantity"`
	UnitPrice   domain.Amount `json:"unit_price"`
	Currency    string        `json:"currency"`
}

// ItemQuantityUpdated: a line has another quantity.
type ItemQuantityUpdated struct {
	ProductID   domain.ID `json:"product_id"`
	OldQuantity int64     `json:"old_quantity"`
	NewQuantity int64     `json:"new_quantity"`
}

// ItemRemoved: a line of Quantity pieces is gone.
type ItemRemoved struct {
	ProductID domain.ID `json:"product_id"`
	Quantity  int64     `json:"quantity"`
}

// Submitted: the cart became an order, which holds its reservations from now on.
type Submitted struct {
	OrderID   domain.ID     `json:"order_id"`
	Total     domain.Amount `json:"total"`
	ItemCount int64         `json:"item_count"`
}

// Expired: the cart was idle for too long and gave its stock back.
type Expired struct {
	IdleSince time.Time `json:"idle_since"`
}

// EventType implements domain.Event.
func (Created) EventType() string { return "cart.created" }

// EventType implements domain.Event.
func (ItemAdded) EventType() string { return "cart.item_added" }

// EventType implements domain.Event.
func (ItemQuantityUpdated) EventType() string { return "cart.item_quantity_updated" }

// EventType implements domain.Event.
func (ItemRemoved) EventType() string { return "cart.item_removed" }

// EventType implements domain.Event.
func (Submitted) EventType() string { return "cart.submitted" }

// EventType implements domain.Event.
func (Expired) EventType() string { return "cart.expired" }

func (Created) cartEvent()             {}
func (ItemAdded) cartEvent()           {}
func (ItemQuantityUpdated) cartEvent() {}
func (ItemRemoved) cartEvent()         {}
func (Submitted) cartEvent()           {}
func (Expired) cartEvent()             {}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefineEvent[Created](),
			domain.DefineEvent[ItemAdded](),
			domain.DefineEvent[ItemQuantityUpdated](),
			domain.DefineEvent[ItemRemoved](),
			domain.DefineEvent[Submitted](),
			domain.DefineEvent[Expired](),
		},
	}
}
