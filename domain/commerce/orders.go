package commerce

import (
	"context"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
)

// SubmitCartCommand asks to order what a cart holds.
type SubmitCartCommand struct {
	CartID          domain.ID      `json:"-"`
	ShippingAddress *order.Address `json:"shipping_address"`
}

// Validate judges the command's values.
func (c SubmitCartCommand) Validate() []domain.FieldError {
	var v domain.Validator
	a := c.ShippingAddress
	if a == nil {
		v.Fail("/shipping_address", "is required")
		return v.Fields()
	}
	v.PersonalText("/shipping_address/street_line_1", a.StreetLine1, domain.MaxText)
	v.OptionalPersonalText("/shipping_address/street_line_2", a.StreetLine2, domain.MaxText)
	v.PersonalText("/shipping_address/city", a.City, domain.MaxText)
	v.OptionalPersonalText("/shipping_address/state", a.State, domain.MaxText)
	v.PersonalText("/shipping_address/postal_code", a.PostalCode, domain.MaxText)
	v.Country("/shipping_address/country", a.Country)
	return v.Fields()
}

// SubmitCart turns a cart into an order, which holds the cart's stock reserved from then on. The target is the cart; the
// new order's id is attached as order_id. It refuses with cart-closed and cart-empty.
func SubmitCart(ctx context.Context, u *domain.UnitOfWork, cmd SubmitCartCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	c, err := domain.OpenExisting(ctx, u, cart.Aggregate, cmd.CartID)
	if err != nil {
		return err
	}
	if err := u.Target(c); err != nil {
		return err
	}
	o := domain.OpenNew(u, order.Aggregate)
	if _, err := c.Execute(cart.Submit{OrderID: o.ID()}); err != nil {
		return err
	}
	submitted := c.State()
	lines := make([]order.Line, len(submitted.Lines))
	for i, l := range submitted.Lines {
		lines[i] = order.Line{
			ProductID: l.ProductID, SKU: l.SKU, ProductName: l.ProductName,
			Quantity: l.Quantity, UnitPrice: l.UnitPrice,
		}
	}
	u.Attach("order_id", o.ID().String())
	_, err = o.Execute(order.Create{
		CartID: c.ID(), CustomerID: submitted.CustomerID, Lines: lines,
		ShippingAddress: *cmd.ShippingAddress, Currency: submitted.Currency(),
	})
	return err
}

// CancelOrderCommand asks to give an order up.
type CancelOrderCommand struct {
	OrderID domain.ID `json:"-"`
	Reason  *string   `json:"reason"`
}

// Validate judges the command's values.
func (c CancelOrderCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.OptionalText("/reason", c.Reason, domain.MaxNote)
	return v.Fields()
}

// CancelOrder gives an order up and releases its stock. It refuses with order-closed once the order is shipped or
// cancelled.
func CancelOrder(ctx context.Context, u *domain.UnitOfWork, cmd CancelOrderCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	return closeOrder(ctx, u, cmd.OrderID, order.Cancel{Reason: cmd.Reason}, func(line order.Line) product.Command {
		return product.Release{OrderID: cmd.OrderID, Quantity: line.Quantity, Reason: product.OrderCancelled}
	})
}

// ShipOrderCommand reports that an order left the house.
type ShipOrderCommand struct {
	OrderID           domain.ID `json:"-"`
	TrackingReference *string   `json:"tracking_reference"`
}

// Validate judges the command's values.
func (c ShipOrderCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.OptionalText("/tracking_reference", c.TrackingReference, domain.MaxText)
	return v.Fields()
}

// ShipOrder sends an order off and commits its stock, which is gone for good. It refuses with order-closed once the order
// is shipped or cancelled.
func ShipOrder(ctx context.Context, u *domain.UnitOfWork, cmd ShipOrderCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	ship := order.Ship{TrackingReference: cmd.TrackingReference}
	return closeOrder(ctx, u, cmd.OrderID, ship, func(line order.Line) product.Command {
		return product.Commit{OrderID: cmd.OrderID, Quantity: line.Quantity}
	})
}

// closeOrder executes a final command on an order, and for each of its lines what follows from it for the product.
func closeOrder(
	ctx context.Context, u *domain.UnitOfWork, id domain.ID, command order.Command, settle func(order.Line) product.Command,
) error {
	o, err := domain.OpenExisting(ctx, u, order.Aggregate, id)
	if err != nil {
		return err
	}
	if err := u.Target(o); err != nil {
		return err
	}
	if _, err := o.Execute(command); err != nil {
		return err
	}
	for _, line := range o.State().Lines {
		p, err := domain.OpenExisting(ctx, u, product.Aggregate, line.ProductID)
		if err != nil {
			return err
		}
		if _, err := p.Execute(settle(line)); err != nil {
			return err
		}
	}
	return nil
}
