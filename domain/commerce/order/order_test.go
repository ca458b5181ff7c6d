package order_test

import (
	"testing"

	"annals/domain"
	"annals/domain/commerce/order"
	"annals/domain/domaintest"
)

var (
	cartID    = domain.MustParseID("0190a000-0000-7000-8000-00000000000c")
	laptopID  = domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	mouseID   = domain.MustParseID("0190a000-0000-7000-8000-00000000000b")
	customer  = "c-1"
	state     = domain.Personal("CA")
	reason    = "changed my mind"
	reference = "1Z 999"
	lines     = []order.Line{
		{ProductID: laptopID, SKU: "LAP-1", ProductName: "Laptop", Quantity: 2, UnitPrice: domain.MustAmount("999.90")},
		{ProductID: mouseID, SKU: "MOU-1", ProductName: "Mouse", Quantity: 3, UnitPrice: domain.MustAmount("0.10")},
	}
	address = order.Address{
		StreetLine1: "1 Main St", City: "Springfield", State: &state, PostalCode: "12345", Country: "US",
	}
	created = order.Created{
		CartID: cartID, CustomerID: &customer, Lines: lines, ShippingAddress: address,
		Total: domain.MustAmount("2000.10"), Currency: "USD",
	}
)

func TestCreate(t *testing.T) {
	t.Parallel()
	create := order.Create{
		CartID: cartID, CustomerID: &customer, Lines: lines, ShippingAddress: address, Currency: "USD",
	}
	s := domaintest.Given(t, order.Aggregate).When(create).Then(created)
	got := s.State()
	if got.Status != order.StatusCreated || got.Total.String() != "2000.10" || len(got.Lines) != 2 ||
		got.CartID != cartID || got.ShippingAddress != address || got.Currency != "USD" {
		t.Errorf("state %+v", got)
	}
	s.When(create).ThenBroken()
}

func TestCancelAndShipAreFinal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		command order.Command
		event   order.Event
		status  order.Status
	}{
		{"cancel", order.Cancel{Reason: &reason}, order.Cancelled{Reason: &reason}, order.StatusCancelled},
		{"cancel without a reason", order.Cancel{}, order.Cancelled{}, order.StatusCancelled},
		{"ship", order.Ship{TrackingReference: &reference}, order.Shipped{TrackingReference: &reference}, order.StatusShipped},
		{"ship without a reference", order.Ship{}, order.Shipped{}, order.StatusShipped},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := domaintest.Given(t, order.Aggregate, created).When(test.command).Then(test.event)
			if got := s.State().Status; got != test.status {
				t.Errorf("status %s, want %s", got, test.status)
			}
			s.When(order.Cancel{}).ThenRefused(domain.CodeOrderClosed)
			s.When(order.Ship{}).ThenRefused(domain.CodeOrderClosed)
		})
	}
}

func goldens() []domaintest.Golden {
	return domaintest.Today(
		created,
		order.Cancelled{Reason: &reason},
		order.Shipped{TrackingReference: &reference},
	)
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, order.Definition(), goldens()...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, order.Definition(), goldens()...)
}
