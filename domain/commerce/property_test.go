package commerce_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/product"
)

const lifetime = 24 * time.Hour

// model is the shop as the rules describe it, kept without events: what each command must lead to is decided here a
// second time, in the plainest way.
type model struct {
	*shop
	rapid     *rapid.T
	products  map[domain.ID]*modelProduct
	carts     map[domain.ID]*modelCart
	orders    map[domain.ID]*modelOrder
	everNamed int
}

type modelProduct struct {
	name, currency string
	price          int64 // cents
	onHand         int64
	discontinued   bool
}

type modelCart struct {
	status string
	lines  map[domain.ID]modelLine
	last   time.Time
}

type modelLine struct{ quantity, price int64 }

type modelOrder struct {
	status string
	lines  map[domain.ID]modelLine
}

func TestCommandSequences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			shop: newShop(t), rapid: t, products: make(map[domain.ID]*modelProduct),
			carts: make(map[domain.ID]*modelCart), orders: make(map[domain.ID]*modelOrder),
		}
		for range 2 {
			m.register()
			m.createCart()
		}
		t.Repeat(map[string]func(*rapid.T){
			"":                func(*rapid.T) { m.check() },
			"register":        func(*rapid.T) { m.register() },
			"create cart":     func(*rapid.T) { m.createCart() },
			"change product":  func(*rapid.T) { m.changeProduct() },
			"discontinue":     func(*rapid.T) { m.discontinue() },
			"restore":         func(*rapid.T) { m.restore() },
			"receive stock":   func(*rapid.T) { m.receiveStock() },
			"add item":        func(*rapid.T) { m.addItem() },
			"add item again":  func(*rapid.T) { m.addItem() },
			"change quantity": func(*rapid.T) { m.changeQuantity() },
			"remove item":     func(*rapid.T) { m.removeItem() },
			"submit":          func(*rapid.T) { m.submitCart() },
			"cancel":          func(*rapid.T) { m.closeOrder("cancelled") },
			"ship":            func(*rapid.T) { m.closeOrder("shipped") },
			"expire":          func(*rapid.T) { m.expire() },
			"wait":            func(*rapid.T) { m.Now = m.Now.Add(time.Duration(m.number("hours", 1, 30)) * time.Hour) },
		})
		m.Replay()
	})
}

func (m *model) number(label string, low, high int64) int64 {
	return rapid.Int64Range(low, high).Draw(m.rapid, label)
}

// pick draws one of the ids, and sometimes one that names nothing.
func pick[V any](m *model, label string, from map[domain.ID]V) domain.ID {
	ids := slices.SortedFunc(maps.Keys(from), func(a, b domain.ID) int { return slices.Compare(a[:], b[:]) })
	return rapid.SampledFrom(append(ids, nobody)).Draw(m.rapid, label)
}

// expect executes a use case, which must be refused with the code, or succeed when the code is empty. A success must
// state as many events as given.
func expect[C any](m *model, use useCase[C], cmd C, code domain.Code, events int) (domain.ID, string, bool) {
	m.t.Helper()
	if code != "" {
		refused(m.shop, use, cmd, code)
		return domain.ID{}, "", false
	}
	out := must(m.shop, use, cmd)
	if len(out.Events) != events {
		m.t.Fatalf("%T stated %d events, want %d", cmd, len(out.Events), events)
	}
	return out.ID, out.Extras["order_id"], true
}

func cents(c int64) string { return decimal.New(c, -2).StringFixed(2) }

func (m *model) nameTaken(name string) bool {
	for _, p := range m.products {
		if p.name == name {
			return true
		}
	}
	return false
}

func (m *model) register() {
	p := &modelProduct{
		name:     fmt.Sprint("name ", m.number("name", 1, 6)),
		currency: rapid.SampledFrom([]string{"USD", "USD", "EUR"}).Draw(m.rapid, "currency"),
		price:    m.number("price", 0, 500), onHand: m.number("stock", 0, 12),
	}
	m.everNamed++
	var code domain.Code
	if m.nameTaken(p.name) {
		code = domain.CodeDuplicateName
	}
	id, _, done := expect(m, commerce.RegisterProduct, commerce.RegisterProductCommand{
		SKU: fmt.Sprint("sku ", m.everNamed), Name: p.name, Price: cents(p.price), Currency: p.currency, Stock: p.onHand,
	}, code, 1)
	if done {
		m.products[id] = p
	}
}

func (m *model) createCart() {
	id, _, _ := expect(m, commerce.CreateCart, commerce.CreateCartCommand{}, "", 1)
	m.carts[id] = &modelCart{status: "open", lines: make(map[domain.ID]modelLine), last: m.Now}
}

// onSale gives the refusal of a command that a discontinued or unknown product doesn't take.
func (m *model) onSale(id domain.ID) (*modelProduct, domain.Code) {
	p, ok := m.products[id]
	switch {
	case !ok:
		return nil, domain.CodeNotFound
	case p.discontinued:
		return p, domain.CodeProductDiscontinued
	}
	return p, ""
}

func (m *model) changeProduct() {
	id := pick(m, "product", m.products)
	name, price := fmt.Sprint("name ", m.number("name", 1, 6)), m.number("price", 0, 500)
	p, code := m.onSale(id)
	events := 0
	if code == "" && name != p.name {
		events++
		if m.nameTaken(name) {
			code = domain.CodeDuplicateName
		}
	}
	if code == "" && price != p.price {
		events++
	}
	cmd := commerce.ChangeProductCommand{ProductID: id, Name: &name, Price: ptr(cents(price))}
	if _, _, done := expect(m, commerce.ChangeProduct, cmd, code, events); done {
		p.name, p.price = name, price
	}
}

func (m *model) discontinue() {
	id := pick(m, "product", m.products)
	p, code := m.onSale(id)
	events := 1
	switch {
	case code == domain.CodeProductDiscontinued:
		code, events = "", 0
	case code == "" && m.reserved(id) > 0:
		code = domain.CodeProductInUse
	}
	cmd := commerce.DiscontinueProductCommand{ProductID: id}
	if _, _, done := expect(m, commerce.DiscontinueProduct, cmd, code, events); done {
		p.discontinued = true
	}
}

func (m *model) restore() {
	id := pick(m, "product", m.products)
	p, code := m.onSale(id)
	events := 0
	if code == domain.CodeProductDiscontinued {
		code, events = "", 1
	}
	if _, _, done := expect(m, commerce.RestoreProduct, commerce.RestoreProductCommand{ProductID: id}, code, events); done {
		p.discontinued = false
	}
}

func (m *model) receiveStock() {
	id, quantity := pick(m, "product", m.products), m.number("quantity", 1, 9)
	p, code := m.onSale(id)
	cmd := commerce.ReceiveStockCommand{ProductID: id, Quantity: quantity}
	if _, _, done := expect(m, commerce.ReceiveStock, cmd, code, 1); done {
		p.onHand += quantity
	}
}

// reserved is what open carts and created orders hold of a product.
func (m *model) reserved(id domain.ID) int64 {
	var sum int64
	for _, c := range m.carts {
		if c.status == "open" {
			sum += c.lines[id].quantity
		}
	}
	for _, o := range m.orders {
		if o.status == "created" {
			sum += o.lines[id].quantity
		}
	}
	return sum
}

func (m *model) available(id domain.ID) int64 { return m.products[id].onHand - m.reserved(id) }

func (m *model) check() {
	for id, p := range m.products {
		got := m.product(id)
		if got.Available < 0 || got.Available != m.available(id) || got.Reserved != m.reserved(id) || got.OnHand() != p.onHand {
			m.t.Fatalf("%s: available %d, reserved %d; the rules say %d, %d",
				got.SKU, got.Available, got.Reserved, m.available(id), m.reserved(id))
		}
		if got.Name != p.name || got.Price.String() != cents(p.price) ||
			(got.Status == product.StatusDiscontinued) != p.discontinued {
			m.t.Fatalf("%+v; the rules say %+v", got, p)
		}
		if p.discontinued && got.Reserved != 0 {
			m.t.Fatalf("%s is discontinued with %d pieces reserved", got.SKU, got.Reserved)
		}
	}
	for id, c := range m.carts {
		got := m.cart(id)
		if string(got.Status) != c.status || got.Total().String() != total(c.lines) ||
			len(got.Lines) != len(c.lines) || got.ItemCount() != pieces(c.lines) {
			m.t.Fatalf("cart %+v; the rules say %+v", got, c)
		}
		for _, l := range got.Lines {
			if l.Currency != got.Currency() || l.Quantity != c.lines[l.ProductID].quantity {
				m.t.Fatalf("line %+v in a cart of %s; the rules say %+v", l, got.Currency(), c.lines[l.ProductID])
			}
		}
	}
	for id, o := range m.orders {
		got := m.order(id)
		if string(got.Status) != o.status || got.Total.String() != total(o.lines) || len(got.Lines) != len(o.lines) {
			m.t.Fatalf("order %+v; the rules say %+v", got, o)
		}
	}
}

func total(lines map[domain.ID]modelLine) string {
	var sum int64
	for _, l := range lines {
		sum += l.quantity * l.price
	}
	return cents(sum)
}

func pieces(lines map[domain.ID]modelLine) int64 {
	var sum int64
	for _, l := range lines {
		sum += l.quantity
	}
	return sum
}
