package commerce_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/order"
)

func TestCommandValues(t *testing.T) {
	t.Parallel()
	good := commerce.RegisterProductCommand{SKU: "LAP-1", Name: "Laptop", Price: "999.99", Currency: "EUR", Stock: 1}
	with := func(change func(*commerce.RegisterProductCommand)) commerce.RegisterProductCommand {
		c := good
		change(&c)
		return c
	}
	address := func(change func(*order.Address)) commerce.SubmitCartCommand {
		a := anAddress()
		change(a)
		return commerce.SubmitCartCommand{ShippingAddress: a}
	}
	long := strings.Repeat("é", domain.MaxText)
	tests := []struct {
		name    string
		command interface{ Validate() []domain.FieldError }
		want    []string
	}{
		{"product", good, nil},
		{"product with the least", commerce.RegisterProductCommand{SKU: "a", Name: "b", Price: "0"}, nil},
		{"product with nothing", commerce.RegisterProductCommand{}, []string{"/sku", "/name", "/price"}},
		{"longest sku", with(func(c *commerce.RegisterProductCommand) { c.SKU = strings.Repeat("é", 64) }), nil},
		{"sku too long", with(func(c *commerce.RegisterProductCommand) { c.SKU = strings.Repeat("s", 65) }), []string{"/sku"}},
		{"longest name", with(func(c *commerce.RegisterProductCommand) { c.Name = long }), nil},
		{"name too long", with(func(c *commerce.RegisterProductCommand) { c.Name = long + "x" }), []string{"/name"}},
		{"control character", with(func(c *commerce.RegisterProductCommand) { c.Name = "a\u0000b" }), []string{"/name"}},
		{"highest price", with(func(c *commerce.RegisterProductCommand) { c.Price = "999999999.99" }), nil},
		{"price too high", with(func(c *commerce.RegisterProductCommand) { c.Price = "1000000000" }), []string{"/price"}},
		{"price too fine", with(func(c *commerce.RegisterProductCommand) { c.Price = "0.001" }), []string{"/price"}},
		{"negative price", with(func(c *commerce.RegisterProductCommand) { c.Price = "-1" }), []string{"/price"}},
		{"currency", with(func(c *commerce.RegisterProductCommand) { c.Currency = "eur" }), []string{"/currency"}},
		{"most stock", with(func(c *commerce.RegisterProductCommand) { c.Stock = domain.MaxCount }), nil},
		{"too much stock", with(func(c *commerce.RegisterProductCommand) { c.Stock = domain.MaxCount + 1 }), []string{"/stock"}},
		{"negative stock", with(func(c *commerce.RegisterProductCommand) { c.Stock = -1 }), []string{"/stock"}},

		{"change nothing", commerce.ChangeProductCommand{}, []string{"/name", "/price"}},
		{"change both", commerce.ChangeProductCommand{Name: ptr("x"), Price: ptr("1")}, nil},
		{"change to nothing", commerce.ChangeProductCommand{Name: ptr(""), Price: ptr("")}, []string{"/name", "/price"}},

		{"receipt", commerce.ReceiveStockCommand{Quantity: domain.MaxCount, Reason: ptr(strings.Repeat("x", 2000))}, nil},
		{"receipt of nothing", commerce.ReceiveStockCommand{}, []string{"/quantity"}},
		{"receipt of too much", commerce.ReceiveStockCommand{Quantity: domain.MaxCount + 1}, []string{"/quantity"}},
		{"receipt, long reason", commerce.ReceiveStockCommand{
			Quantity: 1, Reason: ptr(strings.Repeat("x", 2001)),
		}, []string{"/reason"}},

		{"cart", commerce.CreateCartCommand{}, nil},
		{"cart of nobody", commerce.CreateCartCommand{CustomerID: ptr("")}, []string{"/customer_id"}},

		{"item", addItem(nobody, nobody, 1_000_000), nil},
		{"item of the zero id", addItem(nobody, domain.ID{}, 1), nil},
		{"item without a product", commerce.AddItemCommand{Quantity: 1}, []string{"/product_id"}},
		{"item of no UUID", commerce.AddItemCommand{ProductID: "x"}, []string{"/product_id", "/quantity"}},
		{"too many", addItem(nobody, nobody, 1_000_001), []string{"/quantity"}},
		{"change to none", commerce.ChangeItemQuantityCommand{}, []string{"/quantity"}},
		{"change to too many", commerce.ChangeItemQuantityCommand{Quantity: 1_000_001}, []string{"/quantity"}},

		{"no address", commerce.SubmitCartCommand{}, []string{"/shipping_address"}},
		{"address", address(func(*order.Address) {}), nil},
		{"full address", address(func(a *order.Address) { a.StreetLine2, a.State = ptr(domain.Personal("b")), ptr(domain.Personal("CA")) }), nil},
		{"empty address", commerce.SubmitCartCommand{ShippingAddress: &order.Address{}}, []string{
			"/shipping_address/street_line_1", "/shipping_address/city",
			"/shipping_address/postal_code", "/shipping_address/country",
		}},
		{"optional lines", address(func(a *order.Address) { a.StreetLine2, a.State = ptr(domain.Personal("")), ptr(domain.Personal("\n")) }), []string{
			"/shipping_address/street_line_2", "/shipping_address/state",
		}},
		{"country", address(func(a *order.Address) { a.Country = "USA" }), []string{"/shipping_address/country"}},

		{"cancel", commerce.CancelOrderCommand{}, nil},
		{"cancel, empty reason", commerce.CancelOrderCommand{Reason: ptr("")}, []string{"/reason"}},
		{"ship", commerce.ShipOrderCommand{TrackingReference: &long}, nil},
		{"ship, long reference", commerce.ShipOrderCommand{TrackingReference: ptr(long + "x")}, []string{"/tracking_reference"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range test.command.Validate() {
				got = append(got, f.Pointer)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("other pointers (-want +got):\n%s", diff)
			}
		})
	}
}
