package cart

import (
	"slices"

	"annals/domain"
)

// Status says what can still happen to a cart.
type Status string

// The states of a cart. Before it is created the status is empty.
const (
	StatusOpen      Status = "open"
	StatusSubmitted Status = "submitted"
	StatusExpired   Status = "expired"
)

// Line is one product in a cart, at the name and price of its first addition.
type Line struct {
	ProductID   domain.ID     `json:"product_id"`
	SKU         string        `json:"sku"`
	ProductName string        `json:"product_name"`
	Quantity    int64         `json:"quantity"` // pieces, 1 to domain.MaxQuantity
	UnitPrice   domain.Amount `json:"unit_price"`
	Currency    string        `json:"currency"`
}

// Total is the line's price.
func (l Line) Total() domain.Amount { return l.UnitPrice.Times(l.Quantity) }

// State is a cart as its events leave it. A submitted or expired cart keeps its lines, as a record.
type State struct {
	CustomerID *string   `json:"customer_id"` // nil: unknown
	Status     Status    `json:"status"`
	Lines      []Line    `json:"lines"`    // in the order of addition
	OrderID    domain.ID `json:"order_id"` // zero until submitted
}

// Line gives the line of a product.
func (s State) Line(productID domain.ID) (Line, bool) {
	if i := s.index(productID); i >= 0 {
		return s.Lines[i], true
	}
	return Line{}, false
}

// Total is the price of all lines.
func (s State) Total() domain.Amount {
	var total domain.Amount
	for _, l := range s.Lines {
		total = total.Plus(l.Total())
	}
	return total
}

// ItemCount is the number of pieces in the cart, over all lines.
func (s State) ItemCount() int64 {
	var count int64
	for _, l := range s.Lines {
		count += l.Quantity
	}
	return count
}

// Currency is the one all lines have, and empty in an empty cart.
func (s State) Currency() string {
	if len(s.Lines) == 0 {
		return ""
	}
	return s.Lines[0].Currency
}

// CheckOpen refuses a command on a cart that is submitted or expired.
func (s State) CheckOpen() error {
	if s.Status != StatusOpen {
		return domain.Refuse(domain.CodeCartClosed, "the cart is %s", s.Status)
	}
	return nil
}

func (s State) index(productID domain.ID) int {
	return slices.IndexFunc(s.Lines, func(l Line) bool { return l.ProductID == productID })
}

// Aggregate holds the rules of a cart.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "cart",
	StateVersion: 1,
	Initial:      func() State { return State{Lines: []Line{}} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Created:
		s.Status, s.CustomerID = StatusOpen, e.CustomerID
	case ItemAdded:
		s.Lines = withAdded(s.Lines, s.index(e.ProductID), e)
	case ItemQuantityUpdated:
		if i := s.index(e.ProductID); i >= 0 {
			s.Lines = slices.Clone(s.Lines)
			s.Lines[i].Quantity = e.NewQuantity
		}
	case ItemRemoved:
		if i := s.index(e.ProductID); i >= 0 {
			s.Lines = slices.Delete(slices.Clone(s.Lines), i, i+1)
		}
	case Submitted:
		s.Status, s.OrderID = StatusSubmitted, e.OrderID
	case Expired:
		s.Status = StatusExpired
	}
	return s
}

// withAdded gives a copy of the lines with the added pieces on line i, or on a new line when i is negative.
func withAdded(lines []Line, i int, e ItemAdded) []Line {
	if i >= 0 {
		lines = slices.Clone(lines)
		lines[i].Quantity += e.Quantity
		return lines
	}
	return append(slices.Clip(lines), Line(e))
}
