package commerce_test

import (
	"context"
	"testing"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/product"
	"annals/domain/domaintest"
)

func TestRegisterProduct(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	out := must(s, commerce.RegisterProduct, commerce.RegisterProductCommand{SKU: "LAP-1", Name: "Laptop", Price: "999.9"})
	stated(t, out, product.Registered{SKU: "LAP-1", Name: "Laptop", Price: domain.MustAmount("999.90"), Currency: "USD"})
	if !out.Created || out.Version != 1 {
		t.Errorf("outcome %+v", out)
	}
	out = must(s, commerce.RegisterProduct, commerce.RegisterProductCommand{
		SKU: "MOU-1", Name: "Mouse", Price: "0", Currency: "EUR", Stock: 7,
	})
	stated(t, out, product.Registered{SKU: "MOU-1", Name: "Mouse", Currency: "EUR", InitialStock: 7})
}

func TestSkuAndNameAreUniquePerClient(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	first := s.register("LAP-1", "Laptop", "999.90", 0)
	register := func(sku, name string) commerce.RegisterProductCommand {
		return commerce.RegisterProductCommand{SKU: sku, Name: name, Price: "1"}
	}
	clashes := func() {
		t.Helper()
		refused(s, commerce.RegisterProduct, register("LAP-1", "Other"), domain.CodeDuplicateSKU)
		refused(s, commerce.RegisterProduct, register("OTH-1", "Laptop"), domain.CodeDuplicateName)
		refused(s, commerce.RegisterProduct, register("LAP-1", "Laptop"), domain.CodeDuplicateSKU)
	}
	clashes()
	must(s, commerce.DiscontinueProduct, commerce.DiscontinueProductCommand{ProductID: first})
	clashes()
	must(s, commerce.RegisterProduct, register("lap-1", "laptop"))

	s.Client = "globex"
	must(s, commerce.RegisterProduct, register("LAP-1", "Laptop"))
	refused(s, commerce.RestoreProduct, commerce.RestoreProductCommand{ProductID: first}, domain.CodeNotFound)
}

func TestRenamingMovesTheName(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	laptop, mouse := s.register("LAP-1", "Laptop", "999.90", 0), s.register("MOU-1", "Mouse", "5", 0)
	rename := func(id domain.ID, name string) commerce.ChangeProductCommand {
		return commerce.ChangeProductCommand{ProductID: id, Name: &name}
	}
	refused(s, commerce.ChangeProduct, commerce.ChangeProductCommand{
		ProductID: mouse, Name: ptr("Laptop"), Price: ptr("6"),
	}, domain.CodeDuplicateName)
	stated(t, must(s, commerce.ChangeProduct, rename(laptop, "Laptop")))
	stated(t, must(s, commerce.ChangeProduct, rename(laptop, "Notebook")),
		product.Renamed{OldName: "Laptop", NewName: "Notebook"})
	stated(t, must(s, commerce.ChangeProduct, rename(mouse, "Laptop")),
		product.Renamed{OldName: "Mouse", NewName: "Laptop"})
	refused(s, commerce.ChangeProduct, rename(laptop, "Laptop"), domain.CodeDuplicateName)
	s.register("MOU-2", "Mouse", "5", 0)
}

func TestChangeProductIsOneAppend(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id := s.register("LAP-1", "Laptop", "999.90", 0)
	out := must(s, commerce.ChangeProduct, commerce.ChangeProductCommand{
		ProductID: id, Name: ptr("Notebook"), Price: ptr("1099.99"),
	})
	stated(t, out,
		product.Renamed{OldName: "Laptop", NewName: "Notebook"},
		product.PriceChanged{
			OldPrice: domain.MustAmount("999.90"), NewPrice: domain.MustAmount("1099.99"), Currency: "USD",
		})
	if out.Version != 3 || out.Created {
		t.Errorf("outcome %+v", out)
	}
}

func TestDiscontinuedProduct(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id, cartID := s.register("LAP-1", "Laptop", "999.90", 5), s.openCart()
	discontinue := commerce.DiscontinueProductCommand{ProductID: id}
	restore := commerce.RestoreProductCommand{ProductID: id}
	stated(t, must(s, commerce.RestoreProduct, restore))
	stated(t, must(s, commerce.DiscontinueProduct, discontinue), product.Discontinued{})
	stated(t, must(s, commerce.DiscontinueProduct, discontinue))

	refused(s, commerce.AddItem, addItem(cartID, id, 1), domain.CodeProductDiscontinued)
	refused(s, commerce.AddItem, addItem(cartID, id, 6), domain.CodeProductDiscontinued)
	refused(s, commerce.ReceiveStock, commerce.ReceiveStockCommand{ProductID: id, Quantity: 1}, domain.CodeProductDiscontinued)
	refused(s, commerce.ChangeProduct, commerce.ChangeProductCommand{ProductID: id, Price: ptr("1")},
		domain.CodeProductDiscontinued)
	refused(s, commerce.ChangeProduct, commerce.ChangeProductCommand{ProductID: id, Name: ptr("Laptop")},
		domain.CodeProductDiscontinued)

	stated(t, must(s, commerce.RestoreProduct, restore), product.Restored{})
	s.add(cartID, id, 1)
	refused(s, commerce.DiscontinueProduct, discontinue, domain.CodeProductInUse)
	orderID := s.submit(cartID)
	refused(s, commerce.DiscontinueProduct, discontinue, domain.CodeProductInUse)
	must(s, commerce.ShipOrder, commerce.ShipOrderCommand{OrderID: orderID})
	must(s, commerce.DiscontinueProduct, discontinue)
}

func TestReceiveStock(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id := s.register("LAP-1", "Laptop", "999.90", 5)
	out := must(s, commerce.ReceiveStock, commerce.ReceiveStockCommand{ProductID: id, Quantity: 3, Reason: ptr("delivery 7")})
	stated(t, out, product.StockReceived{Quantity: 3, AvailableAfter: 8, Reason: ptr("delivery 7")})
	s.stock(id, 8, 0)
	for range (product.MaxOnHand - 8) / domain.MaxCount {
		must(s, commerce.ReceiveStock, commerce.ReceiveStockCommand{ProductID: id, Quantity: domain.MaxCount})
	}
	refused(s, commerce.ReceiveStock, commerce.ReceiveStockCommand{ProductID: id, Quantity: domain.MaxCount},
		domain.CodeValidation, "/quantity")
}

func TestProductCommandsWantTheirProduct(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("LAP-1", "Laptop", "999.90", 5)
	refused(s, commerce.ChangeProduct, commerce.ChangeProductCommand{ProductID: nobody, Price: ptr("1")}, domain.CodeNotFound)
	refused(s, commerce.DiscontinueProduct, commerce.DiscontinueProductCommand{ProductID: nobody}, domain.CodeNotFound)
	refused(s, commerce.RestoreProduct, commerce.RestoreProductCommand{ProductID: nobody}, domain.CodeNotFound)
	refused(s, commerce.ReceiveStock, commerce.ReceiveStockCommand{ProductID: nobody, Quantity: 1}, domain.CodeNotFound)
}

func TestProductCommandsHonourThePrecondition(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	id := s.register("LAP-1", "Laptop", "999.90", 5)
	must(s, commerce.DiscontinueProduct, commerce.DiscontinueProductCommand{ProductID: id})
	// The product is at version 2 and discontinued: the precondition is judged before the status.
	change := commerce.ChangeProductCommand{ProductID: id, Price: ptr("1")}
	receive := commerce.ReceiveStockCommand{ProductID: id, Quantity: 1}
	refusedAt(s, 1, commerce.ChangeProduct, change, domain.CodeVersionMismatch)
	refusedAt(s, 2, commerce.ChangeProduct, change, domain.CodeProductDiscontinued)
	refusedAt(s, 1, commerce.ReceiveStock, receive, domain.CodeVersionMismatch)
	refusedAt(s, 2, commerce.ReceiveStock, receive, domain.CodeProductDiscontinued)
	// A command that would change nothing is refused too.
	refusedAt(s, 1, commerce.DiscontinueProduct, commerce.DiscontinueProductCommand{ProductID: id}, domain.CodeVersionMismatch)
	refusedAt(s, 1, commerce.RestoreProduct, commerce.RestoreProductCommand{ProductID: id}, domain.CodeVersionMismatch)
	// Values are judged before, and so is existence.
	refusedAt(s, 1, commerce.ReceiveStock, commerce.ReceiveStockCommand{ProductID: nobody, Quantity: 1}, domain.CodeNotFound)
	_, err := s.RunMatching(&domain.Precondition{}, func(ctx context.Context, u *domain.UnitOfWork) error {
		return commerce.ReceiveStock(ctx, u, commerce.ReceiveStockCommand{ProductID: nobody})
	})
	domaintest.Refused(t, err, domain.CodeValidation, "/quantity")
}
