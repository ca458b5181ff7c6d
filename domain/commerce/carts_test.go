package commerce_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/product"
	"annals/domain/domaintest"
)

func TestCreateCart(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	out := must(s, commerce.CreateCart, commerce.CreateCartCommand{CustomerID: ptr("c-1")})
	stated(t, out, cart.Created{CustomerID: ptr("c-1")})
	if !out.Created {
		t.Error("a new cart isn't reported as created")
	}
	stated(t, must(s, commerce.CreateCart, commerce.CreateCartCommand{}), cart.Created{})
}

func TestAddItemReserves(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 10), s.openCart()
	out := must(s, commerce.AddItem, addItem(cartID, id, 2))
	item := cart.ItemAdded{
		ProductID: id, SKU: "LAP-1", ProductName: "Laptop", Quantity: 2,
		UnitPrice: domain.MustAmount("999.90"), Currency: "USD",
	}
	stated(t, out, item, product.StockReserved{CartID: cartID, Quantity: 2, AvailableAfter: 8})
	if out.ID != cartID || out.Version != 2 || out.Created {
		t.Errorf("the target isn't the cart: %+v", out)
	}

	must(s, commerce.ChangeProduct, commerce.ChangeProductCommand{
		ProductID: id, Name: ptr("Notebook"), Price: ptr("1200"),
	})
	item.Quantity = 3
	stated(t, must(s, commerce.AddItem, addItem(cartID, id, 3)),
		item, product.StockReserved{CartID: cartID, Quantity: 3, AvailableAfter: 5})
	s.stock(id, 5, 5)
	if got := s.cart(cartID).Total().String(); got != "4999.50" {
		t.Errorf("total %s, want 4999.50: the price change altered the line", got)
	}
	refused(s, commerce.AddItem, addItem(cartID, id, 6), domain.CodeInsufficientStock)
	s.add(cartID, id, 5)
	refused(s, commerce.AddItem, addItem(cartID, id, 1), domain.CodeInsufficientStock)
	s.Replay()
}

func TestAddItemOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	laptop, cartID := s.register("LAP-1", "Laptop", "999.90", 5), s.openCart()
	euros := must(s, commerce.RegisterProduct, commerce.RegisterProductCommand{
		SKU: "EUR-1", Name: "Euro", Price: "1", Currency: "EUR", Stock: 5,
	}).ID
	s.add(cartID, laptop, 1)
	refused(s, commerce.AddItem, addItem(nobody, nobody, 0), domain.CodeValidation, "/quantity")
	refused(s, commerce.AddItem, addItem(nobody, laptop, 1), domain.CodeNotFound)
	refusedAt(s, 1, commerce.AddItem, addItem(cartID, nobody, 1), domain.CodeNotFound)
	refusedAt(s, 1, commerce.AddItem, addItem(cartID, euros, 1), domain.CodeVersionMismatch)
	refusedAt(s, 2, commerce.AddItem, addItem(cartID, euros, 1), domain.CodeCurrencyMismatch)
	s.submit(cartID)
	refused(s, commerce.AddItem, addItem(cartID, nobody, 1), domain.CodeNotFound)
	refusedAt(s, 1, commerce.AddItem, addItem(cartID, laptop, 9), domain.CodeVersionMismatch)
	refused(s, commerce.AddItem, addItem(cartID, laptop, 9), domain.CodeCartClosed)
	must(s, commerce.DiscontinueProduct, commerce.DiscontinueProductCommand{ProductID: euros})
	refused(s, commerce.AddItem, addItem(cartID, euros, 1), domain.CodeCartClosed)
}

func TestCartLimitsAreJudgedLast(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	many, cartID := s.register("M", "Many", "0.01", 2_000_000), s.openCart()
	s.add(cartID, many, domain.MaxQuantity)
	refused(s, commerce.AddItem, addItem(cartID, many, 1), domain.CodeValidation, "/quantity")
	other := s.openCart()
	s.add(other, many, domain.MaxQuantity)
	refused(s, commerce.AddItem, addItem(cartID, many, 1), domain.CodeInsufficientStock)

	for n := range cart.MaxLines - 1 {
		s.add(cartID, s.register(fmt.Sprint(n), fmt.Sprint("Product ", n), "1", 1), 1)
	}
	refused(s, commerce.AddItem, addItem(cartID, s.register("L", "Last", "1", 1), 1), domain.CodeValidation, "/product_id")
	refused(s, commerce.AddItem, addItem(cartID, s.register("N", "None", "1", 0), 1), domain.CodeInsufficientStock)
}

func TestChangeItemQuantity(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 10), s.openCart()
	s.add(cartID, id, 2)
	change := func(quantity int64) commerce.ChangeItemQuantityCommand {
		return commerce.ChangeItemQuantityCommand{CartID: cartID, ProductID: id, Quantity: quantity}
	}
	stated(t, must(s, commerce.ChangeItemQuantity, change(5)),
		cart.ItemQuantityUpdated{ProductID: id, OldQuantity: 2, NewQuantity: 5},
		product.StockReserved{CartID: cartID, Quantity: 3, AvailableAfter: 5})
	s.stock(id, 5, 5)
	stated(t, must(s, commerce.ChangeItemQuantity, change(5)))
	stated(t, must(s, commerce.ChangeItemQuantity, change(1)),
		cart.ItemQuantityUpdated{ProductID: id, OldQuantity: 5, NewQuantity: 1},
		product.StockReleased{CartID: cartID, Quantity: 4, AvailableAfter: 9, Reason: product.QuantityReduced})
	s.stock(id, 9, 1)
	refused(s, commerce.ChangeItemQuantity, change(11), domain.CodeInsufficientStock)
	must(s, commerce.ChangeItemQuantity, change(10))
	s.stock(id, 0, 10)
}

func TestRemoveItem(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 10), s.openCart()
	s.add(cartID, id, 4)
	remove := commerce.RemoveItemCommand{CartID: cartID, ProductID: id}
	stated(t, must(s, commerce.RemoveItem, remove),
		cart.ItemRemoved{ProductID: id, Quantity: 4},
		product.StockReleased{CartID: cartID, Quantity: 4, AvailableAfter: 10, Reason: product.ItemRemoved})
	s.stock(id, 10, 0)
	refused(s, commerce.RemoveItem, remove, domain.CodeNotFound)
	s.Replay()
}

func TestItemCommandsOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 10), s.openCart()
	absent := s.register("MOU-1", "Mouse", "5", 10)
	s.add(cartID, id, 2)
	change := func(cartID, id domain.ID) commerce.ChangeItemQuantityCommand {
		return commerce.ChangeItemQuantityCommand{CartID: cartID, ProductID: id, Quantity: 3}
	}
	remove := func(cartID, id domain.ID) commerce.RemoveItemCommand {
		return commerce.RemoveItemCommand{CartID: cartID, ProductID: id}
	}
	check := func(cartID, id domain.ID, version int64, code domain.Code) {
		t.Helper()
		refusedAt(s, version, commerce.ChangeItemQuantity, change(cartID, id), code)
		refusedAt(s, version, commerce.RemoveItem, remove(cartID, id), code)
	}
	check(nobody, id, 1, domain.CodeNotFound)
	check(cartID, absent, 1, domain.CodeNotFound)
	check(cartID, nobody, 1, domain.CodeNotFound)
	check(cartID, id, 1, domain.CodeVersionMismatch)
	s.submit(cartID)
	check(cartID, absent, 3, domain.CodeNotFound)
	check(cartID, id, 2, domain.CodeVersionMismatch)
	check(cartID, id, 3, domain.CodeCartClosed)
	refused(s, commerce.ChangeItemQuantity,
		commerce.ChangeItemQuantityCommand{CartID: nobody, ProductID: id}, domain.CodeValidation, "/quantity")
}

func TestTheLastPieceIsSoldOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, one, other := s.register("LAP-1", "Laptop", "999.90", 1), s.openCart(), s.openCart()
	first, second := s.Begin(nil), s.Begin(nil)
	for _, race := range []struct {
		u      *domain.UnitOfWork
		cartID domain.ID
	}{{first, one}, {second, other}} {
		if err := commerce.AddItem(context.Background(), race.u, addItem(race.cartID, id, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(first); err != nil {
		t.Fatal(err)
	}
	before := s.Dump()
	_, err := s.Commit(second)
	domaintest.Refused(t, err, domain.CodeConcurrentChange)
	if s.Dump() != before {
		t.Error("the loser of a race wrote something")
	}
	refused(s, commerce.AddItem, addItem(other, id, 1), domain.CodeInsufficientStock)
	s.stock(id, 0, 1)
}

func TestExpireCart(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	laptop, mouse := s.register("LAP-1", "Laptop", "999.90", 10), s.register("MOU-1", "Mouse", "5", 10)
	cartID := s.openCart()
	s.add(cartID, laptop, 2)
	s.Now = s.Now.Add(time.Hour)
	s.add(cartID, mouse, 3)
	idleSince := s.Now
	expire := commerce.ExpireCartCommand{CartID: cartID, Lifetime: 24 * time.Hour}

	s.Now = idleSince.Add(24 * time.Hour)
	stated(t, must(s, commerce.ExpireCart, expire))
	s.Now = s.Now.Add(time.Microsecond)
	out := must(s, commerce.ExpireCart, expire)
	stated(t, out,
		cart.Expired{IdleSince: idleSince},
		product.StockReleased{CartID: cartID, Quantity: 2, AvailableAfter: 10, Reason: product.CartExpired},
		product.StockReleased{CartID: cartID, Quantity: 3, AvailableAfter: 10, Reason: product.CartExpired})
	if out.ID != cartID {
		t.Error("the target isn't the cart")
	}
	s.Now = s.Now.Add(48 * time.Hour)
	stated(t, must(s, commerce.ExpireCart, expire))
	refused(s, commerce.AddItem, addItem(cartID, laptop, 1), domain.CodeCartClosed)
	refused(s, commerce.RemoveItem, commerce.RemoveItemCommand{CartID: cartID, ProductID: laptop}, domain.CodeCartClosed)
	refused(s, commerce.ExpireCart, commerce.ExpireCartCommand{CartID: nobody}, domain.CodeNotFound)
	s.Replay()
}

func TestSubmittedCartDoesNotExpire(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 10), s.openCart()
	s.add(cartID, id, 2)
	s.submit(cartID)
	s.Now = s.Now.Add(48 * time.Hour)
	stated(t, must(s, commerce.ExpireCart, commerce.ExpireCartCommand{CartID: cartID, Lifetime: time.Hour}))
	s.stock(id, 8, 2)
}
