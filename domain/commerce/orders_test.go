package commerce_test

import (
	"testing"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
	"annals/domain/domaintest"
)

func TestSubmitCart(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	laptop, mouse := s.register("LAP-1", "Laptop", "999.90", 10), s.register("MOU-1", "Mouse", "0.10", 10)
	cartID := must(s, commerce.CreateCart, commerce.CreateCartCommand{CustomerID: ptr("c-1")}).ID
	s.add(cartID, laptop, 2)
	s.add(cartID, mouse, 3)
	out := must(s, commerce.SubmitCart, commerce.SubmitCartCommand{CartID: cartID, ShippingAddress: anAddress()})
	orderID := domain.MustParseID(out.Extras["order_id"])
	total := domain.MustAmount("2000.10")
	stated(t, out,
		cart.Submitted{OrderID: orderID, Total: total, ItemCount: 5},
		order.Created{
			CartID: cartID, CustomerID: ptr("c-1"), ShippingAddress: *anAddress(), Total: total, Currency: "USD",
			Lines: []order.Line{
				{ProductID: laptop, SKU: "LAP-1", ProductName: "Laptop", Quantity: 2, UnitPrice: domain.MustAmount("999.90")},
				{ProductID: mouse, SKU: "MOU-1", ProductName: "Mouse", Quantity: 3, UnitPrice: domain.MustAmount("0.10")},
			},
		})
	if out.ID != cartID || out.Created || out.Version != 4 {
		t.Errorf("the target isn't the cart: %+v", out)
	}
	if got := s.cart(cartID); got.OrderID != orderID || got.Status != cart.StatusSubmitted {
		t.Errorf("cart %+v", got)
	}
	s.stock(laptop, 8, 2)
	s.stock(mouse, 7, 3)
	s.Replay()
}

func TestSubmitCartOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 10), s.openCart()
	submit := commerce.SubmitCartCommand{CartID: cartID, ShippingAddress: anAddress()}
	refused(s, commerce.SubmitCart, commerce.SubmitCartCommand{CartID: nobody}, domain.CodeValidation, "/shipping_address")
	refused(s, commerce.SubmitCart,
		commerce.SubmitCartCommand{CartID: nobody, ShippingAddress: anAddress()}, domain.CodeNotFound)
	refusedAt(s, 7, commerce.SubmitCart, submit, domain.CodeVersionMismatch)
	refused(s, commerce.SubmitCart, submit, domain.CodeCartEmpty)
	s.add(cartID, id, 1)
	must(s, commerce.SubmitCart, submit)
	refusedAt(s, 2, commerce.SubmitCart, submit, domain.CodeVersionMismatch)
	refused(s, commerce.SubmitCart, submit, domain.CodeCartClosed)
}

// twoLineOrder gives an order of 2 and 3 pieces of two products with 10 each.
func twoLineOrder(s *shop) (orderID, laptop, mouse domain.ID) {
	laptop, mouse = s.register("LAP-1", "Laptop", "999.90", 10), s.register("MOU-1", "Mouse", "0.10", 10)
	cartID := s.openCart()
	s.add(cartID, laptop, 2)
	s.add(cartID, mouse, 3)
	return s.submit(cartID), laptop, mouse
}

func TestCancelOrderReleases(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	orderID, laptop, mouse := twoLineOrder(s)
	out := must(s, commerce.CancelOrder, commerce.CancelOrderCommand{OrderID: orderID, Reason: ptr("out of season")})
	stated(t, out,
		order.Cancelled{Reason: ptr("out of season")},
		product.StockReleased{OrderID: orderID, Quantity: 2, AvailableAfter: 10, Reason: product.OrderCancelled},
		product.StockReleased{OrderID: orderID, Quantity: 3, AvailableAfter: 10, Reason: product.OrderCancelled})
	if out.ID != orderID {
		t.Error("the target isn't the order")
	}
	s.stock(laptop, 10, 0)
	s.stock(mouse, 10, 0)
	s.Replay()
}

func TestShipOrderCommits(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	orderID, laptop, mouse := twoLineOrder(s)
	out := must(s, commerce.ShipOrder, commerce.ShipOrderCommand{OrderID: orderID, TrackingReference: ptr("1Z 999")})
	stated(t, out,
		order.Shipped{TrackingReference: ptr("1Z 999")},
		product.StockCommitted{OrderID: orderID, Quantity: 2},
		product.StockCommitted{OrderID: orderID, Quantity: 3})
	s.stock(laptop, 8, 0)
	s.stock(mouse, 7, 0)
	s.Replay()
}

func TestOrderCommandsOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	orderID, _, _ := twoLineOrder(s)
	cancel, ship := commerce.CancelOrderCommand{OrderID: orderID}, commerce.ShipOrderCommand{OrderID: orderID}
	refused(s, commerce.CancelOrder, commerce.CancelOrderCommand{OrderID: nobody}, domain.CodeNotFound)
	refused(s, commerce.ShipOrder, commerce.ShipOrderCommand{OrderID: nobody}, domain.CodeNotFound)
	refused(s, commerce.CancelOrder, commerce.CancelOrderCommand{OrderID: nobody, Reason: ptr("")},
		domain.CodeValidation, "/reason")
	refusedAt(s, 9, commerce.ShipOrder, ship, domain.CodeVersionMismatch)
	must(s, commerce.ShipOrder, ship)
	refusedAt(s, 1, commerce.CancelOrder, cancel, domain.CodeVersionMismatch)
	refused(s, commerce.CancelOrder, cancel, domain.CodeOrderClosed)
	refused(s, commerce.ShipOrder, ship, domain.CodeOrderClosed)
}

func TestEveryOtherClientsResourceIsNotFound(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	orderID, laptop, _ := twoLineOrder(s)
	cartID := s.openCart()
	s.add(cartID, laptop, 1)
	s.Client = "globex"
	own, ownCart := s.register("LAP-1", "Laptop", "1", 10), s.openCart()
	refused(s, commerce.AddItem, addItem(ownCart, laptop, 1), domain.CodeNotFound)
	refused(s, commerce.AddItem, addItem(cartID, own, 1), domain.CodeNotFound)
	refused(s, commerce.RemoveItem, commerce.RemoveItemCommand{CartID: cartID, ProductID: laptop}, domain.CodeNotFound)
	refused(s, commerce.CancelOrder, commerce.CancelOrderCommand{OrderID: orderID}, domain.CodeNotFound)
	_, err := try(s, commerce.SubmitCart, commerce.SubmitCartCommand{CartID: cartID, ShippingAddress: anAddress()})
	domaintest.Refused(t, err, domain.CodeNotFound)
}
