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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/eventstore/secretfile"
	"annals/eventstore/subjectkeys"
)

// Texts about persons, which can be found wherever they come to be.
var persons = map[string][]string{
	"customer c-7":            {"Zaunweg 7", "Hinterhaus 7", "Siebenstadt", "Siebenland", "70007"},
	"order":                   {"Unbekanntgasse 9", "Neunkirch", "90009"},
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
	p.withNone = submit(`{}`, `{"street_line_1":"Unbekanntgasse 9","city":"Neunkirch","postal_code":"90009","country":"AT"}`)
	p.ids["/v1/orders/"] = submit(`{"customer_id":"c-7"}`, `{"street_line_1":"Zaunweg 7","street_line_2":"Hinterhaus 7",`+
		`"city":"Siebenstadt","state":"Siebenland","postal_code":"70007","country":"DE"}`)
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

// Given persons in events; when they are erased, the next answer of every node, and everything that is in the database,
// is without them. What is in the database was without them before, and logs never say a word.
func TestErasedEverywhere(t *testing.T) {
	t.Parallel()
	receiver := newInbox(t)
	p := people(t, receiver.URL)
	before := p.shown()
	for person, texts := range persons {
		if missing := len(texts) - len(named(before, texts)); missing > 0 {
			t.Errorf("%d texts of %s aren't shown to begin with", missing, person)
		}
		if found := named(dumped(t, p.db)+p.logs(), texts); found != nil {
			t.Errorf("before the erasure the database or the log of a node holds %q", found)
		}
	}
	if found := named(receiver.seen(), persons["customer c-7"]); len(found) != 5 {
		t.Errorf("the receiver was only sent %q", found)
	}
	for person := range persons {
		kind, reference, hasReference := strings.Cut(person, " ")
		if !hasReference {
			reference = p.withNone
		}
		annals(t, append(p.database, "subjects", "erase", "--client", shop, "--kind", kind, "--subject", reference,
			"--reason", "asked to", "--yes")...).exits(0).prints("erased " + kind)
	}
	p.head = p.callers[0].head()
	receiver.open.Store(true)
	shown := p.shown() + <-receiver.took + <-receiver.took
	if strings.Contains(before+shown+receiver.seen(), "annals:sealed:") {
		t.Error("something is shown sealed")
	}
	after := shown + dumped(t, p.db) + p.logs()
	for person, texts := range persons {
		if found := named(after, texts); found != nil {
			t.Errorf("after the erasure of %s: %q", person, found)
		}
	}
	for _, want := range []string{`"city":"[erased]"`, `"customer_name":"[erased]"`, `"inspector":"[erased]"`, `"country":"DE"`, "subject.erased"} {
		if !strings.Contains(after, want) {
			t.Errorf("nothing shows %s", want)
		}
	}
	p.goesOn()
}

// goesOn sells to the erased customer again, who then is readable, ships the erased order, and replays the answer of its
// making.
func (p *peopled) goesOn() {
	p.t.Helper()
	c := p.callers[1]
	cart := c.send("POST", "/v1/carts", `{"customer_id":"c-7"}`).is(201).done().ID
	c.send("POST", "/v1/carts/"+cart+"/items", item(p.ids["/v1/products/"], 1)).is(200)
	again := c.send("POST", "/v1/carts/"+cart+"/submit", `{"shipping_address":{"street_line_1":"Neuweg 8","city":"Acht","postal_code":"8","country":"DE"}}`).is(200).done()
	if body := string(p.callers[0].get("/v1/orders/"+again.OrderID, again.Position).is(200).body); !strings.Contains(body, "Neuweg 8") {
		p.t.Errorf("a later order: %s", body)
	}
	shipped := c.send("POST", "/v1/orders/"+p.ids["/v1/orders/"]+"/ship", `{}`, "Prefer: return=representation").is(200)
	if !strings.Contains(string(shipped.body), `"street_line_1":"[erased]"`) {
		p.t.Errorf("the shipped order: %s", shipped.body)
	}
}

func (p *peopled) subjects(verb string, more ...string) *program {
	p.t.Helper()
	line := append([]string{"subjects", verb, "--client", shop, "--kind", "inspector", "--subject", "Inga Sieben"}, more...)
	return annals(p.t, append(line, p.database...)...)
}

// A hold keeps a subject readable until it is released. Each is on record once, with its reason and without a name.
func TestHoldBlocksErasure(t *testing.T) {
	t.Parallel()
	p := people(t, newInbox(t).URL)
	p.subjects("hold", "--reason", "case 7").exits(0).prints("is held")
	p.subjects("hold", "--reason", "case 7").exits(0)
	p.subjects("erase", "--reason", "asked to", "--yes").exits(exitFailed).says("a legal hold is in force")
	p.subjects("show").exits(0).prints("held", "Inga Sieben")
	if body := string(p.callers[1].send("GET", "/v1/quality-inspections", "").is(200).body); !strings.Contains(body, "Inga Sieben") {
		t.Errorf("on hold: %s", body)
	}
	p.subjects("release", "--reason", "case 7 is closed").exits(0)
	p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("erased inspector")
	p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("was erased already")
	p.subjects("show").exits(0).prints("erased")
	export := annals(t, append(p.database, "events", "export", "--aggregate-type", "subject")...).exits(0).stdout.String()
	var types []string
	for line := range strings.Lines(export) {
		var e struct {
			EventType string         `json:"event_type"`
			ClientID  string         `json:"client_id"`
			Data      map[string]any `json:"data"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ClientID != shop || e.Data["reason"] == "" {
			t.Errorf("on record: %s %v", line, err)
		}
		types = append(types, e.EventType)
	}
	if want := []string{"subject.hold_placed", "subject.hold_released", "subject.erased"}; !slices.Equal(types, want) || strings.Contains(export, "Inga") {
		t.Errorf("on record are %v: %s", types, export)
	}
}

// Given an erasure that ended between its steps; when it is run again, it gives exactly one receipt.
func TestErasureIsCompleted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ receipted bool }{"without a receipt": {false}, "with one that isn't noted": {true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := people(t, newInbox(t).URL)
			keys := p.keys()
			subject := domain.Subject{Kind: "inspector", Reference: "Inga Sieben"}
			if _, err := keys.Erase(t.Context(), shop, subject); err != nil {
				t.Fatal(err)
			}
			p.subjects("show").exits(0).prints("receipt missing")
			if c.receipted {
				p.subjects("erase", "--reason", "asked to", "--yes").exits(0)
				p.db.MustExec(`UPDATE annals_keys.keys SET receipt_position = NULL`)
			}
			p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("erased inspector", "the receipt is event")
			p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("erased already")
			var receipts int
			if err := p.db.Get(&receipts, `SELECT count(*) FROM annals.events WHERE event_type = 'subject.erased'`); err != nil || receipts != 1 {
				t.Errorf("%d receipts, %v", receipts, err)
			}
		})
	}
}

// keys opens the keys as the servers do.
func (p *peopled) keys() *subjectkeys.Keys {
	p.t.Helper()
	secret, err := secretfile.Source{File: lookupEnv("ANNALS_SUBJECT_KEYS_FILE")}.Read(false)
	if err != nil {
		p.t.Fatal(err)
	}
	keys, err := subjectkeys.Open(p.t.Context(), p.db.DSN, subjectkeys.Secret{Text: secret.Text, Random: secret.Random})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { keys.Close() })
	return keys
}

// The keys can be in another database and under a passphrase. A server with another one doesn't start, and tools show what
// they can't open sealed.
func TestKeysApart(t *testing.T) {
	t.Parallel()
	log, keys := pgtest.New(t), pgtest.NewEmpty(t)
	database := []string{"--database-url", log.DSN}
	apart := append(database, "--subject-keys-url", keys.DSN, "--subject-keys-passphrase")
	server := serveHere(t, append(apart, "correct horse")...)
	c := server.caller(shop)
	order := c.send("POST", "/v1/work-orders", `{"number":"WO-1","product_code":"P","customer_name":"Sieben AG",`+
		`"quantity_ordered":5,"received_on":"2026-01-05","due_on":"2026-01-30"}`).is(201).done().ID
	if body := string(c.send("GET", "/v1/work-orders/"+order, "").is(200).body); !strings.Contains(body, "Sieben AG") {
		t.Errorf("with the keys: %s", body)
	}
	var made int
	if err := log.Get(&made, `SELECT count(*) FROM annals_keys.keys`); err != nil || made != 0 {
		t.Errorf("the log's database has %d keys, %v", made, err)
	}
	annals(t, append(apart, "battery staple", "serve", "--addr", "127.0.0.1:0")...).exits(exitFailed).says("another passphrase or key file")
	wrong := annals(t, append(apart, "battery staple", "events", "export", "--client", shop)...).exits(0).says("shown sealed").prints("annals:sealed:1:")
	if strings.Contains(wrong.stdout.String(), "Sieben") {
		t.Errorf("with a wrong passphrase: %s", wrong.stdout)
	}
	annals(t, append(apart, "correct horse", "events", "export", "--client", shop)...).exits(0).prints("Sieben AG")
	annals(t, append(database, "subjects", "list")...).exits(exitFailed).says("no personal text has been recorded yet")
	annals(t, append(apart, "correct horse", "subjects", "list")...).exits(0).prints("Sieben AG", "customer_name")
	annals(t, append(apart, "correct horse", "serve", "--print-config")...).exits(0).prints("subject-keys-passphrase=xxxxx")
}
