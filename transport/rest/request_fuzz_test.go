package rest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"annals/transport/rest"
)

// fuzzedHeaders are the headers that the fuzzer may send. Annals-Min-Position waits for what never comes, which has tests
// of its own.
var fuzzedHeaders = []string{
	"Accept", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Prefer", "Annals-Client", "Annals-Actor", "Authorization",
	"Last-Event-ID", "Traceparent", "X-Request-Id", "Origin", "Sec-Fetch-Site",
}

// FuzzRequest sends anything to a whole server over a real database. The answer is never the server's failure, and a refusal
// is always a problem.
func FuzzRequest(f *testing.F) {
	b := newServer(f)
	product := b.product("FUZZ", 5)
	b.config.Metrics = prometheus.NewRegistry()
	handler, err := rest.New(f.Context(), b.config)
	check(f, err)
	for _, seed := range []struct{ method, target, header, body string }{
		{"POST", "/v1/products", "Content-Type: application/json", `{"sku":"A","name":"B","price":"1.00","stock":1}`},
		{"GET", "/v1/products?limit=2&q=a&include=discontinued", "Accept: application/json", ""},
		{"PATCH", "/v1/products/" + product, `If-Match: "1"`, `{"price":"2"}`},
		{"POST", "/v1/carts", "Prefer: return=representation", `{}`},
		{"POST", "/v1/products/" + product + "/stock-receipts", "Idempotency-Key: k", `{"quantity":1}`},
		{"GET", "/v1/events?after=0&event_type=product.registered", "Accept: application/x-ndjson", ""},
		{"GET", "/v1/events", "Last-Event-ID: 1", ""},
		{"GET", "/v1/audit-log?from=2026-01-01T00:00:00Z", "Accept: text/csv", ""},
		{"GET", "/v1/streams/product/" + product + "/state?at_version=1", "Annals-Client: *", ""},
		{"GET", "/v1/kpis?from=2026-01-01&to=2026-01-31&group_by=week", "", ""},
		{"PUT", "/v1/kpi-thresholds/ppm?line=L", "", `{"direction":"max","limit":"2","period":"day"}`},
		{"POST", "/v1/work-orders", "", `{"number":"W","product_code":"P","quantity_ordered":5,"received_on":"2026-01-05","due_on":"2026-01-30"}`},
		{"POST", "/v1/webhooks", "", `{"url":"http://127.0.0.1:1/","event_types":["order.created"],"secret":"0123456789abcdef0123456789abcdef"}`},
		{"GET", "/v1/audit-log/rows?table=products.products&key=" + product, "", ""},
		{"DELETE", "/v1/../v1//products/%2e%2e", "Origin: https://evil", ""},
	} {
		f.Add(seed.method, seed.target, seed.header, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return // net/http refuses it
		}
		r, err := http.NewRequestWithContext(ctx, method, "http://localhost/", strings.NewReader(string(body)))
		if err != nil {
			return
		}
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI = u.Path, u.RawPath, u.RawQuery, target
		r.Header.Set("Content-Type", "application/json")
		for line := range strings.Lines(headers) {
			name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
			if slices.Contains(fuzzedHeaders, name) && !strings.ContainsAny(value, "\r\x00") {
				r.Header[http.CanonicalHeaderKey(name)] = []string{value}
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if ctx.Err() != nil {
			return // a stream that tails, ended by its reader
		}
		res := w.Result()
		if res.StatusCode >= 500 || res.Header.Get("X-Request-Id") == "" {
			t.Fatalf("%s %s: status %d: %s", method, target, res.StatusCode, w.Body)
		}
		if res.StatusCode < 400 || method == http.MethodHead {
			return
		}
		var p struct{ Type, Title, Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || res.Header.Get("Content-Type") != "application/problem+json" ||
			!strings.HasPrefix(p.Type, "/problems/") || p.Title == "" || p.Detail == "" {
			t.Fatalf("%s %s: status %d without a problem: %s", method, target, res.StatusCode, w.Body)
		}
		if strings.Contains(p.Detail, "pq:") || strings.Contains(p.Detail, "SQL") {
			t.Fatalf("%s %s: %s", method, target, p.Detail)
		}
	})
}
