//go:build !race

// One goroutine computes for long: the race detector has nothing to find.

package commerce_test

import (
	"fmt"
	"strings"
	"testing"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
)

// The log takes 256 KiB per event: the largest order that can be submitted must fit.
func TestLargestOrderFitsTheLog(t *testing.T) {
	t.Parallel()
	const maxEventBytes = 256 << 10
	for _, wide := range []string{"<", `"`, "\U0001F4BB"} {
		s := newShop(t)
		cartID := must(s, commerce.CreateCart, commerce.CreateCartCommand{
			CustomerID: ptr(strings.Repeat(wide, domain.MaxText)),
		}).ID
		for n := range cart.MaxLines {
			number := fmt.Sprintf("%03d", n)
			id := s.register(strings.Repeat(wide, domain.MaxCode-3)+number, strings.Repeat(wide, domain.MaxText-3)+number,
				"999999999.99", domain.MaxQuantity)
			s.add(cartID, id, domain.MaxQuantity)
		}
		text := domain.Personal(strings.Repeat(wide, domain.MaxText))
		out := must(s, commerce.SubmitCart, commerce.SubmitCartCommand{CartID: cartID, ShippingAddress: &order.Address{
			StreetLine1: text, StreetLine2: &text, City: text, State: &text, PostalCode: text, Country: "US",
		}})
		registry, err := domain.NewRegistry(commerce.Definitions()...)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := registry.Encode(out.Events[1])
		if err != nil || len(encoded.Data) > maxEventBytes {
			t.Errorf("an order in %q has %d bytes, %v", wide, len(encoded.Data), err)
		}
		if got := s.order(s.IDs("order")[0]).Total.String(); got != "199999999998000000.00" {
			t.Errorf("total %s", got)
		}
	}
}
