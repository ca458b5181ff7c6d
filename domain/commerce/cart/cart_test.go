package cart_test

import (
	"encoding/binary"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/domaintest"
)

var (
	laptopID = domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	mouseID  = domain.MustParseID("0190a000-0000-7000-8000-00000000000b")
	orderID  = domain.MustParseID("0190a000-0000-7000-8000-00000000000d")
	customer = "c-1"
	created  = cart.Created{CustomerID: &customer}
	laptops  = cart.ItemAdded{
		ProductID: laptopID, SKU: "LAP-1", ProductName: "Laptop", Quantity: 2,
		UnitPrice: domain.MustAmount("999.90"), Currency: "USD",
	}
	mice = cart.ItemAdded{
		ProductID: mouseID, SKU: "MOU-1", ProductName: "Mouse", Quantity: 3,
		UnitPrice: domain.MustAmount("0.10"), Currency: "USD",
	}
	idleSince = time.Date(2026, 1, 5, 8, 30, 0, 123456000, time.UTC)
	submitted = cart.Submitted{OrderID: orderID, Total: domain.MustAmount("1999.80"), ItemCount: 2}
)

func add(item cart.ItemAdded) cart.AddItem { return cart.AddItem{Item: cart.Line(item)} }

func productID(n int) domain.ID {
	id := domain.MustParseID("0190a000-0000-7000-9000-000000000000")
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

func TestCreate(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, cart.Aggregate).When(cart.Create{CustomerID: &customer}).Then(created)
	state := s.State()
	if state.Status != cart.StatusOpen || *state.CustomerID != customer || state.Currency() != "" ||
		state.Total().String() != "0.00" || state.ItemCount() != 0 {
		t.Errorf("state %+v", state)
	}
	s.When(cart.Create{}).ThenBroken()
	domaintest.Given(t, cart.Aggregate).When(cart.Create{}).Then(cart.Created{})
}

func TestAddItem(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, cart.Aggregate, created).
		When(add(laptops)).Then(laptops).
		When(add(mice)).Then(mice).State()
	if got := s.Total().String(); got != "2000.10" {
		t.Errorf("total %s, want 2000.10", got)
	}
	if s.ItemCount() != 5 || s.Currency() != "USD" || len(s.Lines) != 2 {
		t.Errorf("state %+v", s)
	}
	if s.Lines[0].ProductID != laptopID || s.Lines[1].ProductID != mouseID {
		t.Errorf("the lines aren't in the order of addition: %+v", s.Lines)
	}
	if _, held := s.Line(orderID); held {
		t.Error("the cart has a line nobody added")
	}
}

func TestAddItemMergesAtTheFirstPrice(t *testing.T) {
	t.Parallel()
	dearer := laptops
	dearer.Quantity, dearer.UnitPrice, dearer.ProductName = 1, domain.MustAmount("1200.00"), "Notebook"
	want := laptops
	want.Quantity = 1
	s := domaintest.Given(t, cart.Aggregate, created, laptops, mice).When(add(dearer)).Then(want).State()
	line, _ := s.Line(laptopID)
	if len(s.Lines) != 2 || line.Quantity != 3 || line.ProductName != "Laptop" || line.Total().String() != "2999.70" {
		t.Errorf("lines %+v", s.Lines)
	}
}

func TestAddItemWantsOneCurrency(t *testing.T) {
	t.Parallel()
	euros := mice
	euros.Currency = "EUR"
	domaintest.Given(t, cart.Aggregate, created, laptops).
		When(add(euros)).ThenRefused(domain.CodeCurrencyMismatch)
	// An empty cart has no currency, also after it had one.
	domaintest.Given(t, cart.Aggregate, created, laptops, cart.ItemRemoved{ProductID: laptopID, Quantity: 2}).
		When(add(euros)).Then(euros)
}

func TestAddItemLimits(t *testing.T) {
	t.Parallel()
	events := []domain.Event{created}
	for n := range cart.MaxLines - 1 {
		line := mice
		line.ProductID = productID(n)
		events = append(events, line)
	}
	full := domaintest.Given(t, cart.Aggregate, events...).When(add(laptops)).Then(laptops)
	full.When(add(mice)).ThenRefused(domain.CodeValidation, "/product_id")
	full.When(add(laptops)).Then(laptops)

	rest := laptops
	rest.Quantity = domain.MaxQuantity - 2
	most := domaintest.Given(t, cart.Aggregate, created, laptops).When(add(rest)).Then(rest)
	rest.Quantity = 1
	most.When(add(rest)).ThenRefused(domain.CodeValidation, "/quantity")
}

func TestChangeQuantity(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, cart.Aggregate, created, laptops, mice)
	changed := s.When(cart.ChangeQuantity{ProductID: laptopID, Quantity: 5}).
		Then(cart.ItemQuantityUpdated{ProductID: laptopID, OldQuantity: 2, NewQuantity: 5})
	if line, _ := changed.State().Line(laptopID); line.Quantity != 5 {
		t.Errorf("line %+v", line)
	}
	changed.When(cart.ChangeQuantity{ProductID: laptopID, Quantity: 5}).ThenNothing()
	changed.When(cart.ChangeQuantity{ProductID: orderID, Quantity: 5}).ThenRefused(domain.CodeNotFound)
}

func TestRemoveItem(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, cart.Aggregate, created, laptops, mice).
		When(cart.RemoveItem{ProductID: laptopID}).Then(cart.ItemRemoved{ProductID: laptopID, Quantity: 2})
	if lines := s.State().Lines; len(lines) != 1 || lines[0].ProductID != mouseID {
		t.Errorf("lines %+v", lines)
	}
	s.When(cart.RemoveItem{ProductID: laptopID}).ThenRefused(domain.CodeNotFound)
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, cart.Aggregate, created, laptops).
		When(cart.Submit{OrderID: orderID}).Then(submitted).State()
	if s.Status != cart.StatusSubmitted || s.OrderID != orderID || len(s.Lines) != 1 {
		t.Errorf("state %+v", s)
	}
	domaintest.Given(t, cart.Aggregate, created).
		When(cart.Submit{OrderID: orderID}).ThenRefused(domain.CodeCartEmpty)
}

func TestExpire(t *testing.T) {
	t.Parallel()
	local := idleSince.In(time.FixedZone("", 3600))
	s := domaintest.Given(t, cart.Aggregate, created, laptops).
		When(cart.Expire{IdleSince: local}).Then(cart.Expired{IdleSince: idleSince})
	if s.State().Status != cart.StatusExpired {
		t.Errorf("state %+v", s.State())
	}
	s.When(cart.Expire{IdleSince: idleSince}).ThenNothing()
	domaintest.Given(t, cart.Aggregate, created, laptops, submitted).
		When(cart.Expire{IdleSince: idleSince}).ThenNothing()
}

func TestClosedCartTakesNoCommand(t *testing.T) {
	t.Parallel()
	commands := map[string]cart.Command{
		"add":                  add(laptops),
		"change quantity":      cart.ChangeQuantity{ProductID: laptopID, Quantity: 5},
		"change to what it is": cart.ChangeQuantity{ProductID: laptopID, Quantity: 2},
		"remove":               cart.RemoveItem{ProductID: laptopID},
		"submit":               cart.Submit{OrderID: orderID},
	}
	for _, end := range []domain.Event{submitted, cart.Expired{IdleSince: idleSince}} {
		for name, command := range commands {
			t.Run(end.EventType()+"/"+name, func(t *testing.T) {
				t.Parallel()
				domaintest.Given(t, cart.Aggregate, created, laptops, end).
					When(command).ThenRefused(domain.CodeCartClosed)
			})
		}
	}
}

// Two futures of one state mustn't share memory: a retry decides again from a state that others hold.
func TestStatesOfTwoFuturesAreApart(t *testing.T) {
	t.Parallel()
	state := cart.Aggregate.Fold(cart.Aggregate.Initial(), created)
	for n := range 20 {
		one, other := laptops, mice
		one.ProductID, other.ProductID = productID(100+n), productID(200+n)
		first := cart.Aggregate.Evolve(state, one)
		cart.Aggregate.Evolve(state, other)
		if got := first.Lines[n].ProductID; got != one.ProductID {
			t.Fatalf("with %d lines, a second future overwrote the first", n)
		}
		state = first
	}
}

func goldens() []domaintest.Golden {
	return domaintest.Today(
		created,
		laptops,
		cart.ItemQuantityUpdated{ProductID: laptopID, OldQuantity: 2, NewQuantity: 5},
		cart.Submitted{OrderID: orderID, Total: domain.MustAmount("4999.50"), ItemCount: 5},
		cart.Expired{IdleSince: idleSince},
		cart.ItemRemoved{ProductID: laptopID, Quantity: 5},
	)
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, cart.Definition(), goldens()...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, cart.Definition(), goldens()...)
}
