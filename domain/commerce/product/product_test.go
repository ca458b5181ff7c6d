package product_test

import (
	"encoding/json"
	"testing"

	"annals/domain"
	"annals/domain/commerce/product"
	"annals/domain/domaintest"
)

var (
	cartID  = domain.MustParseID("0190a000-0000-7000-8000-00000000000c")
	orderID = domain.MustParseID("0190a000-0000-7000-8000-00000000000d")
	reason  = "delivery 7"
	laptop  = product.Registered{
		SKU: "LAP-1", Name: "Laptop", Price: domain.MustAmount("999.90"), Currency: "USD", InitialStock: 10,
	}
	reservedTwo = product.StockReserved{CartID: cartID, Quantity: 2, AvailableAfter: 8}
)

func TestRegister(t *testing.T) {
	t.Parallel()
	register := product.Register{
		SKU: "LAP-1", Name: "Laptop", Price: domain.MustAmount("999.9"), Currency: "USD", Stock: 10,
	}
	s := domaintest.Given(t, product.Aggregate).When(register).Then(laptop)
	want := product.State{
		SKU: "LAP-1", Name: "Laptop", Price: domain.MustAmount("999.90"), Currency: "USD",
		Available: 10, Status: product.StatusActive,
	}
	if got := s.State(); got.OnHand() != 10 || !got.Price.Equal(want.Price) || got.Status != want.Status || got.Reserved != 0 {
		t.Errorf("state %+v, want %+v", got, want)
	}
	s.When(register).ThenBroken()
}

func TestChange(t *testing.T) {
	t.Parallel()
	name, same, price, samePrice := "Notebook", "Laptop", domain.MustAmount("1099.99"), domain.MustAmount("999.9")
	renamed := product.Renamed{OldName: "Laptop", NewName: "Notebook"}
	repriced := product.PriceChanged{OldPrice: laptop.Price, NewPrice: price, Currency: "USD"}
	tests := []struct {
		name   string
		change product.Change
		want   []product.Event
	}{
		{"the name", product.Change{Name: &name}, []product.Event{renamed}},
		{"the price", product.Change{Price: &price}, []product.Event{repriced}},
		{"both", product.Change{Name: &name, Price: &price}, []product.Event{renamed, repriced}},
		{"both given, one differs", product.Change{Name: &same, Price: &price}, []product.Event{repriced}},
		{"to what it is", product.Change{Name: &same, Price: &samePrice}, nil},
		{"nothing", product.Change{}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			domaintest.Given(t, product.Aggregate, laptop).When(test.change).Then(test.want...)
			domaintest.Given(t, product.Aggregate, laptop, product.Discontinued{}).
				When(test.change).ThenRefused(domain.CodeProductDiscontinued)
		})
	}
	s := domaintest.Given(t, product.Aggregate, laptop).
		When(product.Change{Name: &name, Price: &price}).Then(renamed, repriced).State()
	if s.Name != name || !s.Price.Equal(price) {
		t.Errorf("state %+v", s)
	}
}

func TestReceiveStock(t *testing.T) {
	t.Parallel()
	receive := product.ReceiveStock{Quantity: 5, Reason: &reason}
	s := domaintest.Given(t, product.Aggregate, laptop, reservedTwo).When(receive).
		Then(product.StockReceived{Quantity: 5, AvailableAfter: 13, Reason: &reason}).State()
	if s.Available != 13 || s.Reserved != 2 || s.OnHand() != 15 {
		t.Errorf("state %+v", s)
	}
	domaintest.Given(t, product.Aggregate, laptop, product.Discontinued{}).
		When(receive).ThenRefused(domain.CodeProductDiscontinued)
}

func TestReceiveStockKeepsTotalsBounded(t *testing.T) {
	t.Parallel()
	full := product.StockReceived{Quantity: product.MaxOnHand - 11}
	domaintest.Given(t, product.Aggregate, laptop, full, reservedTwo).
		When(product.ReceiveStock{Quantity: 1}).
		Then(product.StockReceived{Quantity: 1, AvailableAfter: product.MaxOnHand - 2})
	domaintest.Given(t, product.Aggregate, laptop, full, reservedTwo).
		When(product.ReceiveStock{Quantity: 2}).ThenRefused(domain.CodeValidation, "/quantity")
}

func TestReserve(t *testing.T) {
	t.Parallel()
	given := domaintest.Given(t, product.Aggregate, laptop)
	s := given.When(product.Reserve{CartID: cartID, Quantity: 2}).Then(reservedTwo).
		When(product.Reserve{CartID: cartID, Quantity: 8}).
		Then(product.StockReserved{CartID: cartID, Quantity: 8, AvailableAfter: 0})
	if got := s.State(); got.Available != 0 || got.Reserved != 10 {
		t.Errorf("state %+v", got)
	}
	s.When(product.Reserve{CartID: cartID, Quantity: 1}).ThenRefused(domain.CodeInsufficientStock)
	domaintest.Given(t, product.Aggregate, laptop, product.Discontinued{}).
		When(product.Reserve{CartID: cartID, Quantity: 11}).ThenRefused(domain.CodeProductDiscontinued)
}

func TestReleaseAndCommit(t *testing.T) {
	t.Parallel()
	release := product.Release{CartID: cartID, Quantity: 2, Reason: product.ItemRemoved}
	s := domaintest.Given(t, product.Aggregate, laptop, reservedTwo).When(release).
		Then(product.StockReleased{CartID: cartID, Quantity: 2, AvailableAfter: 10, Reason: product.ItemRemoved})
	if got := s.State(); got.Available != 10 || got.Reserved != 0 {
		t.Errorf("after the release: %+v", got)
	}
	s.When(release).ThenBroken()

	commit := product.Commit{OrderID: orderID, Quantity: 2}
	s = domaintest.Given(t, product.Aggregate, laptop, reservedTwo).When(commit).
		Then(product.StockCommitted{OrderID: orderID, Quantity: 2})
	if got := s.State(); got.Available != 8 || got.Reserved != 0 || got.OnHand() != 8 {
		t.Errorf("after the commit: %+v", got)
	}
	s.When(commit).ThenBroken()
}

func TestDiscontinueAndRestore(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, product.Aggregate, laptop)
	s = s.When(product.Restore{}).ThenNothing()
	s = s.When(product.Discontinue{}).Then(product.Discontinued{})
	s = s.When(product.Discontinue{}).ThenNothing()
	s = s.When(product.Restore{}).Then(product.Restored{})
	s.When(product.Reserve{CartID: cartID, Quantity: 2}).Then(reservedTwo).
		When(product.Discontinue{}).ThenRefused(domain.CodeProductInUse)
}

func goldens() []domaintest.Golden {
	return append(domaintest.Today(
		laptop,
		product.Renamed{OldName: "Laptop", NewName: "Notebook <14\">"},
		product.PriceChanged{OldPrice: laptop.Price, NewPrice: domain.MustAmount("1099.99"), Currency: "USD"},
		product.StockReceived{Quantity: 5, AvailableAfter: 15, Reason: &reason},
		product.StockReserved{CartID: cartID, Quantity: 4, AvailableAfter: 11},
		product.StockReleased{CartID: cartID, Quantity: 1, AvailableAfter: 12, Reason: product.QuantityReduced},
		product.StockCommitted{OrderID: orderID, Quantity: 3},
		product.Discontinued{},
		product.Restored{},
	), domaintest.Golden{Version: 1, Event: product.StockReceived{Quantity: 5, AvailableAfter: 15}})
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, product.Definition(), goldens()...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, product.Definition(), goldens()...)
}

func TestReleasedStockNamesOneOwner(t *testing.T) {
	t.Parallel()
	tests := []struct {
		event product.StockReleased
		want  string
	}{
		{
			product.StockReleased{CartID: cartID, Quantity: 1, AvailableAfter: 2, Reason: product.CartExpired},
			`{"cart_id":"` + cartID.String() + `","quantity":1,"available_after":2,"reason":"cart_expired"}`,
		},
		{
			product.StockReleased{OrderID: orderID, Quantity: 1, AvailableAfter: 2, Reason: product.OrderCancelled},
			`{"order_id":"` + orderID.String() + `","quantity":1,"available_after":2,"reason":"order_cancelled"}`,
		},
	}
	for _, test := range tests {
		got, err := json.Marshal(test.event)
		if err != nil || string(got) != test.want {
			t.Errorf("got %s, %v, want %s", got, err, test.want)
		}
	}
}
