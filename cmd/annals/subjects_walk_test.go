//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"

	"annals/eventstore/pgtest"
)

// Texts about persons, which can be found wherever they come to be.
var persons = map[string][]string{
	"customer c-7":            {"Zaunweg 7", "Hinterhaus 7", "Siebenstadt", "Siebenland", "ZS7 0QX"},
	"order":                   {"Unbekanntgasse 9", "Neunkirch", "NK9 0QY"},
	"inspector Inga Sieben":   {"Inga Sieben"},
	"customer_name Sieben AG": {"Sieben AG"},
}

// inbox is a receiver of events that refuses them until it is opened.
type inbox struct {
	*httptest.Server
	open atomic.Bool

	mu     sync.Mutex
	bodies []string
	took   chan string // bodies that were taken
}

func newInbox(t *testing.T) *inbox {
	b := &inbox{took: make(chan string, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.bodies = append(b.bodies, string(body))
		b.mu.Unlock()
		if !b.open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b.took <- string(body)
	}))
	t.Cleanup(b.Close)
	return b
}

// seen gives everything that was sent.
func (b *inbox) seen() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.bodies, "\n")
}

// peopled is a log with events about persons, on two nodes.
type peopled struct {
	*nodes
	ids      map[string]string // by the beginning of the routes that show them
	withNone string            // the order that names no customer
	head     int64
}

func people(t *testing.T, receiver string) *peopled {
	t.Helper()
	p := &peopled{nodes: twoNodes(t, "--webhook-retry", "50ms", "--webhook-attempts", "1000"), ids: map[string]string{}}
	c := p.callers[0]
	p.ids["/v1/webhooks/"] = c.send("POST", "/v1/webhooks", fmt.Sprintf(
		`{"url":%q,"event_types":["order.created"],"secret":"s"}`, receiver)).is(201).done().ID
	product := c.send("POST", "/v1/products", registration("P", 50)).is(201).done().ID
	p.ids["/v1/products/"] = product
	submit := func(customer, address string) string {
		cart := c.send("POST", "/v1/carts", customer).is(201).done().ID
		p.ids["/v1/carts/"] = cart
		c.send("POST", "/v1/carts/"+cart+"/items", item(product, 1)).is(200)
		return c.send("POST", "/v1/carts/"+cart+"/submit", `{"shipping_address":`+address+`}`, "Idempotency-Key: "+customer).is(200).done().OrderID
	}
	p.withNone = submit(`{}`, `{"street_line_1":"Unbekanntgasse 9","city":"Neunkirch","postal_code":"NK9 0QY","country":"AT"}`)
	p.ids["/v1/orders/"] = submit(`{"customer_id":"c-7"}`, `{"street_line_1":"Zaunweg 7","street_line_2":"Hinterhaus 7",`+
		`"city":"Siebenstadt","state":"Siebenland","postal_code":"ZS7 0QX","country":"DE"}`)
	order := c.send("POST", "/v1/work-orders", `{"number":"WO-1","product_code":"P","customer_name":"Sieben AG",`+
		`"quantity_ordered":5,"received_on":"2026-01-05","due_on":"2026-01-30"}`).is(201).done().ID
	p.ids["/v1/work-orders/"] = order
	c.send("POST", "/v1/work-orders/"+order+"/transitions", `{"to":"released"}`).is(200)
	c.send("POST", "/v1/work-orders/"+order+"/transitions", `{"to":"in_progress"}`).is(200)
	p.ids["/v1/production-entries/"] = c.send("POST", "/v1/production-entries", fmt.Sprintf(`{"work_order_id":%q,"line":"L1",`+
		`"shift":"A","production_date":"2026-01-06","units_produced":5,"run_time_hours":"8","scheduled_hours":"8","employees_assigned":1}`,
		order)).is(201).done().ID
	p.ids["/v1/quality-inspections/"] = c.send("POST", "/v1/quality-inspections", fmt.Sprintf(`{"work_order_id":%q,"stage":"final",`+
		`"units_inspected":2,"units_passed":2,"units_defective":0,"inspector":"Inga Sieben"}`, order)).is(201).done().ID
	p.ids["/v1/holds/"] = c.send("POST", "/v1/holds", fmt.Sprintf(
		`{"work_order_id":%q,"category":"c","reason":"r","quantity":1}`, order)).is(201).done().ID
	p.head = c.head()
	return p
}

// routes are the GET routes of the document with everything that can be asked of them, and the media types they have.
func (p *peopled) routes() (requests [][2]string) {
	p.t.Helper()
	var document struct {
		Paths map[string]struct {
			Get *struct {
				Responses map[string]struct{ Content map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(p.callers[0].send("GET", "/openapi.yaml", "").is(200).body, &document); err != nil {
		p.t.Fatal(err)
	}
	for path, operations := range document.Paths {
		if operations.Get == nil || path == "/metrics" || strings.HasPrefix(path, "/v1/integrity") {
			continue
		}
		for _, filled := range p.fill(path) {
			if strings.Contains(filled, "{") {
				p.t.Errorf("GET %s: say here what can be asked for", filled)
			}
			requests = append(requests, [2]string{filled, "*/*"})
			for media := range operations.Get.Responses["200"].Content {
				requests = append(requests, [2]string{filled, media})
			}
		}
	}
	return requests
}

func (p *peopled) fill(path string) []string {
	switch {
	case path == "/v1/streams/{aggregate_type}/{aggregate_id}" || path == "/v1/streams/{aggregate_type}/{aggregate_id}/state":
		var all []string
		for prefix, aggregate := range map[string]string{
			"/v1/orders/": "order", "/v1/work-orders/": "work_order", "/v1/quality-inspections/": "quality_inspection",
		} {
			filled := strings.NewReplacer("{aggregate_type}", aggregate, "{aggregate_id}", p.ids[prefix]).Replace(path)
			all = append(all, filled)
			if strings.HasSuffix(path, "/state") {
				all = append(all, filled+"?at_version=1", filled+"?at=2100-01-01T00:00:00Z")
			}
		}
		return all
	case strings.HasPrefix(path, "/v1/events/{position}"):
		var all []string
		for position := range p.head {
			all = append(all, strings.Replace(path, "{position}", fmt.Sprint(position+1), 1))
		}
		return all
	case path == "/v1/audit-log/rows":
		return []string{path + "?table=orders&key=" + p.ids["/v1/orders/"], path + "?table=quality_inspections&key=" + p.ids["/v1/quality-inspections/"],
			path + "?table=work_orders&key=" + p.ids["/v1/work-orders/"], path + "?table=audit_log&key=9"}
	case path == "/v1/kpis":
		return []string{path + "?from=2026-01-01&to=2026-12-31"}
	case path == "/v1/orders":
		return []string{path, path + "?customer_id=c-7", path + "/" + p.withNone}
	}
	path = strings.NewReplacer("{kpi}", "ppm", "{name}", "orders", "{slug}", "not-found").Replace(path)
	for prefix, id := range p.ids {
		path = strings.Replace(path, prefix+"{id}", prefix+id, 1)
	}
	return []string{path}
}

// shown asks both nodes for everything and gives it as one text.
func (p *peopled) shown() string {
	p.t.Helper()
	var all bytes.Buffer
	for _, request := range p.routes() {
		for _, c := range p.callers {
			if request[1] == "text/event-stream" {
				all.WriteString(c.stream(request[0], p.head))
				continue
			}
			r := c.get(request[0], p.head, "Accept: "+request[1])
			if r.status >= 500 {
				p.t.Errorf("GET %s as %s: %d %s", request[0], request[1], r.status, r.body)
			}
			all.Write(r.body)
		}
	}
	for _, line := range [][]string{
		{"events", "export"}, {"events", "stream", "order", p.ids["/v1/orders/"]}, {"events", "show", fmt.Sprint(p.head)},
		{"subjects", "list"}, {"subjects", "list", "--output", "json"}, {"replay", "--all", "--dry-run"}, {"check"},
		{"audit", "verify"},
	} {
		done := annals(p.t, append(line, p.database...)...).exits(0)
		all.WriteString(done.stdout.String() + done.stderr.String())
	}
	return all.String()
}

// stream reads server-sent events up to a position.
func (c *caller) stream(path string, upTo int64) string {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Annals-Client", c.client)
	r.Header.Set("Accept", "text/event-stream")
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	var all strings.Builder
	lines := bufio.NewScanner(response.Body)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		var last struct {
			Position int64 `json:"position"`
		}
		data, found := strings.CutPrefix(lines.Text(), "data:")
		if found && json.Unmarshal([]byte(data), &last) == nil && (last.Position >= upTo || strings.Contains(path, "/v1/streams/")) {
			break
		}
	}
	return all.String()
}

// dumped gives every row of every table as one text.
func dumped(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	var tables []string
	if err := db.Select(&tables, `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, table := range tables {
		var rows string
		if err := db.Get(&rows, `SELECT coalesce(string_agg(t::text, E'\n'), '') FROM `+table+` t`); err != nil {
			t.Fatal(err)
		}
		all.WriteString(rows)
	}
	if !strings.Contains(all.String(), "order.created") || !strings.Contains(all.String(), "annals:sealed:1:") {
		t.Error("the dump isn't one")
	}
	return all.String()
}

// named lists which of a person's texts, or their bytes, are in a text.
func named(text string, wanted []string) (found []string) {
	for _, w := range wanted {
		if strings.Contains(text, w) || strings.Contains(text, hex.EncodeToString([]byte(w))) {
			found = append(found, w)
		}
	}
	return found
}

func (p *peopled) logs() string { return p.servers[0].stderr.String() + p.servers[1].stderr.String() }
