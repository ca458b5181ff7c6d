package hold

import (
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Status says whether a hold still stops its order.
type Status string

// The states of a hold. Before it is created the status is empty.
const (
	StatusOpen    Status = "open"
	StatusResumed Status = "resumed"
)

// State is a hold as its events leave it. What a resume states is zero while the hold is open.
type State struct {
	WorkOrderID      domain.ID       `json:"work_order_id"`
	Category         string          `json:"category"`
	Reason           string          `json:"reason"`
	Quantity         int64           `json:"quantity"` // pieces held
	Status           Status          `json:"status"`
	QuantityReleased int64           `json:"quantity_released"`
	QuantityScrapped int64           `json:"quantity_scrapped"`
	Resolution       *string         `json:"resolution"`
	HeldFor          decimal.Decimal `json:"held_for"` // hours
}

// CheckOpen refuses a command on a hold that is over.
func (s State) CheckOpen() error {
	if s.Status != StatusOpen {
		return domain.Refuse(domain.CodeHoldClosed, "the hold is %s", s.Status)
	}
	return nil
}

// Command is something a hold can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Create makes the hold exist, open.
type Create struct {
	WorkOrderID domain.ID
	Category    string
	Reason      string
	Quantity    int64
}

// Resume ends the hold. Released and scrapped pieces together are those that were held. It is refused with hold-closed, and
// with validation-failed for other quantities.
type Resume struct {
	QuantityReleased int64
	QuantityScrapped int64
	Resolution       *string
	HeldFor          time.Duration
}

func (c Create) decide(s State) ([]Event, error) {
	if s.Status != "" {
		return nil, fmt.Errorf("the hold exists already and is %s", s.Status)
	}
	return []Event{Created(c)}, nil
}

func (c Resume) decide(s State) ([]Event, error) {
	if err := s.CheckOpen(); err != nil {
		return nil, err
	}
	if c.QuantityReleased+c.QuantityScrapped != s.Quantity {
		return nil, domain.Invalid("/quantity_released",
			"released and scrapped pieces must add up to the %d pieces held", s.Quantity)
	}
	return []Event{Resumed{
		QuantityReleased: c.QuantityReleased, QuantityScrapped: c.QuantityScrapped,
		Resolution: c.Resolution, HeldFor: hours(c.HeldFor),
	}}, nil
}

// hours gives a duration in hours with four fraction digits, half-up. A clock that was set back gives 0.
func hours(d time.Duration) decimal.Decimal {
	return decimal.NewFromInt(max(0, d).Microseconds()).DivRound(decimal.NewFromInt(time.Hour.Microseconds()), 4)
}

// Aggregate holds the rules of a hold.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "hold",
	StateVersion: 1,
	Initial:      func() State { return State{} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Created:
		return State{
			WorkOrderID: e.WorkOrderID, Category: e.Category, Reason: e.Reason, Quantity: e.Quantity,
			Status: StatusOpen,
		}
	case Resumed:
		s.Status = StatusResumed
		s.QuantityReleased, s.QuantityScrapped = e.QuantityReleased, e.QuantityScrapped
		s.Resolution, s.HeldFor = e.Resolution, e.HeldFor
	}
	return s
}
