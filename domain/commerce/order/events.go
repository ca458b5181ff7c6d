// Package order is the order aggregate: a submitted cart on its way to the customer.
package order

import "annals/domain"

// Event is a fact about an order.
type Event interface {
	domain.Event
	orderEvent()
}

// Created: a cart was submitted. The lines are a snapshot and hold their stock reserved.
type Created struct {
	CartID          domain.ID     `json:"cart_id"`
	CustomerID      *string       `json:"customer_id"`
	Lines           []Line        `json:"lines"`
	ShippingAddress Address       `json:"shipping_address"`
	Total           domain.Amount `json:"total"`
	Currency        string        `json:"currency"`
}

// Cancelled: the order won't be shipped, and gave its stock back.
type Cancelled struct {
	Reason *string `json:"reason"`
}

// Shipped: the order left the house, and its stock with it.
type Shipped struct {
	TrackingReference *string `json:"tracking_reference"`
}

// Line is one product of an order, as it was in the cart.
type Line struct {
	ProductID   domain.ID     `json:"product_id"`
	SKU         string        `json:"sku"`
	ProductName string        `json:"product_name"`
	Quantity    int64         `json:"quantity"` // pieces
	UnitPrice   domain.Amount `json:"unit_price"`
}

// Total is the line's price.
func (l Line) Total() domain.Amount { return l.UnitPrice.Times(l.Quantity) }

// Address is where an order goes. All of it but the country is about the customer; the country of a sale must stay known
// for taxes, and tells of nobody.
type Address struct {
	StreetLine1 domain.Personal  `json:"street_line_1"`
	StreetLine2 *domain.Personal `json:"street_line_2"`
	City        domain.Personal  `json:"city"`
	State       *domain.Personal `json:"state"`
	PostalCode  domain.Personal  `json:"postal_code"`
	Country     string           `json:"country"` // two letters
}

// Kinds of subjects that orders are about.
const (
	SubjectCustomer = "customer" // by customer_id
	SubjectOrder    = "order"    // by the order's id, when it names no customer
)

// subject is whom the address of an order is about.
func subject(e Created, id domain.ID) domain.Subject {
	if e.CustomerID == nil {
		return domain.Subject{Kind: SubjectOrder, Reference: id.String()}
	}
	return domain.Subject{Kind: SubjectCustomer, Reference: *e.CustomerID}
}

// EventType implements domain.Event.
func (Created) EventType() string { return "order.created" }

// EventType implements domain.Event.
func (Cancelled) EventType() string { return "order.cancelled" }

// EventType implements domain.Event.
func (Shipped) EventType() string { return "order.shipped" }

func (Created) orderEvent()   {}
func (Cancelled) orderEvent() {}
func (Shipped) orderEvent()   {}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefinePersonalEvent(subject),
			domain.DefineEvent[Cancelled](),
			domain.DefineEvent[Shipped](),
		},
	}
}
