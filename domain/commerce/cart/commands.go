package cart

import (
	"fmt"
	"time"

	"annals/domain"
)

// MaxLines is the number of lines a cart can have.
const MaxLines = 200

// Command is something a cart can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Create opens the cart.
type Create struct {
	CustomerID *string
}

// AddItem puts pieces of a product into the cart, at the product's present name and price unless the cart holds it. It is
// refused with cart-closed and currency-mismatch, and with validation-failed past MaxLines or domain.MaxQuantity.
type AddItem struct {
	Item Line
}

// ChangeQuantity gives a line another quantity of pieces. It is refused with not-found and cart-closed.
type ChangeQuantity struct {
	ProductID domain.ID
	Quantity  int64
}

// RemoveItem takes a line out. It is refused with not-found and cart-closed.
type RemoveItem struct {
	ProductID domain.ID
}

// Submit turns the cart into an order. It is refused with cart-closed and cart-empty.
type Submit struct {
	OrderID domain.ID
}

// Expire closes the cart, when it is open, because nothing happened since IdleSince.
type Expire struct {
	IdleSince time.Time
}

func (c Create) decide(s State) ([]Event, error) {
	if s.Status != "" {
		return nil, fmt.Errorf("the cart exists already and is %s", s.Status)
	}
	return []Event{Created(c)}, nil
}

func (c AddItem) decide(s State) ([]Event, error) {
	if err := s.CheckOpen(); err != nil {
		return nil, err
	}
	if held := s.Currency(); held != "" && held != c.Item.Currency {
		return nil, domain.Refuse(domain.CodeCurrencyMismatch,
			"the cart is in %s; the product is sold in %s", held, c.Item.Currency)
	}
	added, held := s.Line(c.Item.ProductID)
	switch {
	case !held && len(s.Lines) >= MaxLines:
		return nil, domain.Invalid("/product_id", "would be line %d; a cart has at most %d", len(s.Lines)+1, MaxLines)
	case !held:
		added = c.Item
	case added.Quantity+c.Item.Quantity > domain.MaxQuantity:
		return nil, domain.Invalid("/quantity", "would raise the line from %d above %d pieces",
			added.Quantity, domain.MaxQuantity)
	}
	added.Quantity = c.Item.Quantity
	return []Event{ItemAdded(added)}, nil
}

func (c ChangeQuantity) decide(s State) ([]Event, error) {
	line, err := s.openLine(c.ProductID)
	if err != nil || line.Quantity == c.Quantity {
		return nil, err
	}
	return []Event{ItemQuantityUpdated{
		ProductID: c.ProductID, OldQuantity: line.Quantity, NewQuantity: c.Quantity,
	}}, nil
}

func (c RemoveItem) decide(s State) ([]Event, error) {
	line, err := s.openLine(c.ProductID)
	if err != nil {
		return nil, err
	}
	return []Event{ItemRemoved{ProductID: c.ProductID, Quantity: line.Quantity}}, nil
}

func (c Submit) decide(s State) ([]Event, error) {
	if err := s.CheckOpen(); err != nil {
		return nil, err
	}
	if len(s.Lines) == 0 {
		return nil, domain.Refuse(domain.CodeCartEmpty, "the cart has no items")
	}
	return []Event{Submitted{OrderID: c.OrderID, Total: s.Total(), ItemCount: s.ItemCount()}}, nil
}

func (c Expire) decide(s State) ([]Event, error) {
	if s.Status != StatusOpen {
		return nil, nil
	}
	return []Event{Expired{IdleSince: c.IdleSince.UTC()}}, nil
}

// openLine gives a line of the cart, which must be open.
func (s State) openLine(productID domain.ID) (Line, error) {
	line, ok := s.Line(productID)
	if !ok {
		return Line{}, domain.Refuse(domain.CodeNotFound, "the cart has no item %s", productID)
	}
	return line, s.CheckOpen()
}
