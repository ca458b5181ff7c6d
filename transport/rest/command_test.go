package rest_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/eventstore"
	"annals/transport/rest"
)

func TestCommandAnswers(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	created := b.send("POST", "/v1/products", `{"sku":"LAP-1","name":"Laptop","price":"999.9","stock":10}`,
		"X-Request-Id: req-7", "Annals-Client: acme", "Annals-Actor: =1+1").is(201)
	id := created.text("id")
	if got := created.header.Get("Location"); got != "/v1/products/"+id {
		t.Errorf("Location %s", got)
	}
	if created.header.Get("ETag") != `"1"` || created.header.Get("Annals-Position") != "1" ||
		created.header.Get("X-Request-Id") != "req-7" || created.header.Get("Annals-Synchronous") != "" {
		t.Errorf("headers %v", created.header)
	}
	want := fmt.Sprintf(`{"id":"%s","version":1,"position":1,"events":[{"event_id":"%s","event_type":"product.registered","version":1,"position":1}]}`,
		id, created.json()["events"].([]any)[0].(map[string]any)["event_id"])
	if got := strings.TrimSpace(string(created.body)); got != want {
		t.Errorf("body %s", got)
	}
	event := b.send("GET", "/v1/events/1", "", "Annals-Client: acme").is(200).json()
	for member, want := range map[string]any{
		"client_id": "acme", "actor_id": "=1+1", "request_id": "req-7", "correlation_id": "req-7", "aggregate_id": id,
		"event_type": "product.registered", "schema_version": 1.0, "aggregate_version": 1.0,
	} {
		if event[member] != want {
			t.Errorf("the event's %s is %v", member, event[member])
		}
	}

	// Nothing changes: no events, the current version, the resource's last position.
	b.send("POST", "/v1/products", `{"sku":"B","name":"B","price":"1"}`, "Annals-Client: acme").is(201)
	same := b.send("PATCH", "/v1/products/"+id, `{"price":"999.90"}`, "Annals-Client: acme").is(200)
	if got := strings.TrimSpace(string(same.body)); got != fmt.Sprintf(`{"id":"%s","version":1,"position":1,"events":[]}`, id) {
		t.Errorf("no-op %s", got)
	}
	if same.header.Get("ETag") != `"1"` || same.header.Get("Annals-Position") != "1" || same.header.Get("Location") != "" {
		t.Errorf("headers of a no-op %v", same.header)
	}
}

func TestCommandShowsTheResourceWhenPreferred(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	shown := b.send("POST", "/v1/products", `{"sku":"LAP-1","name":"Laptop","price":"999.9","stock":10}`,
		"Prefer: return=representation", "Idempotency-Key: k1").is(201)
	product := shown.json()
	wantMembers(t, product, "id", "sku", "name", "price", "currency", "stock", "status", "version", "created_at", "updated_at")
	if product["price"] != "999.90" || product["currency"] != "USD" || product["status"] != "active" {
		t.Errorf("%s", shown.body)
	}
	if shown.header.Get("Preference-Applied") != "return=representation" || shown.header.Get("ETag") != `"1"` {
		t.Errorf("headers %v", shown.header)
	}
	// A replay shows the resource as it was then.
	b.send("PATCH", shown.header.Get("Location"), `{"name":"Other"}`).is(200)
	again := b.send("POST", "/v1/products", `{"sku":"LAP-1","name":"Laptop","price":"999.9","stock":10}`,
		"Prefer: return=representation", "Idempotency-Key: k1").is(201)
	if diff := cmp.Diff(product, again.json()); diff != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Error(diff)
	}
	minimal := b.send("POST", "/v1/carts", `{}`, "Prefer: return=minimal, foo").is(201)
	wantMembers(t, minimal.json(), "id", "version", "position", "events")
	if got := minimal.header.Get("Preference-Applied"); got != "return=minimal" {
		t.Error(got)
	}
	cart := b.send("POST", "/v1/carts/"+minimal.text("id")+"/items",
		fmt.Sprintf(`{"product_id":%q,"quantity":2}`, product["id"]), "Prefer: return=representation").is(200).json()
	wantMembers(t, cart, "id", "customer_id", "status", "currency", "items", "total", "item_count", "order_id", "version",
		"created_at", "updated_at")
	line := cart["items"].([]any)[0].(map[string]any)
	if cart["total"] != "1999.80" || line["line_total"] != "1999.80" || cart["order_id"] != nil || cart["item_count"] != 2.0 {
		t.Errorf("%v", cart)
	}
}

// withoutKeys is a reader of states that can't get at the keys of personal text.
type withoutKeys struct{ eventstore.StateReader }

func (withoutKeys) Open(context.Context, eventstore.StateAt) (eventstore.StateAt, error) {
	return eventstore.StateAt{}, eventstore.ErrUnavailable
}

// A command that took effect is answered as one, also where what it led to can't be shown: its caller would send it again.
func TestACommandThatCannotBeShown(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.States = withoutKeys{b.config.States} })
	r := b.send("POST", "/v1/products", `{"sku":"A","name":"A","price":"1"}`, "Prefer: return=representation").is(201)
	wantMembers(t, r.json(), "id", "version", "position", "events")
	if r.header.Get("Preference-Applied") != "" || r.header.Get("ETag") != `"1"` || r.header.Get("Location") == "" {
		t.Errorf("headers %v", r.header)
	}
	if head := b.head(); head != 1 {
		t.Errorf("the log ends at %d", head)
	}
}

func wantMembers(t testing.TB, object map[string]any, members ...string) {
	t.Helper()
	slices.Sort(members)
	if diff := cmp.Diff(members, slices.Sorted(maps.Keys(object))); diff != "" {
		t.Error(diff)
	}
}

func TestCommandsOfOtherStreamsBelongToTheResourceOfThePath(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	product := b.product("A", 10)
	cart := b.cart(product, 0)
	added := b.send("POST", "/v1/carts/"+cart+"/items", fmt.Sprintf(`{"product_id":%q,"quantity":3}`, product)).is(200)
	if added.text("id") != cart || added.number("version") != 2 || added.header.Get("ETag") != `"2"` {
		t.Errorf("%s", added.body)
	}
	var types []string
	for _, e := range added.json()["events"].([]any) {
		types = append(types, e.(map[string]any)["event_type"].(string))
	}
	slices.Sort(types)
	if diff := cmp.Diff([]string{"cart.item_added", "product.stock_reserved"}, types); diff != "" {
		t.Error(diff)
	}
	submitted := b.send("POST", "/v1/carts/"+cart+"/submit", address).is(200)
	if submitted.text("id") != cart || submitted.text("order_id") == "" || submitted.header.Get("Location") != "" {
		t.Errorf("%s %v", submitted.body, submitted.header)
	}
	for _, step := range []struct{ method, path, body string }{
		{"POST", "/v1/orders/" + submitted.text("order_id") + "/cancel", `{"reason":"changed"}`},
		{"DELETE", "/v1/products/" + product, ""},
		{"POST", "/v1/products/" + product + "/restore", ""},
		{"POST", "/v1/products/" + product + "/stock-receipts", `{"quantity":1}`},
	} {
		b.send(step.method, step.path, step.body).is(200)
	}
	cart = b.cart(product, 2)
	b.send("PATCH", "/v1/carts/"+cart+"/items/"+product, `{"quantity":5}`).is(200)
	b.send("DELETE", "/v1/carts/"+cart+"/items/"+product, "").is(200)
	b.send("POST", "/v1/orders/"+b.order(product, 1)+"/ship", `{"tracking_reference":"T"}`).is(200)
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 1)
	tests := map[string]struct {
		header string
		status int
	}{
		"present": {`"1"`, 200}, "in a list": {`"7", "1"`, 200}, "any": {`*`, 200}, "other": {`"2"`, 412}, "weak": {`W/"1"`, 412},
		"not a version": {`"x"`, 412}, "broken": {`1`, 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			head := b.head()
			// It changes nothing, so that each case finds version 1.
			r := b.send("PATCH", "/v1/products/"+id, `{"price":"9.99"}`, "If-Match: "+test.header).is(test.status)
			if test.status == 412 {
				r.problem(412, "version-mismatch")
			}
			if b.head() != head {
				t.Error("something was written")
			}
		})
	}
	b.send("POST", "/v1/products", `{"sku":"B","name":"B","price":"1"}`, `If-Match: "9"`).is(201) // nothing to match yet
	b.send("PATCH", "/v1/products/018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f", `{"price":"1"}`, `If-Match: "9"`).is(404)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	const body = `{"sku":"A","name":"A","price":"1"}`
	first := b.send("POST", "/v1/products", body, "Idempotency-Key: k1").is(201)
	head := b.head()
	for name, again := range map[string]string{
		"same": body, "white space": ` {"sku": "A", "name":"A","price":"1"}`, "order": `{"price":"1","name":"A","sku":"A"}`,
		"null": `{"sku":"A","name":"A","price":"1","stock":null}`,
	} {
		r := b.send("POST", "/v1/products", again, "Idempotency-Key: k1", `If-Match: "77"`).is(201)
		if string(r.body) != string(first.body) || r.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %s", name, r.body)
		}
		for _, h := range []string{"Location", "ETag", "Annals-Position"} {
			if r.header.Get(h) != first.header.Get(h) {
				t.Errorf("%s: %s is %s", name, h, r.header.Get(h))
			}
		}
	}
	b.send("POST", "/v1/products", `{"sku":"A","name":"A","price":"2"}`, "Idempotency-Key: k1").problem(422, "idempotency-key-reused")
	b.send("POST", "/v1/carts", `{}`, "Idempotency-Key: k1").problem(422, "idempotency-key-reused")
	b.send("PATCH", "/v1/products/"+first.text("id"), `{"price":"2"}`, "Idempotency-Key: k1").problem(422, "idempotency-key-reused")
	if b.head() != head {
		t.Fatal("a replay wrote")
	}
	one, two := b.product("P1", 0), b.product("P2", 0)
	b.send("POST", "/v1/products/"+one+"/stock-receipts", `{"quantity":1}`, "Idempotency-Key: path").is(200)
	b.send("POST", "/v1/products/"+two+"/stock-receipts", `{"quantity":1}`, "Idempotency-Key: path").problem(422, "idempotency-key-reused")
	// Keys are per client, refusals aren't kept, and If-Match comes after a replay.
	b.send("POST", "/v1/products", body, "Idempotency-Key: k1", "Annals-Client: other").is(201)
	b.send("POST", "/v1/products", body, "Idempotency-Key: k2").problem(409, "duplicate-sku")
	b.send("POST", "/v1/products", `{"sku":"A2","name":"A2","price":"1"}`, "Idempotency-Key: k2").is(201)
	patched := b.send("PATCH", "/v1/products/"+first.text("id"), `{"price":"2"}`, "Idempotency-Key: k3", `If-Match: "1"`).is(200)
	again := b.send("PATCH", "/v1/products/"+first.text("id"), `{"price":"2"}`, "Idempotency-Key: k3", `If-Match: "1"`).is(200)
	if string(again.body) != string(patched.body) || patched.header.Get("Idempotency-Replayed") != "" {
		t.Error("the repeat of a conditional command is another answer")
	}
}

func TestConcurrentRepeatsTakeEffectOnce(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 0)
	head := b.head()
	var group sync.WaitGroup
	bodies := make([]string, 8)
	for i := range bodies {
		group.Go(func() {
			bodies[i] = string(b.send("POST", "/v1/products/"+id+"/stock-receipts", `{"quantity":1}`, "Idempotency-Key: k").is(200).body)
		})
	}
	group.Wait()
	if b.head() != head+1 || len(slices.Compact(slices.Sorted(slices.Values(bodies)))) != 1 {
		t.Errorf("%d events: %v", b.head()-head, bodies)
	}
}

// stuck is a synchronous subscriber that never arrives.
type stuck struct{ rest.Applied }

func (stuck) WaitSynchronous(ctx context.Context, _ int64, atMost time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(atMost):
	}
	return false
}

func TestAnswersSayWhenTheAuditLogIsBehind(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) {
		b.config.Applied, b.config.SynchronousWait = stuck{b.config.Applied}, time.Millisecond
	})
	r := b.send("POST", "/v1/carts", `{}`).is(201)
	if r.header.Get("Annals-Synchronous") != "pending" {
		t.Error(r.header)
	}
}

func TestPausedSynchronousSubscriberIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.send("POST", "/v1/projections/audit_log/pause", "").is(200)
	r := b.send("POST", "/v1/carts", `{}`).is(201) // the bench would wait for 20 s, and the test's deadline would tell
	if r.header.Get("Annals-Synchronous") != "pending" {
		t.Error(r.header)
	}
	b.send("POST", "/v1/projections/audit_log/resume", "").is(200)
}

func TestEveryAcknowledgedCommandIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	for i := range 20 {
		r := b.send("POST", "/v1/carts", `{}`).is(201)
		position := r.header.Get("Annals-Position")
		found := b.send("GET", "/v1/audit-log?aggregate_id="+r.text("id"), "").is(200)
		if len(found.json()["items"].([]any)) != 1 {
			t.Fatalf("command %d isn't in the audit log: %s", i, found.body)
		}
		at, _ := strconv.Atoi(found.header.Get("Annals-Position"))
		if want, _ := strconv.Atoi(position); at < want {
			t.Fatalf("position %s after %s", found.header.Get("Annals-Position"), position)
		}
	}
}

func TestClientsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	const other = "Annals-Client: other"
	b.send("PATCH", "/v1/products/"+id, `{"price":"1"}`, other).problem(404, "not-found")
	b.send("GET", "/v1/events/1", "", other).problem(404, "not-found")
	b.send("GET", "/v1/streams/product/"+id, "", other).problem(404, "not-found")
	b.send("GET", "/v1/streams/product/"+id+"/state", "", other).problem(404, "not-found")
	if items := b.send("GET", "/v1/audit-log", "", other).is(200).json()["items"].([]any); len(items) != 0 {
		t.Error(items)
	}
	if items := b.send("GET", "/v1/events", "", other).is(200).json()["items"].([]any); len(items) != 0 {
		t.Error(items)
	}
	b.send("POST", "/v1/products", `{"sku":"A","name":"Product A","price":"1"}`, other).is(201)

	const all = "Annals-Client: *"
	b.send("POST", "/v1/carts", `{}`, all).problem(403, "forbidden")
	b.send("DELETE", "/v1/products/"+id, "", all).problem(403, "forbidden")
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: annals").problem(403, "forbidden")
	if items := b.send("GET", "/v1/events", "", all).is(200).json()["items"].([]any); len(items) != 2 {
		t.Error(items)
	}
	b.send("GET", "/v1/streams/product/"+id, "", all).is(200)
	b.send("GET", "/v1/projections", "", all).is(200)
	b.send("POST", "/v1/projections/audit_log/pause", "", all).is(200)
	b.send("POST", "/v1/projections/audit_log/resume", "", all).is(200)
}

func TestTraceIsKept(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.send("POST", "/v1/carts", `{}`, "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is(201)
	b.send("POST", "/v1/carts", `{}`, "traceparent: nonsense").is(201)
	e, err := b.store.Reader.Event(t.Context(), "default", 1)
	check(t, err)
	if !strings.Contains(string(e.Metadata), "4bf92f3577b34da6a3ce929d0e0e4736") {
		t.Errorf("%s", e.Metadata)
	}
}
