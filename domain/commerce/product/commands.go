package product

import (
	"fmt"

	"annals/domain"
)

// MaxOnHand bounds the pieces of one product in the house, so that no sum of counts can overflow.
const MaxOnHand = 1_000_000_000_000

// Command is something a product can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Register makes the product exist.
type Register struct {
	SKU      string
	Name     string
	Price    domain.Amount
	Currency string
	Stock    int64
}

// Change gives the product another name, another price, or both; nil leaves a value as it is. It is refused with
// product-discontinued.
type Change struct {
	Name  *string
	Price *domain.Amount
}

// ReceiveStock adds pieces that arrived. It is refused with product-discontinued, and with validation-failed past MaxOnHand.
type ReceiveStock struct {
	Quantity int64
	Reason   *string
}

// Reserve sets available pieces aside for a cart. It is refused with product-discontinued and insufficient-stock.
type Reserve struct {
	CartID   domain.ID
	Quantity int64
}

// Release gives reserved pieces back. Either CartID or OrderID is set.
type Release struct {
	CartID   domain.ID
	OrderID  domain.ID
	Quantity int64
	Reason   ReleaseReason
}

// Commit takes the reserved pieces of an order out of the house.
type Commit struct {
	OrderID  domain.ID
	Quantity int64
}

// Discontinue takes the product out of sale. A product that isn't sold stays as it is. It is refused with product-in-use.
type Discontinue struct{}

// Restore puts a discontinued product back on sale. A product on sale stays as it is.
type Restore struct{}

func (c Register) decide(s State) ([]Event, error) {
	if s.Status != "" {
		return nil, fmt.Errorf("product %s is registered already", s.SKU)
	}
	return []Event{Registered{
		SKU: c.SKU, Name: c.Name, Price: c.Price, Currency: c.Currency, InitialStock: c.Stock,
	}}, nil
}

func (c Change) decide(s State) ([]Event, error) {
	if err := s.onSale(); err != nil {
		return nil, err
	}
	var events []Event
	if c.Name != nil && *c.Name != s.Name {
		events = append(events, Renamed{OldName: s.Name, NewName: *c.Name})
	}
	if c.Price != nil && !c.Price.Equal(s.Price) {
		events = append(events, PriceChanged{OldPrice: s.Price, NewPrice: *c.Price, Currency: s.Currency})
	}
	return events, nil
}

func (c ReceiveStock) decide(s State) ([]Event, error) {
	if err := s.onSale(); err != nil {
		return nil, err
	}
	if s.OnHand()+c.Quantity > MaxOnHand {
		return nil, domain.Invalid("/quantity", "would raise the stock above %d", int64(MaxOnHand))
	}
	return []Event{StockReceived{
		Quantity: c.Quantity, AvailableAfter: s.Available + c.Quantity, Reason: c.Reason,
	}}, nil
}

func (c Reserve) decide(s State) ([]Event, error) {
	if err := s.onSale(); err != nil {
		return nil, err
	}
	if c.Quantity > s.Available {
		return nil, domain.Refuse(domain.CodeInsufficientStock,
			"%d pieces were asked for; %d are available", c.Quantity, s.Available)
	}
	return []Event{StockReserved{
		CartID: c.CartID, Quantity: c.Quantity, AvailableAfter: s.Available - c.Quantity,
	}}, nil
}

func (c Release) decide(s State) ([]Event, error) {
	if c.Quantity > s.Reserved {
		return nil, fmt.Errorf("product %s: release of %d pieces, but %d are reserved", s.SKU, c.Quantity, s.Reserved)
	}
	return []Event{StockReleased{
		CartID: c.CartID, OrderID: c.OrderID, Quantity: c.Quantity,
		AvailableAfter: s.Available + c.Quantity, Reason: c.Reason,
	}}, nil
}

func (c Commit) decide(s State) ([]Event, error) {
	if c.Quantity > s.Reserved {
		return nil, fmt.Errorf("product %s: commit of %d pieces, but %d are reserved", s.SKU, c.Quantity, s.Reserved)
	}
	return []Event{StockCommitted{OrderID: c.OrderID, Quantity: c.Quantity}}, nil
}

func (Discontinue) decide(s State) ([]Event, error) {
	switch {
	case s.Status == StatusDiscontinued:
		return nil, nil
	case s.Reserved > 0:
		return nil, domain.Refuse(domain.CodeProductInUse,
			"%d pieces are reserved in carts and orders", s.Reserved)
	default:
		return []Event{Discontinued{}}, nil
	}
}

func (Restore) decide(s State) ([]Event, error) {
	if s.Status != StatusDiscontinued {
		return nil, nil
	}
	return []Event{Restored{}}, nil
}

// onSale refuses what a discontinued product doesn't take.
func (s State) onSale() error {
	if s.Status == StatusDiscontinued {
		return domain.Refuse(domain.CodeProductDiscontinued, "the product is discontinued")
	}
	return nil
}
