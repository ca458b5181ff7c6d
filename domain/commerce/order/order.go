package order

import (
	"fmt"

	"annals/domain"
)

// Status says what can still happen to an order.
type Status string

// The states of an order. Before it is created the status is empty.
const (
	StatusCreated   Status = "created"
	StatusCancelled Status = "cancelled"
	StatusShipped   Status = "shipped"
)

// State is an order as its events leave it.
type State struct {
	CartID             domain.ID     `json:"cart_id"`
	CustomerID         *string       `json:"customer_id"`
	Status             Status        `json:"status"`
	Lines              []Line        `json:"lines"` // in the order of the cart
	ShippingAddress    Address       `json:"shipping_address"`
	Total              domain.Amount `json:"total"`
	Currency           string        `json:"currency"`
	CancellationReason *string       `json:"cancellation_reason"`
	TrackingReference  *string       `json:"tracking_reference"`
}

// Command is something an order can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Create makes the order exist. The total is that of the lines.
type Create struct {
	CartID          domain.ID
	CustomerID      *string
	Lines           []Line
	ShippingAddress Address
	Currency        string
}

// Cancel gives the order up. It is refused with order-closed.
type Cancel struct {
	Reason *string
}

// Ship sends the order off. It is refused with order-closed.
type Ship struct {
	TrackingReference *string
}

// Aggregate holds the rules of an order.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "order",
	StateVersion: 1,
	Initial:      func() State { return State{Lines: []Line{}} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func (c Create) decide(s State) ([]Event, error) {
	if s.Status != "" {
		return nil, fmt.Errorf("the order exists already and is %s", s.Status)
	}
	var total domain.Amount
	for _, l := range c.Lines {
		total = total.Plus(l.Total())
	}
	return []Event{Created{
		CartID: c.CartID, CustomerID: c.CustomerID, Lines: c.Lines,
		ShippingAddress: c.ShippingAddress, Total: total, Currency: c.Currency,
	}}, nil
}

func (c Cancel) decide(s State) ([]Event, error) {
	if err := s.checkPending(); err != nil {
		return nil, err
	}
	return []Event{Cancelled(c)}, nil
}

func (c Ship) decide(s State) ([]Event, error) {
	if err := s.checkPending(); err != nil {
		return nil, err
	}
	return []Event{Shipped(c)}, nil
}

// checkPending refuses a command on an order that is shipped or cancelled.
func (s State) checkPending() error {
	if s.Status != StatusCreated {
		return domain.Refuse(domain.CodeOrderClosed, "the order is %s", s.Status)
	}
	return nil
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Created:
		return State{
			CartID: e.CartID, CustomerID: e.CustomerID, Status: StatusCreated, Lines: e.Lines,
			ShippingAddress: e.ShippingAddress, Total: e.Total, Currency: e.Currency,
		}
	case Cancelled:
		s.Status, s.CancellationReason = StatusCancelled, e.Reason
	case Shipped:
		s.Status, s.TrackingReference = StatusShipped, e.TrackingReference
	}
	return s
}
