// Package product is the product aggregate: what a client sells, at which price, and how much of it is in stock.
package product

import "annals/domain"

// Event is a fact about a product.
type Event interface {
	domain.Event
	productEvent()
}

// Registered: the product exists from now on, with its initial stock available.
type Registered struct {
	SKU          string        `json:"sku"`
	Name         string        `json:"name"`
	Price        domain.Amount `json:"price"`
	Currency     string        `json:"currency"`
	InitialStock int64         `json:"initial_stock"`
}

// Renamed: the product has another name.
type Renamed struct {
	OldName string `json:"old_name"`
	NewName string `json:"new_name"`
}

// PriceChanged: later additions to carts cost the new price; lines that exist keep theirs.
type PriceChanged struct {
	OldPrice domain.Amount `json:"old_price"`
	NewPrice domain.Amount `json:"new_price"`
	Currency string        `json:"currency"`
}

// StockReceived: pieces arrived and are available. Version 1 had no reason.
type StockReceived struct {
	Quantity       int64   `json:"quantity"`
	AvailableAfter int64   `json:"available_after"`
	Reason         *string `json:"reason"`
}

// stockReceivedV1 is what version 1 of StockReceived carried.
type stockReceivedV1 struct {
	Quantity       int64 `json:"quantity"`
	AvailableAfter int64 `json:"available_after"`
}

// StockReserved: available pieces are set aside for a cart.
type StockReserved struct {
	CartID         domain.ID `json:"cart_id"`
	Quantity       int64     `json:"quantity"`
	AvailableAfter int64     `json:"available_after"`
}

// StockReleased: reserved pieces of a cart or of an order (one of the two) are available again.
type StockReleased struct {
	CartID         domain.ID     `json:"cart_id,omitzero"`
	OrderID        domain.ID     `json:"order_id,omitzero"`
	Quantity       int64         `json:"quantity"`
	AvailableAfter int64         `json:"available_after"`
	Reason         ReleaseReason `json:"reason"`
}

// ReleaseReason says what gave reserved pieces back.
type ReleaseReason string

// The reasons for which reserved stock is released.
const (
	ItemRemoved     ReleaseReason = "item_removed"
	QuantityReduced ReleaseReason = "quantity_reduced"
	CartExpired     ReleaseReason = "cart_expired"
	OrderCancelled  ReleaseReason = "order_cancelled"
)

// StockCommitted: reserved pieces of an order left the house.
type StockCommitted struct {
	OrderID  domain.ID `json:"order_id"`
	Quantity int64     `json:"quantity"`
}

// Discontinued: the product isn't sold any more. It keeps its sku and its name.
type Discontinued struct{}

// Restored: a discontinued product is sold again.
type Restored struct{}

// EventType implements domain.Event.
func (Registered) EventType() string { return "product.registered" }

// EventType implements domain.Event.
func (Renamed) EventType() string { return "product.renamed" }

// EventType implements domain.Event.
func (PriceChanged) EventType() string { return "product.price_changed" }

// EventType implements domain.Event.
func (StockReceived) EventType() string { return "product.stock_received" }

// EventType implements domain.Event.
func (StockReserved) EventType() string { return "product.stock_reserved" }

// EventType implements domain.Event.
func (StockReleased) EventType() string { return "product.stock_released" }

// EventType implements domain.Event.
func (StockCommitted) EventType() string { return "product.stock_committed" }

// EventType implements domain.Event.
func (Discontinued) EventType() string { return "product.discontinued" }

// EventType implements domain.Event.
func (Restored) EventType() string { return "product.restored" }

func (Registered) productEvent()     {}
func (Renamed) productEvent()        {}
func (PriceChanged) productEvent()   {}
func (StockReceived) productEvent()  {}
func (StockReserved) productEvent()  {}
func (StockReleased) productEvent()  {}
func (StockCommitted) productEvent() {}
func (Discontinued) productEvent()   {}
func (Restored) productEvent()       {}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefineEvent[Registered](),
			domain.DefineEvent[Renamed](),
			domain.DefineEvent[PriceChanged](),
			domain.DefineEvent[StockReceived](domain.AddMember("reason", "null")).Formerly(stockReceivedV1{}),
			domain.DefineEvent[StockReserved](),
			domain.DefineEvent[StockReleased](),
			domain.DefineEvent[StockCommitted](),
			domain.DefineEvent[Discontinued](),
			domain.DefineEvent[Restored](),
		},
	}
}
