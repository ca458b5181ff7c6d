package commerce_test

import (
	"maps"

	"annals/domain"
	"annals/domain/commerce"
)

// The commands of the model on carts and orders.

func (m *model) addItem() {
	cartID, productID := pick(m, "cart", m.carts), pick(m, "product", m.products)
	quantity := m.number("quantity", 1, 6)
	c, p := m.carts[cartID], m.products[productID]
	var code domain.Code
	switch {
	case c == nil || p == nil:
		code = domain.CodeNotFound
	case c.status != "open":
		code = domain.CodeCartClosed
	case p.discontinued:
		code = domain.CodeProductDiscontinued
	case quantity > m.available(productID):
		code = domain.CodeInsufficientStock
	default:
		for id := range c.lines {
			if m.products[id].currency != p.currency {
				code = domain.CodeCurrencyMismatch
			}
		}
	}
	if _, _, done := expect(m, commerce.AddItem, addItem(cartID, productID, quantity), code, 2); done {
		line, held := c.lines[productID]
		if !held {
			line.price = p.price
		}
		line.quantity += quantity
		c.lines[productID], c.last = line, m.Now
	}
}

// item draws a cart and a product, and gives the refusal of a command on that item.
func (m *model) item() (cartID, productID domain.ID, c *modelCart, code domain.Code) {
	cartID = pick(m, "cart", m.carts)
	c = m.carts[cartID]
	if c == nil {
		return cartID, pick(m, "product", m.products), nil, domain.CodeNotFound
	}
	productID = pick(m, "product", c.lines)
	switch _, held := c.lines[productID]; {
	case !held:
		code = domain.CodeNotFound
	case c.status != "open":
		code = domain.CodeCartClosed
	}
	return cartID, productID, c, code
}

func (m *model) changeQuantity() {
	cartID, productID, c, code := m.item()
	quantity, events := m.number("quantity", 1, 8), 2
	if code == "" {
		switch rise := quantity - c.lines[productID].quantity; {
		case rise == 0:
			events = 0
		case rise > m.available(productID):
			code = domain.CodeInsufficientStock
		}
	}
	cmd := commerce.ChangeItemQuantityCommand{CartID: cartID, ProductID: productID, Quantity: quantity}
	if _, _, done := expect(m, commerce.ChangeItemQuantity, cmd, code, events); done && events > 0 {
		line := c.lines[productID]
		line.quantity = quantity
		c.lines[productID], c.last = line, m.Now
	}
}

func (m *model) removeItem() {
	cartID, productID, c, code := m.item()
	cmd := commerce.RemoveItemCommand{CartID: cartID, ProductID: productID}
	if _, _, done := expect(m, commerce.RemoveItem, cmd, code, 2); done {
		delete(c.lines, productID)
		c.last = m.Now
	}
}

func (m *model) submitCart() {
	id := pick(m, "cart", m.carts)
	c := m.carts[id]
	var code domain.Code
	switch {
	case c == nil:
		code = domain.CodeNotFound
	case c.status != "open":
		code = domain.CodeCartClosed
	case len(c.lines) == 0:
		code = domain.CodeCartEmpty
	}
	cmd := commerce.SubmitCartCommand{CartID: id, ShippingAddress: anAddress()}
	if _, orderID, done := expect(m, commerce.SubmitCart, cmd, code, 2); done {
		c.status = "submitted"
		m.orders[domain.MustParseID(orderID)] = &modelOrder{status: "created", lines: maps.Clone(c.lines)}
	}
}

// closeOrder cancels or ships an order.
func (m *model) closeOrder(status string) {
	id := pick(m, "order", m.orders)
	o := m.orders[id]
	var code domain.Code
	events := 1
	switch {
	case o == nil:
		code = domain.CodeNotFound
	case o.status != "created":
		code = domain.CodeOrderClosed
	default:
		events += len(o.lines)
	}
	var done bool
	if status == "cancelled" {
		_, _, done = expect(m, commerce.CancelOrder, commerce.CancelOrderCommand{OrderID: id}, code, events)
	} else {
		_, _, done = expect(m, commerce.ShipOrder, commerce.ShipOrderCommand{OrderID: id}, code, events)
	}
	if !done {
		return
	}
	o.status = status
	if status == "shipped" {
		for productID, line := range o.lines {
			m.products[productID].onHand -= line.quantity
		}
	}
}

func (m *model) expire() {
	id := pick(m, "cart", m.carts)
	c := m.carts[id]
	var code domain.Code
	events := 0
	switch {
	case c == nil:
		code = domain.CodeNotFound
	case c.status == "open" && m.Now.Sub(c.last) > lifetime:
		events = 1 + len(c.lines)
	}
	cmd := commerce.ExpireCartCommand{CartID: id, Lifetime: lifetime}
	if _, _, done := expect(m, commerce.ExpireCart, cmd, code, events); done && events > 0 {
		c.status = "expired"
	}
}
