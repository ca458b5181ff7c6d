package commerce

import (
	"context"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/product"
)

type cartStream = domain.Stream[cart.State, cart.Command, cart.Event]

// CreateCartCommand asks for an empty cart.
type CreateCartCommand struct {
	CustomerID *string `json:"customer_id"`
}

// Validate judges the command's values.
func (c CreateCartCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.OptionalText("/customer_id", c.CustomerID, domain.MaxText)
	return v.Fields()
}

// CreateCart opens a cart.
func CreateCart(_ context.Context, u *domain.UnitOfWork, cmd CreateCartCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	c := domain.OpenNew(u, cart.Aggregate)
	u.Create(c)
	_, err := c.Execute(cart.Create{CustomerID: cmd.CustomerID})
	return err
}

// AddItemCommand asks to put pieces of a product into a cart.
type AddItemCommand struct {
	CartID    domain.ID `json:"-"`
	ProductID string    `json:"product_id"` // as sent: Validate says whether it is a UUID
	Quantity  int64     `json:"quantity"`   // pieces, 1 to domain.MaxQuantity
}

// Validate judges the command's values.
func (c AddItemCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.ID("/product_id", c.ProductID)
	v.Count("/quantity", c.Quantity, 1, domain.MaxQuantity)
	return v.Fields()
}

// AddItem puts pieces of a product into a cart and reserves them. A product that the cart holds keeps the line's name and
// unit price. It refuses with cart-closed, product-discontinued, insufficient-stock, currency-mismatch, and at last with
// validation-failed for a line above domain.MaxQuantity or a line past cart.MaxLines.
func AddItem(ctx context.Context, u *domain.UnitOfWork, cmd AddItemCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	productID, err := domain.ParseID(cmd.ProductID)
	if err != nil {
		return err
	}
	c, err := domain.OpenExisting(ctx, u, cart.Aggregate, cmd.CartID)
	if err != nil {
		return err
	}
	p, err := domain.OpenExisting(ctx, u, product.Aggregate, productID)
	if err != nil {
		return err
	}
	if err := u.Target(c); err != nil {
		return err
	}
	if err := c.State().CheckOpen(); err != nil {
		return err
	}
	if _, err := p.Execute(product.Reserve{CartID: c.ID(), Quantity: cmd.Quantity}); err != nil {
		return err
	}
	sold := p.State()
	_, err = c.Execute(cart.AddItem{Item: cart.Line{
		ProductID: productID, SKU: sold.SKU, ProductName: sold.Name,
		Quantity: cmd.Quantity, UnitPrice: sold.Price, Currency: sold.Currency,
	}})
	return err
}

// ChangeItemQuantityCommand asks for another quantity of a product in a cart.
type ChangeItemQuantityCommand struct {
	CartID    domain.ID `json:"-"`
	ProductID domain.ID `json:"-"`
	Quantity  int64     `json:"quantity"` // pieces, 1 to domain.MaxQuantity
}

// Validate judges the command's values.
func (c ChangeItemQuantityCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.Count("/quantity", c.Quantity, 1, domain.MaxQuantity)
	return v.Fields()
}

// ChangeItemQuantity gives a line another quantity, and reserves the rise or releases the fall. It refuses with
// cart-closed and insufficient-stock.
func ChangeItemQuantity(ctx context.Context, u *domain.UnitOfWork, cmd ChangeItemQuantityCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	c, line, err := targetItem(ctx, u, cmd.CartID, cmd.ProductID)
	if err != nil {
		return err
	}
	changed, err := c.Execute(cart.ChangeQuantity{ProductID: cmd.ProductID, Quantity: cmd.Quantity})
	if err != nil || !changed {
		return err
	}
	p, err := domain.OpenExisting(ctx, u, product.Aggregate, cmd.ProductID)
	if err != nil {
		return err
	}
	if rise := cmd.Quantity - line.Quantity; rise > 0 {
		_, err = p.Execute(product.Reserve{CartID: c.ID(), Quantity: rise})
	} else {
		_, err = p.Execute(product.Release{CartID: c.ID(), Quantity: -rise, Reason: product.QuantityReduced})
	}
	return err
}

// RemoveItemCommand asks to take a product out of a cart.
type RemoveItemCommand struct {
	CartID    domain.ID `json:"-"`
	ProductID domain.ID `json:"-"`
}

// RemoveItem takes a line out of a cart and releases its stock. It refuses with cart-closed.
func RemoveItem(ctx context.Context, u *domain.UnitOfWork, cmd RemoveItemCommand) error {
	c, line, err := targetItem(ctx, u, cmd.CartID, cmd.ProductID)
	if err != nil {
		return err
	}
	if _, err := c.Execute(cart.RemoveItem{ProductID: cmd.ProductID}); err != nil {
		return err
	}
	return release(ctx, u, line.ProductID, product.Release{
		CartID: c.ID(), Quantity: line.Quantity, Reason: product.ItemRemoved,
	})
}

// ExpireCartCommand asks to close a cart that was idle for longer than Lifetime.
type ExpireCartCommand struct {
	CartID   domain.ID
	Lifetime time.Duration // above zero
}

// ExpireCart closes a cart that is still open and whose last event is longer ago than the lifetime, and releases its
// stock. It leaves every other cart as it is, so that it can be asked at any time and more than once.
func ExpireCart(ctx context.Context, u *domain.UnitOfWork, cmd ExpireCartCommand) error {
	c, err := domain.OpenExisting(ctx, u, cart.Aggregate, cmd.CartID)
	if err != nil {
		return err
	}
	if err := u.Target(c); err != nil {
		return err
	}
	idleSince := c.Loaded().UpdatedAt
	if u.Now.Sub(idleSince) <= cmd.Lifetime {
		return nil
	}
	expired, err := c.Execute(cart.Expire{IdleSince: idleSince})
	if err != nil || !expired {
		return err
	}
	for _, line := range c.State().Lines {
		err := release(ctx, u, line.ProductID, product.Release{
			CartID: c.ID(), Quantity: line.Quantity, Reason: product.CartExpired,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// targetItem opens the cart a command is about, finds the item in it and checks the precondition.
func targetItem(ctx context.Context, u *domain.UnitOfWork, cartID, productID domain.ID) (*cartStream, cart.Line, error) {
	c, err := domain.OpenExisting(ctx, u, cart.Aggregate, cartID)
	if err != nil {
		return nil, cart.Line{}, err
	}
	line, ok := c.State().Line(productID)
	if !ok {
		return nil, cart.Line{}, domain.Refuse(domain.CodeNotFound, "the cart has no item %s", productID)
	}
	return c, line, u.Target(c)
}

// release gives reserved stock of a product back.
func release(ctx context.Context, u *domain.UnitOfWork, productID domain.ID, command product.Release) error {
	p, err := domain.OpenExisting(ctx, u, product.Aggregate, productID)
	if err != nil {
		return err
	}
	_, err = p.Execute(command)
	return err
}
