package product

import "annals/domain"

// Status says whether a product is sold.
type Status string

// The states of a product. Before it is registered the status is empty.
const (
	StatusActive       Status = "active"
	StatusDiscontinued Status = "discontinued"
)

// State is a product as its events leave it.
type State struct {
	SKU       string        `json:"sku"`
	Name      string        `json:"name"`
	Price     domain.Amount `json:"price"`
	Currency  string        `json:"currency"`
	Available int64         `json:"available"` // pieces that can be put into carts
	Reserved  int64         `json:"reserved"`  // pieces in open carts and in orders that aren't shipped
	Status    Status        `json:"status"`
}

// OnHand is the number of pieces in the house, available or reserved.
func (s State) OnHand() int64 { return s.Available + s.Reserved }

// Aggregate holds the rules of a product.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "product",
	StateVersion: 1,
	Initial:      func() State { return State{} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Registered:
		return State{
			SKU: e.SKU, Name: e.Name, Price: e.Price, Currency: e.Currency,
			Available: e.InitialStock, Status: StatusActive,
		}
	case Renamed:
		s.Name = e.NewName
	case PriceChanged:
		s.Price = e.NewPrice
	case StockReceived:
		s.Available += e.Quantity
	case StockReserved:
		s.Available -= e.Quantity
		s.Reserved += e.Quantity
	case StockReleased:
		s.Available += e.Quantity
		s.Reserved -= e.Quantity
	case StockCommitted:
		s.Reserved -= e.Quantity
	case Discontinued:
		s.Status = StatusDiscontinued
	case Restored:
		s.Status = StatusActive
	}
	return s
}
