package commerce_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
	"annals/domain/domaintest"
)

// shop is a world with the commerce context in it.
type shop struct {
	*domaintest.World
	t domaintest.T
}

func newShop(t domaintest.T) *shop {
	t.Helper()
	return &shop{World: domaintest.NewWorld(t, commerce.Definitions()...), t: t}
}

type useCase[C any] func(context.Context, *domain.UnitOfWork, C) error

// try executes a use case.
func try[C any](s *shop, use useCase[C], cmd C) (domaintest.Outcome, error) {
	s.t.Helper()
	return s.Run(func(ctx context.Context, u *domain.UnitOfWork) error { return use(ctx, u, cmd) })
}

// must executes a use case that isn't refused.
func must[C any](s *shop, use useCase[C], cmd C) domaintest.Outcome {
	s.t.Helper()
	out, err := try(s, use, cmd)
	if err != nil {
		s.t.Fatalf("%T: %v", cmd, err)
	}
	return out
}

// refused executes a use case that is refused with the code and leaves the world as it was.
func refused[C any](s *shop, use useCase[C], cmd C, code domain.Code, pointers ...string) {
	s.t.Helper()
	before := s.Dump()
	_, err := try(s, use, cmd)
	domaintest.Refused(s.t, err, code, pointers...)
	if diff := cmp.Diff(before, s.Dump()); diff != "" {
		s.t.Errorf("a refused %T changed something:\n%s", cmd, diff)
	}
}

// refusedAt is refused with a precondition on the target's version.
func refusedAt[C any](s *shop, version int64, use useCase[C], cmd C, code domain.Code) {
	s.t.Helper()
	match := &domain.Precondition{Versions: []int64{version}}
	_, err := s.RunMatching(match, func(ctx context.Context, u *domain.UnitOfWork) error { return use(ctx, u, cmd) })
	domaintest.Refused(s.t, err, code)
}

func (s *shop) register(sku, name, price string, stock int64) domain.ID {
	s.t.Helper()
	cmd := commerce.RegisterProductCommand{SKU: sku, Name: name, Price: price, Stock: stock}
	return must(s, commerce.RegisterProduct, cmd).ID
}

func (s *shop) openCart() domain.ID {
	s.t.Helper()
	return must(s, commerce.CreateCart, commerce.CreateCartCommand{}).ID
}

func (s *shop) add(cartID, productID domain.ID, quantity int64) {
	s.t.Helper()
	must(s, commerce.AddItem, addItem(cartID, productID, quantity))
}

func (s *shop) submit(cartID domain.ID) domain.ID {
	s.t.Helper()
	out := must(s, commerce.SubmitCart, commerce.SubmitCartCommand{CartID: cartID, ShippingAddress: anAddress()})
	return domain.MustParseID(out.Extras["order_id"])
}

func (s *shop) product(id domain.ID) product.State {
	s.t.Helper()
	state, _ := domaintest.Read(s.World, product.Aggregate, id)
	return state
}

func (s *shop) cart(id domain.ID) cart.State {
	s.t.Helper()
	state, _ := domaintest.Read(s.World, cart.Aggregate, id)
	return state
}

func (s *shop) order(id domain.ID) order.State {
	s.t.Helper()
	state, _ := domaintest.Read(s.World, order.Aggregate, id)
	return state
}

// stock fails the test unless the product has this much available and reserved.
func (s *shop) stock(id domain.ID, available, reserved int64) {
	s.t.Helper()
	if p := s.product(id); p.Available != available || p.Reserved != reserved {
		s.t.Errorf("available %d, reserved %d; want %d, %d", p.Available, p.Reserved, available, reserved)
	}
}

func addItem(cartID, productID domain.ID, quantity int64) commerce.AddItemCommand {
	return commerce.AddItemCommand{CartID: cartID, ProductID: productID.String(), Quantity: quantity}
}

func anAddress() *order.Address {
	return &order.Address{StreetLine1: "1 Main St", City: "Springfield", PostalCode: "12345", Country: "US"}
}

func ptr[T any](v T) *T { return &v }

// stated fails the test unless the command stated exactly these events, in this order.
func stated(t *testing.T, out domaintest.Outcome, want ...domain.Event) {
	t.Helper()
	if diff := cmp.Diff(want, out.Events); diff != "" && len(want)+len(out.Events) > 0 {
		t.Errorf("other events (-want +got):\n%s", diff)
	}
}

// nobody is an id that names nothing.
var nobody = domain.MustParseID("0190a000-0000-7000-8000-ffffffffffff")
