package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"annals/eventstore"
	"annals/transport/rest"
)

func TestEventsAsPages(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"name":"B","price":"2"}`, "Annals-Actor: jane").is(200)
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: other").is(201)
	first := b.send("GET", "/v1/events?limit=2", "").is(200)
	if len(items(first)) != 2 || first.number("next_after") != 2 || first.number("head") != 4 {
		t.Errorf("%s", first.body)
	}
	rest := b.send("GET", "/v1/events?after=2", "").is(200)
	if len(items(rest)) != 1 || rest.number("next_after") != 4 {
		t.Errorf("%s", rest.body)
	}
	wantMembers(t, items(rest)[0], "position", "event_id", "event_type", "schema_version", "aggregate_type", "aggregate_id",
		"aggregate_version", "client_id", "actor_id", "occurred_at", "recorded_at", "correlation_id", "causation_id",
		"request_id", "data")
	for path, want := range map[string]int{
		"/v1/events?event_type=product.renamed,product.price_changed": 2, "/v1/events?aggregate_type=cart": 0,
		"/v1/events?aggregate_id=" + id: 3, "/v1/events?actor_id=jane": 2, "/v1/events?from=2126-01-01T00:00:00Z": 0,
		"/v1/events?to=2126-01-01T00:00:00Z": 3, "/v1/events?after=4": 0, "/v1/events?after=9223372036854775807": 0,
	} {
		if got := len(items(b.send("GET", path, ""))); got != want {
			t.Errorf("%s: %d events, want %d", path, got, want)
		}
	}
	if got := items(b.send("GET", "/v1/events", "", "Annals-Client: *")); len(got) != 4 {
		t.Errorf("%d events of all clients", len(got))
	}
	page := b.send("GET", "/v1/streams/product/"+id+"?limit=2", "").is(200)
	last := b.send("GET", "/v1/streams/product/"+id+"?limit=1&cursor="+page.text("next_cursor"), "").is(200)
	if len(items(page)) != 2 || len(items(last)) != 1 || last.json()["next_cursor"] != nil {
		t.Errorf("%s %s", page.body, last.body)
	}
}

func TestEventsAsLines(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 0)
	for range 620 { // more than a page of the log and of a stream
		b.send("POST", "/v1/products/"+id+"/stock-receipts", `{"quantity":1,"reason":"`+strings.Repeat("r", 200)+`"}`).is(200)
	}
	const ndjson = "Accept: application/x-ndjson"
	for path, want := range map[string]int{
		"/v1/events": 621, "/v1/events?after=600": 21, "/v1/events?limit=5": 5, "/v1/events?event_type=product.registered": 1,
		"/v1/events?after=621": 0, "/v1/streams/product/" + id: 621, "/v1/streams/product/" + id + "?limit=501": -1,
		"/v1/streams/product/" + id + "?limit=7": 7,
	} {
		r := b.send("GET", path, "", ndjson)
		if want < 0 {
			r.problem(400, "malformed-request")
			continue
		}
		r.is(200)
		if got := r.header.Get("Content-Type"); got != "application/x-ndjson" {
			t.Errorf("%s: %s", path, got)
		}
		var before float64
		lines := 0
		for scan := bufio.NewScanner(bytes.NewReader(r.body)); scan.Scan(); lines++ {
			var e map[string]any
			check(t, json.Unmarshal(scan.Bytes(), &e))
			if at := e["position"].(float64); at <= before {
				t.Fatalf("%s: position %v after %v", path, at, before)
			} else {
				before = at
			}
		}
		if lines != want {
			t.Errorf("%s: %d lines, want %d", path, lines, want)
		}
	}
	b.send("GET", "/v1/streams/product/018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f", "", ndjson).problem(404, "not-found")
	if head := b.send("HEAD", "/v1/events", "", ndjson).is(200); len(head.body) != 0 {
		t.Error("HEAD has a body")
	}
	b.send("GET", "/v1/events", "", "Accept: text/csv").problem(406, "not-acceptable")
}

// brokenLog gives some events and then fails.
type brokenLog struct{ rest.Events }

func (l brokenLog) Scan(
	ctx context.Context, f eventstore.EventFilter, after, upTo int64, each func(eventstore.Envelope) error,
) error {
	for range 200 {
		if err := l.Events.Scan(ctx, f, after, upTo, each); err != nil {
			return err
		}
	}
	return errors.New("the disk is gone")
}

// An export that fails on its way is cut off, so that nobody takes it for a whole one.
func TestFailedStreamIsCutOff(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.Events = brokenLog{b.config.Events} })
	b.product("A", 1)
	r, err := http.NewRequest("GET", b.url+"/v1/events", nil)
	check(t, err)
	r.Header.Set("Accept", "application/x-ndjson")
	response, err := http.DefaultTransport.RoundTrip(r)
	check(t, err)
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err == nil || body.Len() == 0 {
		t.Errorf("%d bytes, error %v", body.Len(), err)
	}
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"name":"B","price":"2"}`, "Annals-Actor: jane", "X-Request-Id: r-2").is(200)
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: other").is(201)
	all := b.send("GET", "/v1/audit-log", "").is(200)
	if len(items(all)) != 3 || all.json()["next_cursor"] != nil || all.header.Get("Annals-Position") == "" {
		t.Errorf("%s", all.body)
	}
	wantMembers(t, items(all)[0], "event_type", "event_id", "occurred_at", "actor_id", "aggregate_type", "aggregate_id",
		"event_data", "position", "client_id", "recorded_at", "correlation_id", "causation_id", "request_id")
	now := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	for query, want := range map[string]int{
		"actor_id=jane": 2, "actor_id=joe": 0, "event_type=product.registered": 1, "aggregate_type=product": 3,
		"event_type=product.registered,product.renamed": 2,
		"aggregate_id=" + id:                            3, "correlation_id=r-2": 2, "from=" + now: 0, "to=" + now: 3, "aggregate_type=cart": 0,
	} {
		if got := len(items(b.send("GET", "/v1/audit-log?"+query, ""))); got != want {
			t.Errorf("%s: %d rows, want %d", query, got, want)
		}
	}
	page := b.send("GET", "/v1/audit-log?limit=2&aggregate_id="+id, "").is(200)
	next := page.text("next_cursor")
	if got := items(b.send("GET", "/v1/audit-log?aggregate_id="+id+"&cursor="+next, "")); len(got) != 1 || got[0]["position"] != 3.0 {
		t.Error(got)
	}
	for _, filters := range []string{
		"", "actor_id=jane", "event_type=product.renamed", "aggregate_type=product", "correlation_id=r-2", "from=" + now, "to=" + now,
	} { // none of them is the cursor's, and a further one isn't either
		b.send("GET", "/v1/audit-log?"+filters+"&cursor="+next, "").problem(400, "malformed-request")
		if filters != "" {
			b.send("GET", "/v1/audit-log?aggregate_id="+id+"&"+filters+"&cursor="+next, "").problem(400, "malformed-request")
		}
	}
	if got := items(b.send("GET", "/v1/audit-log", "", "Annals-Client: *")); len(got) != 4 {
		t.Error(got)
	}
}
