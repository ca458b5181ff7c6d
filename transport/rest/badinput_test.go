package rest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixture fills the paths of the tables below.
type fixture struct{ product, cart, order string }

func (f fixture) in(s string) string {
	return strings.NewReplacer("{product}", f.product, "{cart}", f.cart, "{order}", f.order,
		"{none}", "018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f").Replace(s)
}

func fill(b *bench) fixture {
	product := b.product("A", 10)
	return fixture{product: product, cart: b.cart(product, 1), order: b.order(product, 1)}
}

const goodProduct = `{"sku":"Z","name":"Z","price":"1"}`

// TestMalformedRequests sends what doesn't parse: 400, and nothing is written.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fill(b)
	long := strings.Repeat("x", 256)
	tests := map[string]struct {
		method, path, body string
		headers            []string
	}{
		"no body":                  {"POST", "/v1/products", "", nil},
		"no body with its type":    {"POST", "/v1/products", "", []string{"Content-Type: application/json"}},
		"no body for a cart":       {"POST", "/v1/carts", "", nil},
		"array":                    {"POST", "/v1/products", `[]`, nil},
		"broken":                   {"POST", "/v1/products", `{"sku":`, nil},
		"trailing":                 {"POST", "/v1/products", goodProduct + `{}`, nil},
		"duplicate":                {"POST", "/v1/products", `{"sku":"A","sku":"B","name":"C","price":"1"}`, nil},
		"duplicate within":         {"POST", "/v1/carts/{cart}/submit", `{"shipping_address":{"city":"a","city":"b"}}`, nil},
		"not UTF-8":                {"POST", "/v1/products", "{\"sku\":\"\xff\",\"name\":\"C\",\"price\":\"1\"}", nil},
		"33 levels":                {"POST", "/v1/products", strings.Repeat(`{"a":`, 32) + "{}" + strings.Repeat("}", 32), nil},
		"byte order mark":          {"POST", "/v1/products", "\ufeff" + goodProduct, nil},
		"broken optional body":     {"DELETE", "/v1/products/{product}", `{`, nil},
		"syntax before existence":  {"PATCH", "/v1/products/{none}", `[]`, nil},
		"syntax before bad id":     {"PATCH", "/v1/products/x", `[]`, nil},
		"query of a command":       {"POST", "/v1/products?x=1", goodProduct, nil},
		"broken query":             {"POST", "/v1/products?%%%", goodProduct, nil},
		"client pattern":           {"POST", "/v1/products", goodProduct, []string{"Annals-Client: a b"}},
		"client empty":             {"POST", "/v1/products", goodProduct, []string{"Annals-Client: "}},
		"client too long":          {"POST", "/v1/products", goodProduct, []string{"Annals-Client: " + strings.Repeat("a", 65)}},
		"client twice":             {"POST", "/v1/products", goodProduct, []string{"Annals-Client: a", "Annals-Client: b"}},
		"actor too long":           {"POST", "/v1/products", goodProduct, []string{"Annals-Actor: " + long}},
		"actor not printable":      {"POST", "/v1/products", goodProduct, []string{"Annals-Actor: a\tb"}},
		"actor not UTF-8":          {"POST", "/v1/products", goodProduct, []string{"Annals-Actor: a\xff"}},
		"key empty":                {"POST", "/v1/products", goodProduct, []string{"Idempotency-Key: "}},
		"key too long":             {"POST", "/v1/products", goodProduct, []string{"Idempotency-Key: " + long}},
		"key not printable":        {"POST", "/v1/products", goodProduct, []string{"Idempotency-Key: a\tb"}},
		"key twice":                {"POST", "/v1/products", goodProduct, []string{"Idempotency-Key: a", "Idempotency-Key: a"}},
		"If-Match":                 {"PATCH", "/v1/products/{product}", `{"price":"2"}`, []string{"If-Match: 1"}},
		"If-Match before 404":      {"PATCH", "/v1/products/{none}", `{"price":"2"}`, []string{"If-Match: x"}},
		"Prefer":                   {"POST", "/v1/products", goodProduct, []string{"Prefer: =1"}},
		"min position":             {"GET", "/v1/products", "", []string{"Annals-Min-Position: x"}},
		"negative min position":    {"GET", "/v1/orders/{order}", "", []string{"Annals-Min-Position: -1"}},
		"min position too large":   {"GET", "/v1/events", "", []string{"Annals-Min-Position: 9223372036854775808"}},
		"limit 0":                  {"GET", "/v1/products?limit=0", "", nil},
		"limit 501":                {"GET", "/v1/orders?limit=501", "", nil},
		"limit of events":          {"GET", "/v1/events?limit=501", "", nil},
		"limit of a stream":        {"GET", "/v1/streams/product/{product}?limit=x", "", nil},
		"limit of the audit log":   {"GET", "/v1/audit-log?limit=-1", "", nil},
		"negative after":           {"GET", "/v1/events?after=-1", "", nil},
		"after overflows":          {"GET", "/v1/events?after=99999999999999999999", "", nil},
		"cursor":                   {"GET", "/v1/products?cursor=abc", "", nil},
		"empty cursor":             {"GET", "/v1/products?cursor=", "", nil},
		"cursor of a stream":       {"GET", "/v1/streams/product/{product}?cursor=AAAA", "", nil},
		"unknown parameter":        {"GET", "/v1/products?colour=red", "", nil},
		"unknown for one":          {"GET", "/v1/products/{product}?x=1", "", nil},
		"unknown parameter of 404": {"GET", "/v1/products/{none}?x=1", "", nil},
		"include":                  {"GET", "/v1/products?include=everything", "", nil},
		"status":                   {"GET", "/v1/orders?status=lost", "", nil},
		"repeated":                 {"GET", "/v1/products?sku=a&sku=b", "", nil},
		"escape":                   {"GET", "/v1/products?%%%", "", nil},
		"escape in a value":        {"GET", "/v1/products?q=%e4", "", nil},
		"aggregate id":             {"GET", "/v1/events?aggregate_id=7", "", nil},
		"from":                     {"GET", "/v1/audit-log?from=today", "", nil},
		"at":                       {"GET", "/v1/streams/product/{product}/state?at=now", "", nil},
		"at_version 0":             {"GET", "/v1/streams/product/{product}/state?at_version=0", "", nil},
		"both ats":                 {"GET", "/v1/streams/product/{product}/state?at_version=1&at=2026-01-01T00:00:00Z", "", nil},
		"empty event type":         {"GET", "/v1/events?event_type=a,,b", "", nil},
		"health with a parameter":  {"GET", "/healthz?x=1", "", nil},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b.send(test.method, f.in(test.path), test.body, test.headers...).problem(400, "malformed-request")
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

// TestInvalidValues sends bodies that are JSON and wrong: 422 with the pointers, before existence is looked at.
func TestInvalidValues(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fill(b)
	tests := map[string]struct {
		method, path, body string
		pointers           []string
	}{
		"nothing":               {"POST", "/v1/products", `{}`, []string{"/name", "/price", "/sku"}},
		"nulls":                 {"POST", "/v1/products", `{"sku":null,"name":null,"price":null}`, []string{"/name", "/price", "/sku"}},
		"unknown":               {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1","x":1,"a":2}`, []string{"/a", "/x"}},
		"types":                 {"POST", "/v1/products", `{"sku":1,"name":true,"price":9.99,"currency":[],"stock":"1"}`, []string{"/currency", "/name", "/price", "/sku", "/stock"}},
		"values":                {"POST", "/v1/products", `{"sku":"","name":"a\u0000","price":"-1","currency":"usd","stock":-1}`, []string{"/currency", "/name", "/price", "/sku", "/stock"}},
		"empty currency":        {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1","currency":""}`, []string{"/currency"}},
		"price too fine":        {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1.001"}`, []string{"/price"}},
		"price too large":       {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1000000000.00"}`, []string{"/price"}},
		"stock too large":       {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1","stock":1000000001}`, []string{"/stock"}},
		"stock as a fraction":   {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1","stock":1.0}`, []string{"/stock"}},
		"stock beyond numbers":  {"POST", "/v1/products", `{"sku":"Z","name":"Z","price":"1","stock":1e400}`, []string{"/stock"}},
		"sku of 65":             {"POST", "/v1/products", `{"sku":"` + strings.Repeat("s", 65) + `","name":"Z","price":"1"}`, []string{"/sku"}},
		"name of 201":           {"POST", "/v1/products", `{"sku":"Z","name":"` + strings.Repeat("ä", 201) + `","price":"1"}`, []string{"/name"}},
		"surrogate":             {"POST", "/v1/products", `{"sku":"\ud800","name":"Z","price":"1"}`, []string{"/sku"}},
		"patch of nothing":      {"PATCH", "/v1/products/{product}", `{}`, []string{"/name", "/price"}},
		"patch of a wrong type": {"PATCH", "/v1/products/{product}", `{"name":5}`, []string{"/name"}},
		"patch of wrong types":  {"PATCH", "/v1/products/{product}", `{"name":5,"price":1}`, []string{"/name", "/price"}},
		"patch by half":         {"PATCH", "/v1/products/{product}", `{"name":"","price":1}`, []string{"/name", "/price"}},
		"patch of nulls":        {"PATCH", "/v1/products/{product}", `{"name":null,"price":null}`, []string{"/name", "/price"}},
		"patch of stock":        {"PATCH", "/v1/products/{product}", `{"price":"1","stock":5}`, []string{"/stock"}},
		"before existence":      {"PATCH", "/v1/products/{none}", `{"price":"x"}`, []string{"/price"}},
		"before a bad id":       {"PATCH", "/v1/products/x", `{"price":"x"}`, []string{"/price"}},
		"body of a delete":      {"DELETE", "/v1/products/{product}", `{"why":1}`, []string{"/why"}},
		"receipt":               {"POST", "/v1/products/{product}/stock-receipts", `{"quantity":0,"reason":""}`, []string{"/quantity", "/reason"}},
		"no quantity":           {"POST", "/v1/products/{product}/stock-receipts", `{"reason":"x"}`, []string{"/quantity"}},
		"customer":              {"POST", "/v1/carts", `{"customer_id":7}`, []string{"/customer_id"}},
		"item":                  {"POST", "/v1/carts/{cart}/items", `{"product_id":"7","quantity":1000001}`, []string{"/product_id", "/quantity"}},
		"quantity":              {"PATCH", "/v1/carts/{cart}/items/{product}", `{"quantity":0}`, []string{"/quantity"}},
		"no address":            {"POST", "/v1/carts/{cart}/submit", `{}`, []string{"/shipping_address"}},
		"address":               {"POST", "/v1/carts/{cart}/submit", `{"shipping_address":[]}`, []string{"/shipping_address"}},
		"address members": {"POST", "/v1/carts/{cart}/submit", `{"shipping_address":{"city":"","country":"USA","zip":"1"}}`,
			[]string{"/shipping_address/city", "/shipping_address/country", "/shipping_address/postal_code", "/shipping_address/street_line_1", "/shipping_address/zip"}},
		"cancel":      {"POST", "/v1/orders/{order}/cancel", `{"reason":""}`, []string{"/reason"}},
		"ship":        {"POST", "/v1/orders/{order}/ship", `{"tracking_reference":1}`, []string{"/tracking_reference"}},
		"skip":        {"POST", "/v1/projections/audit_log/failures/1/skip", `{}`, []string{"/reason"}},
		"pause":       {"POST", "/v1/projections/audit_log/pause", `{"for":"1h"}`, []string{"/for"}},
		"lines above": {"POST", "/v1/carts/{cart}/items", `{"product_id":"{product}","quantity":1000001}`, []string{"/quantity"}},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := b.send(test.method, f.in(test.path), f.in(test.body)).problem(422, "validation-failed")
			var pointers []string
			for _, e := range p["errors"].([]any) {
				fault := e.(map[string]any)
				if fault["detail"] == "" {
					t.Error("a fault without a detail")
				}
				pointers = append(pointers, fault["pointer"].(string))
			}
			if diff := cmp.Diff(test.pointers, pointers); diff != "" {
				t.Error(diff)
			}
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

// TestRefusals sends good requests that can't be done: nothing is written.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fill(b)
	gone := b.product("GONE", 1)
	b.send("DELETE", "/v1/products/"+gone, "").is(200)
	euro := b.send("POST", "/v1/products", `{"sku":"E","name":"E","price":"1","currency":"EUR","stock":5}`).is(201).text("id")
	empty := b.cart("", 0)
	shipped := b.order(f.product, 1)
	b.send("POST", "/v1/orders/"+shipped+"/ship", `{}`).is(200)
	closed := b.cart(f.product, 1)
	b.send("POST", "/v1/carts/"+closed+"/submit", address).is(200)
	item := func(product string, quantity int) string {
		return fmt.Sprintf(`{"product_id":%q,"quantity":%d}`, product, quantity)
	}
	tests := map[string]struct {
		method, path, body string
		status             int
		slug               string
	}{
		"sku":                {"POST", "/v1/products", `{"sku":"A","name":"new","price":"1"}`, 409, "duplicate-sku"},
		"name":               {"POST", "/v1/products", `{"sku":"new","name":"Product A","price":"1"}`, 409, "duplicate-name"},
		"sku before name":    {"POST", "/v1/products", `{"sku":"A","name":"Product GONE","price":"1"}`, 409, "duplicate-sku"},
		"stock":              {"POST", "/v1/carts/{cart}/items", item(f.product, 1000), 409, "insufficient-stock"},
		"currency":           {"POST", "/v1/carts/{cart}/items", item(euro, 1), 409, "currency-mismatch"},
		"discontinued":       {"POST", "/v1/carts/{cart}/items", item(gone, 1), 409, "product-discontinued"},
		"change of gone":     {"PATCH", "/v1/products/" + gone, `{"price":"2"}`, 409, "product-discontinued"},
		"receipt of gone":    {"POST", "/v1/products/" + gone + "/stock-receipts", `{"quantity":1}`, 409, "product-discontinued"},
		"in use":             {"DELETE", "/v1/products/{product}", "", 409, "product-in-use"},
		"empty":              {"POST", "/v1/carts/" + empty + "/submit", address, 409, "cart-empty"},
		"closed":             {"POST", "/v1/carts/" + closed + "/items", item(f.product, 1), 409, "cart-closed"},
		"shipped":            {"POST", "/v1/orders/" + shipped + "/cancel", `{}`, 409, "order-closed"},
		"no product":         {"PATCH", "/v1/products/{none}", `{"price":"2"}`, 404, "not-found"},
		"no UUID":            {"PATCH", "/v1/products/x", `{"price":"2"}`, 404, "not-found"},
		"a cart's id":        {"PATCH", "/v1/products/{cart}", `{"price":"2"}`, 404, "not-found"},
		"no cart":            {"POST", "/v1/carts/{none}/items", item(f.product, 1), 404, "not-found"},
		"no product to add":  {"POST", "/v1/carts/{cart}/items", item("018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f", 1), 404, "not-found"},
		"no item":            {"PATCH", "/v1/carts/{cart}/items/" + gone, `{"quantity":1}`, 404, "not-found"},
		"item without UUID":  {"DELETE", "/v1/carts/{cart}/items/x", "", 404, "not-found"},
		"no order":           {"POST", "/v1/orders/{none}/ship", `{}`, 404, "not-found"},
		"get no product":     {"GET", "/v1/products/{none}", "", 404, "not-found"},
		"get no UUID":        {"GET", "/v1/carts/x", "", 404, "not-found"},
		"get an order":       {"GET", "/v1/orders/{cart}", "", 404, "not-found"},
		"no event":           {"GET", "/v1/events/100000", "", 404, "not-found"},
		"event 0":            {"GET", "/v1/events/0", "", 404, "not-found"},
		"event x":            {"GET", "/v1/events/x", "", 404, "not-found"},
		"no stream":          {"GET", "/v1/streams/product/{none}", "", 404, "not-found"},
		"another type":       {"GET", "/v1/streams/cart/{product}", "", 404, "not-found"},
		"an unknown type":    {"GET", "/v1/streams/spaceship/{product}", "", 404, "not-found"},
		"type not UTF-8":     {"GET", "/v1/streams/%ff/{product}", "", 404, "not-found"},
		"type with a NUL":    {"GET", "/v1/streams/%00/{product}", "", 404, "not-found"},
		"state of no UTF-8":  {"GET", "/v1/streams/%ff/{product}/state", "", 404, "not-found"},
		"no such version":    {"GET", "/v1/streams/product/{product}/state?at_version=999", "", 404, "not-found"},
		"before it was":      {"GET", "/v1/streams/product/{product}/state?at=2001-01-01T00:00:00Z", "", 404, "not-found"},
		"before all times":   {"GET", "/v1/streams/product/{product}/state?at=0001-01-01T00:00:00Z", "", 404, "not-found"},
		"no projection":      {"POST", "/v1/projections/none/pause", "", 404, "not-found"},
		"no failure":         {"POST", "/v1/projections/audit_log/failures/1/retry", "", 404, "not-found"},
		"failure x":          {"POST", "/v1/projections/audit_log/failures/x/retry", "", 404, "not-found"},
		"failures of none":   {"GET", "/v1/projections/none/failures", "", 404, "not-found"},
		"no path":            {"GET", "/v1/spaceships", "", 404, "not-found"},
		"root":               {"GET", "/", "", 404, "not-found"},
		"trailing slash":     {"GET", "/v1/products/", "", 404, "not-found"},
		"doubled slash":      {"GET", "//v1/products", "", 404, "not-found"},
		"deeper":             {"GET", "/v1/products/{product}/x", "", 404, "not-found"},
		"prefix of a path":   {"GET", "/v1/productsx", "", 404, "not-found"},
		"no problem type":    {"GET", "/problems/none", "", 404, "not-found"},
		"method":             {"PUT", "/v1/products", goodProduct, 405, "method-not-allowed"},
		"method of a path":   {"POST", "/v1/products/{product}", `{}`, 405, "method-not-allowed"},
		"method of health":   {"POST", "/healthz", "", 405, "method-not-allowed"},
		"invented method":    {"SPLIT", "/v1/carts", "", 405, "method-not-allowed"},
		"fractional failure": {"POST", "/v1/projections/audit_log/failures/1.5/skip", `{"reason":"x"}`, 404, "not-found"},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b.send(test.method, f.in(test.path), f.in(test.body)).problem(test.status, test.slug)
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	head := b.head()
	for name, test := range map[string]struct {
		body    string
		headers []string
		status  int
		slug    string
	}{
		"text":            {goodProduct, []string{"Content-Type: text/plain"}, 415, "unsupported-media-type"},
		"form":            {"sku=Z", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "unsupported-media-type"},
		"missing":         {goodProduct, []string{"Content-Type: -"}, 415, "unsupported-media-type"},
		"charset":         {goodProduct, []string{"Content-Type: application/json; charset=latin1"}, 415, "unsupported-media-type"},
		"other JSON":      {goodProduct, []string{"Content-Type: application/problem+json"}, 415, "unsupported-media-type"},
		"nonsense":        {goodProduct, []string{"Content-Type: ;;"}, 415, "unsupported-media-type"},
		"compressed":      {goodProduct, []string{"Content-Encoding: gzip"}, 415, "unsupported-media-type"},
		"text and broken": {`{`, []string{"Content-Type: text/plain"}, 415, "unsupported-media-type"},
		"accept HTML":     {goodProduct, []string{"Accept: text/html"}, 406, "not-acceptable"},
		"accept nonsense": {goodProduct, []string{"Accept: nonsense"}, 406, "not-acceptable"},
	} {
		t.Run(name, func(t *testing.T) {
			b.send("POST", "/v1/products", test.body, test.headers...).problem(test.status, test.slug)
		})
	}
	for _, path := range []string{"/v1/events", "/v1/audit-log", "/v1/products", "/healthz", "/docs", "/openapi.yaml"} {
		b.send("GET", path, "", "Accept: image/png").problem(406, "not-acceptable")
	}
	if b.head() != head {
		t.Error("something was written")
	}
	b.send("POST", "/v1/products", goodProduct, "Content-Type: application/json; charset=UTF-8", "Content-Encoding: identity").is(201)
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	fill := func(size int) string {
		const frame = `{"customer_id":""}`
		return `{"customer_id":"` + strings.Repeat("x", size-len(frame)) + `"}`
	}
	head := b.head()
	b.send("POST", "/v1/carts", fill(1<<20)).problem(422, "validation-failed")
	b.send("POST", "/v1/carts", fill(1<<20+1)).problem(413, "payload-too-large")
	for size, status := range map[int]int{1 << 20: 422, 1<<20 + 1: 413, 3 << 20: 413} {
		// Without a length the body goes out in chunks.
		r, err := http.NewRequest("POST", b.url+"/v1/carts", io.MultiReader(bytes.NewBufferString(fill(size))))
		check(t, err)
		r.Header.Set("Content-Type", "application/json")
		if got := b.do(r); got.status != status {
			t.Errorf("%d bytes in chunks: %d", size, got.status)
		}
	}
	r, err := http.NewRequest("DELETE", b.url+"/v1/products/"+"018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f", io.MultiReader(strings.NewReader("")))
	check(t, err)
	if got := b.do(r); got.status != 404 {
		t.Errorf("an empty body in chunks: %d %s", got.status, got.body)
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

func TestMethodsOfPaths(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	const allow = "GET, HEAD, OPTIONS, POST"
	if got := b.send("PUT", "/v1/products", goodProduct).problem(405, "method-not-allowed"); got["instance"] != "/v1/products" {
		t.Error(got)
	}
	if got := b.send("PUT", "/v1/products", goodProduct).header.Get("Allow"); got != allow {
		t.Error(got)
	}
	options := b.send("OPTIONS", "/v1/products", "").is(204)
	if options.header.Get("Allow") != allow || options.header.Get("X-Request-Id") == "" {
		t.Error(options.header)
	}
	get, head := b.send("GET", "/healthz", "").is(200), b.send("HEAD", "/healthz", "").is(200)
	if len(head.body) != 0 || head.header.Get("Content-Length") != fmt.Sprint(len(get.body)) {
		t.Errorf("%v %q", head.header, head.body)
	}
	if missing := b.send("HEAD", "/v1/nothing", "").is(404); len(missing.body) != 0 {
		t.Errorf("%q", missing.body)
	}
}

func TestOtherSitesPagesAreRefused(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.send("POST", "/v1/projections/audit_log/pause", "", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example").problem(403, "forbidden")
	b.send("POST", "/v1/carts", `{}`, "Origin: https://evil.example").problem(403, "forbidden")
	b.send("POST", "/v1/carts", `{}`, "Origin: "+b.url).is(201)
	b.send("GET", "/healthz", "", "Sec-Fetch-Site: cross-site").is(200)
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	for name, test := range map[string]struct {
		sent []string
		kept bool
	}{
		"taken": {[]string{"a-b_c.1"}, true}, "missing": {nil, false}, "empty": {[]string{""}, false},
		"space": {[]string{"a b"}, false}, "long": {[]string{strings.Repeat("x", 129)}, false}, "twice": {[]string{"a", "b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			for _, id := range test.sent {
				headers = append(headers, "X-Request-Id: "+id)
			}
			for _, path := range []string{"/healthz", "/nothing", "/v1/products?x=1"} {
				got := b.send("GET", path, "", headers...).header.Get("X-Request-Id")
				if test.kept && got != test.sent[0] || !test.kept && (len(got) != 36 || slices.Contains(test.sent, got)) {
					t.Errorf("%s: %q", path, got)
				}
			}
		})
	}
}
