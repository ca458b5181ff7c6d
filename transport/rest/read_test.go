package rest_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/products"
	"annals/transport/rest"
)

// at asks for a read model that has applied the log as it is now.
func (b *bench) at() string { return fmt.Sprintf("Annals-Min-Position: %d", b.head()) }

func items(r *reply) []map[string]any {
	r.t.Helper()
	var list []map[string]any
	for _, item := range r.is(200).json()["items"].([]any) {
		list = append(list, item.(map[string]any))
	}
	return list
}

func TestResourcesAreShownAlikeEverywhere(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fill(b)
	b.send("PATCH", "/v1/products/"+f.product, `{"price":"12.5"}`).is(200)
	b.send("POST", "/v1/orders/"+f.order+"/ship", `{"tracking_reference":"T-1"}`).is(200)
	empty := b.cart("", 0)
	members := map[string][]string{
		"product": {"id", "sku", "name", "price", "currency", "stock", "status", "version", "created_at", "updated_at"},
		"cart": {"id", "customer_id", "status", "currency", "items", "total", "item_count", "order_id", "version", "created_at",
			"updated_at"},
		"order": {"id", "cart_id", "customer_id", "status", "lines", "total", "currency", "shipping_address",
			"cancellation_reason", "tracking_reference", "version", "created_at", "updated_at"},
	}
	for _, resource := range []struct{ kind, path, id string }{
		{"product", "/v1/products/", f.product}, {"cart", "/v1/carts/", f.cart}, {"cart", "/v1/carts/", empty},
		{"order", "/v1/orders/", f.order},
	} {
		shown := b.send("GET", resource.path+resource.id, "", b.at()).is(200)
		wantMembers(t, shown.json(), members[resource.kind]...)
		if got := shown.header.Get("ETag"); got != fmt.Sprintf("%q", strconv.FormatInt(shown.number("version"), 10)) {
			t.Errorf("ETag %s", got)
		}
		if at, err := strconv.ParseInt(shown.header.Get("Annals-Position"), 10, 64); err != nil || at < b.head() {
			t.Errorf("Annals-Position %s", shown.header.Get("Annals-Position"))
		}
		state := b.send("GET", "/v1/streams/"+resource.kind+"/"+resource.id+"/state", "").is(200)
		if diff := cmp.Diff(shown.json(), state.json()["state"]); diff != "" {
			t.Errorf("%s as a state: %s", resource.kind, diff)
		}
		if state.number("version") != shown.number("version") || state.number("as_of_position") < 1 {
			t.Errorf("%s", state.body)
		}
	}
	order := b.send("GET", "/v1/orders/"+f.order, "", b.at()).json()
	if order["status"] != "shipped" || order["tracking_reference"] != "T-1" || order["cancellation_reason"] != nil ||
		order["shipping_address"].(map[string]any)["street_line_2"] != nil {
		t.Errorf("%v", order)
	}
	if cart := b.send("GET", "/v1/carts/"+empty, "", b.at()).json(); cart["currency"] != nil || cart["total"] != "0.00" ||
		len(cart["items"].([]any)) != 0 || cart["order_id"] != nil {
		t.Errorf("%v", cart)
	}
}

func TestStatesAsTheyWere(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"price":"2"}`).is(200)
	path := "/v1/streams/product/" + id + "/state"
	first := b.send("GET", path+"?at_version=1", "").is(200)
	if first.json()["state"].(map[string]any)["price"] != "9.99" || first.number("version") != 1 || first.number("as_of_position") != 1 {
		t.Errorf("%s", first.body)
	}
	created := first.json()["state"].(map[string]any)["created_at"].(string)
	if then := b.send("GET", path+"?at="+created, "").is(200); then.number("version") != 1 {
		t.Errorf("%s", then.body)
	}
	if now := b.send("GET", path+"?at=2126-01-01T00:00:00Z", "").is(200); now.number("version") != 2 {
		t.Errorf("%s", now.body)
	}
}

func TestListsArePages(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	var ids []string
	for i := range 7 {
		ids = append(ids, b.product(fmt.Sprintf("S-%d", i), 10))
	}
	b.send("DELETE", "/v1/products/"+ids[3], "").is(200)
	b.send("POST", "/v1/products", `{"sku":"S-0","name":"theirs","price":"1"}`, "Annals-Client: other").is(201)
	var orders []string
	for i := range 3 {
		orders = append(orders, b.order(ids[i], 1))
	}
	b.send("POST", "/v1/orders/"+orders[1]+"/cancel", `{}`).is(200)
	for name, test := range map[string]struct {
		path string
		want []string
	}{
		"active":         {"/v1/products?", []string{ids[0], ids[1], ids[2], ids[4], ids[5], ids[6]}},
		"all":            {"/v1/products?include=discontinued&", ids},
		"sku":            {"/v1/products?sku=S-4&", ids[4:5]},
		"discontinued":   {"/v1/products?sku=S-3&", nil},
		"text":           {"/v1/products?q=product+s-&", []string{ids[0], ids[1], ids[2], ids[4], ids[5], ids[6]}},
		"orders":         {"/v1/orders?", orders},
		"status":         {"/v1/orders?status=created&", []string{orders[0], orders[2]}},
		"customer":       {"/v1/orders?customer_id=c-1&", orders},
		"other customer": {"/v1/orders?customer_id=c-2&", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			next := ""
			for limit := 1; ; limit++ { // the limit may change from page to page
				page := b.send("GET", fmt.Sprintf("%slimit=%d%s", test.path, limit, next), "", b.at())
				for _, item := range items(page) {
					got = append(got, item["id"].(string))
				}
				if len(items(page)) > limit {
					t.Fatalf("%d items", len(items(page)))
				}
				cursor, more := page.json()["next_cursor"].(string)
				if !more {
					break
				}
				next = "&cursor=" + cursor
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	cursor := b.send("GET", "/v1/products?limit=2", "", b.at()).text("next_cursor")
	ordered := b.send("GET", "/v1/orders?limit=2", "", b.at()).text("next_cursor")
	for _, other := range []string{
		"products?include=discontinued&cursor=" + cursor, "products?q=x&cursor=" + cursor, "products?sku=S-0&cursor=" + cursor,
		"orders?cursor=" + cursor, "orders?status=created&cursor=" + ordered, "orders?customer_id=c-1&cursor=" + ordered,
	} {
		b.send("GET", "/v1/"+other, "").problem(400, "malformed-request")
	}
	b.send("GET", "/v1/products?limit=2&cursor="+cursor, "", "Annals-Client: other").problem(400, "malformed-request")
	b.send("GET", "/v1/products", "", "Annals-Client: *").problem(403, "forbidden")
	b.send("GET", "/v1/orders/"+orders[0], "", "Annals-Client: *").problem(403, "forbidden")
}

func TestConditionalGet(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 1)
	same := b.send("GET", "/v1/products/"+id, "", b.at(), `If-None-Match: "1"`).is(304)
	if len(same.body) != 0 || same.header.Get("ETag") != `"1"` {
		t.Errorf("%v %q", same.header, same.body)
	}
	b.send("GET", "/v1/products/"+id, "", b.at(), `If-None-Match: "2"`).is(200)
}

// behind is a set of subscribers that never get any further.
type behind struct{ rest.Applied }

func (behind) WaitFor(ctx context.Context, _ string, _ int64) error {
	<-ctx.Done()
	return ctx.Err()
}

// counted is a log that counts how often its head is asked for.
type counted struct {
	rest.Events
	heads *atomic.Int64
}

func (c counted) Head(ctx context.Context) (int64, error) {
	c.heads.Add(1)
	return c.Events.Head(ctx)
}

// A position that was announced and that the log has lost is waited for like any other.
func TestALostPositionIsNotLookedForWithoutPause(t *testing.T) {
	t.Parallel()
	var heads atomic.Int64
	growth := eventstore.NewSignal(0)
	b := newServer(t, func(b *bench) { b.config.Growth, b.config.Events = growth, counted{b.config.Events, &heads} })
	b.product("A", 1)
	growth.Announce(99)
	heads.Store(0)
	b.send("GET", "/v1/events", "", "Annals-Min-Position: 50", "Prefer: wait=1").problem(503, "read-model-behind")
	if n := heads.Load(); n < 1 || n > 3 {
		t.Errorf("the head was asked for %d times", n)
	}
}

// growing always has news, and counts who asks for them when his time is over.
type growing struct{ late *atomic.Int64 }

func (growing) Head() int64 { return 0 }

func (g growing) Wait(ctx context.Context, _ int64) (int64, error) {
	if ctx.Err() != nil && g.late.Add(1) > 1 {
		return 0, ctx.Err()
	}
	return 0, nil
}

// A log that grows all the time doesn't make a request wait for longer than it says.
func TestAGrowingLogIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	var late atomic.Int64
	b := newServer(t, func(b *bench) { b.config.Growth = growing{&late} })
	b.send("GET", "/v1/events", "", "Annals-Min-Position: 50", "Prefer: wait=0").problem(503, "read-model-behind")
	if n := late.Load(); n > 1 {
		t.Error("it goes on when its time is over")
	}
}

// stale is a read model that stands at a position.
type stale struct {
	rest.Products
	position int64
}

func (s stale) Get(context.Context, string, domain.ID) (products.Product, int64, error) {
	return products.Product{}, s.position, domain.NotFound("product", domain.ID{})
}

func (s stale) List(context.Context, string, products.Filter, int64, int) (projections.List[products.Product], error) {
	return projections.List[products.Product]{Position: s.position}, nil
}

func TestReadModelThatIsBehind(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) {
		b.config.Applied, b.config.Products = behind{b.config.Applied}, stale{b.config.Products, 3}
	})
	for name, test := range map[string]struct {
		path, min, prefer string
		status            int
	}{
		"behind":       {"/v1/products", "4", "wait=0", 503},
		"one behind":   {"/v1/products/018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f", "4", "wait=0", 503},
		"there":        {"/v1/products", "3", "wait=0", 200},
		"not found":    {"/v1/products/018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f", "3", "wait=0", 404},
		"default wait": {"/v1/products", "4", "x=1", 503},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.send("GET", test.path, "", "Annals-Min-Position: "+test.min, "Prefer: "+test.prefer).is(test.status)
			if test.status == 503 && (r.problem(503, "read-model-behind") == nil || r.header.Get("Retry-After") == "") {
				t.Error(r.header)
			}
			if test.status == 200 && (r.header.Get("Annals-Position") != "3" || r.header.Get("Preference-Applied") != "wait=0") {
				t.Error(r.header)
			}
		})
	}
	// Without a position nothing is waited for, not even after a command, for longer than a moment.
	b.send("POST", "/v1/carts", `{}`).is(201)
	b.send("GET", "/v1/products", "").is(200)
	for _, path := range []string{"/v1/events", "/v1/events/1", "/v1/projections"} {
		b.send("GET", path, "", "Annals-Min-Position: 99", "Prefer: wait=0").problem(503, "read-model-behind")
	}
	// What goes wrong isn't the read model's being behind.
	b.db.MustExec(`DROP TABLE rm_orders_v1.orders CASCADE`)
	b.send("GET", "/v1/orders", "", "Annals-Min-Position: 1").problem(500, "internal")
}

// A GET that waits for a position gets it as soon as it is written.
func TestLogIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	answered := make(chan *reply)
	go func() {
		answered <- b.send("GET", "/v1/events?after=0", "", "Annals-Min-Position: 1", "Prefer: wait=30")
	}()
	b.send("POST", "/v1/carts", `{}`).is(201)
	if got := items(<-answered); len(got) != 1 {
		t.Error(got)
	}
}

// waits notes what is waited for.
type waits struct {
	rest.Applied
	seen chan string
}

func (w waits) WaitFor(_ context.Context, name string, position int64) error {
	w.seen <- fmt.Sprintf("%s %d", name, position)
	return nil
}

// A GET that asks for no position waits a moment for its client's last command on the node, and for no other client's.
func TestOwnCommandIsWaitedFor(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	b := newServer(t, func(b *bench) { b.config.Applied = waits{b.config.Applied, seen} })
	b.send("GET", "/v1/orders", "").is(200)
	b.send("POST", "/v1/carts", `{}`).is(201)
	b.send("POST", "/v1/carts", `{}`).is(201)
	b.send("GET", "/v1/orders", "").is(200)
	b.send("GET", "/v1/orders", "", "Annals-Client: other").is(200)
	b.send("GET", "/v1/products", "", "Annals-Min-Position: 1")
	close(seen)
	var got []string
	for s := range seen {
		got = append(got, s)
	}
	if diff := cmp.Diff([]string{"orders 2", "products 1"}, got); diff != "" {
		t.Error(diff)
	}
}
