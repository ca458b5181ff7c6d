package rest_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"annals/projections/products"
	"annals/projections/sealer"
)

// sharedOperations show or change what belongs to no client. They must not show data of one all the same.
var sharedOperations = []struct{ prefix, why string }{
	{"/v1/event-types", "what events there can be"},
	{"/v1/projections", "the subscribers of all clients, for whoever runs the installation; a failure names the event by its id"},
	{"/v1/integrity", "hashes over the whole log, which tell nothing of what they were made of"},
}

func shared(path string) bool {
	for _, s := range sharedOperations {
		if strings.HasPrefix(path, s.prefix) {
			return true
		}
	}
	return false
}

// walk sends what one client could know of another, or guess, to every operation of the document.
type walk struct {
	*contract
	victim   *world            // with a fixture for every operation
	intruder *bench            // the same server, as another client
	values   map[string]string // of the victim, by query parameter
	marks    []string          // of the victim, which the intruder must never see
	cursors  int
	keys     int
}

const (
	victimActor   = "alice-of-alpha"
	intruderActor = "bob-of-beta"
)

func newWalk(t *testing.T) *walk {
	t.Helper()
	b := newServerWith(t, append(readModels(), broken{products.New()}, sealer.New()), allPolicies, sealed, guarded)
	victim, intruder := *b, *b
	victim.always = []string{b.key("alpha", "admin", victimActor)}
	intruder.always = []string{b.key("beta", "admin", intruderActor)}
	b.closed()
	return &walk{contract: readContract(t), victim: &world{bench: &victim}, intruder: &intruder}
}

// look reads the victim's values from the log, for the requests of the intruder, and the marks to look for.
func (w *walk) look() {
	w.t.Helper()
	one := func(query string) (value string) {
		w.t.Helper()
		check(w.t, w.victim.db.Get(&value, query))
		return value
	}
	order := `SELECT aggregate_id FROM annals.events WHERE client_id = 'alpha' AND aggregate_type = 'work_order' LIMIT 1`
	w.values = map[string]string{
		"customer_id": "c-1", "sku": "FIX-1", "q": "FIX", "actor_id": victimActor, "number": one(
			`SELECT data->>'number' FROM annals.events WHERE client_id = 'alpha' AND event_type = 'work_order.created' LIMIT 1`),
		"aggregate_id":   one(`SELECT aggregate_id FROM annals.events WHERE client_id = 'alpha' LIMIT 1`),
		"correlation_id": one(`SELECT correlation_id FROM annals.events WHERE client_id = 'alpha' LIMIT 1`),
		"work_order_id":  one(order), "after": "0", "include": "discontinued", "table": "products",
	}
	check(w.t, w.victim.db.Select(&w.marks, `
		SELECT DISTINCT v FROM annals.events, unnest(ARRAY[aggregate_id::text, event_id::text, correlation_id]) v WHERE client_id = 'alpha'`))
	w.marks = append(w.marks, victimActor, `"alpha"`, ",alpha,", "FIX-")
}

// clean wants an answer to show nothing of the victim, besides what the intruder itself sent.
func (w *walk) clean(o operation, r *reply, sent ...string) *reply {
	w.t.Helper()
	headers, err := json.Marshal(r.header)
	check(w.t, err)
	text := string(r.body) + string(headers)
	for _, mark := range w.marks {
		known := strings.Contains(r.request, mark) || slices.Contains(sent, mark) ||
			strings.HasPrefix(o.path, "/v1/projections") && len(mark) == 36
		if !known && strings.Contains(text, mark) {
			w.t.Errorf("%s: the answer to %s shows %s of the other client: %s", o.id, r.request, mark, r.body)
		}
	}
	if r.status >= 500 || r.header.Get("Idempotency-Replayed") != "" {
		w.t.Errorf("%s: %s: status %d, %v", o.id, r.request, r.status, r.header)
	}
	return r
}

// foreign reports whether a request of the operation names something that only the victim has.
func (o operation) foreign() bool {
	path := o.parameters("path")
	for _, name := range []string{"id", "product_id", "aggregate_id", "event_id", "position"} {
		if _, ok := path[name]; ok {
			return true
		}
	}
	return false
}

// empty wants an answer without items, or with items of the intruder alone.
func (w *walk) empty(o operation, r *reply) {
	w.t.Helper()
	w.clean(o, r)
	if r.status == 404 || shared(o.path) {
		return
	}
	media, _, _ := strings.Cut(r.is(200).header.Get("Content-Type"), ";")
	var found []map[string]any
	switch media {
	case "application/json":
		if r.json()["items"] != nil {
			found = items(r)
		}
	case "application/cloudevents-batch+json":
		check(w.t, json.Unmarshal(r.body, &found))
	case "application/x-ndjson":
		for line := range bytes.Lines(r.body) {
			var item map[string]any
			check(w.t, json.Unmarshal(line, &item))
			found = append(found, item)
		}
	case "text/event-stream", "text/csv":
		return // held against the marks, and in which columns the client stands is not known here
	default:
		w.t.Errorf("%s answers with %s", o.id, media)
	}
	for _, item := range found {
		if item["actor_id"] != intruderActor && item["actorid"] != intruderActor && item["actor"] != intruderActor {
			w.t.Errorf("%s: %s shows what isn't the intruder's: %v", o.id, r.request, item)
		}
	}
}

// at are the headers of the intruder: it knows the victim's position.
func (w *walk) at() string { return w.victim.at() }

// intrude sends a request of the operation as the intruder.
func (w *walk) intrude(o operation, fixture map[string]string, query, body string, headers ...string) *reply {
	w.t.Helper()
	return o.send(w.intruder, fixture, query, body, append([]string{"Annals-Client: beta", "X-Request-Id: intruder"}, headers...)...)
}

// queries sends every form of a GET, with each parameter at the victim's value.
func (w *walk) queries(o operation, fixture map[string]string) {
	w.t.Helper()
	requests := []string{""}
	for name, example := range o.parameters("query") {
		requests = append(requests, "?"+name+"="+url.QueryEscape(or(w.values[name], example)))
	}
	cursor := ""
	if _, pages := o.at("paths", o.path, "get", "parameters"); pages != "" && o.takes("cursor") {
		first := o.send(w.victim.bench, fixture, "?limit=1", "", "Annals-Client: alpha", w.at()).is(200)
		if next, ok := first.json()["next_cursor"].(string); ok {
			w.cursors++
			cursor = "?limit=1&cursor=" + url.QueryEscape(next)
		}
	}
	media, _ := o.at("paths", o.path, o.method, "responses", "200", "content")
	for accept := range media.(map[string]any) {
		for _, query := range requests {
			if accept == "text/event-stream" {
				if query != "" {
					continue // what selects nothing of the intruder's never ends
				}
				query = "?limit=1"
			}
			r := w.intrude(o, fixture, query, "", w.at(), "Accept: "+accept)
			if o.foreign() && !shared(o.path) {
				w.clean(o, r).problem(404, "not-found")
				continue
			}
			w.empty(o, r)
		}
		if cursor != "" && accept != "text/event-stream" {
			r := w.clean(o, w.intrude(o, fixture, cursor, "", w.at(), "Accept: "+accept))
			if r.status != 400 && r.status != 404 && r.status != 406 {
				w.t.Errorf("%s: the other client's cursor gives %d: %s", o.id, r.status, r.body)
			}
		}
	}
}

// takes reports whether the operation has a parameter, in the query string or as a header.
func (o operation) takes(name string) bool {
	list, _ := o.spec["parameters"].([]any)
	for _, p := range list {
		object := p.(map[string]any)
		if ref, ok := object["$ref"].(string); ok {
			resolved, _ := o.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			object = resolved.(map[string]any)
		}
		if object["name"] == name {
			return true
		}
	}
	return false
}

// command sends a command on what is the victim's, before and after the victim does with the same idempotency key, and
// with the intruder's own resource where only the body names something of the victim.
func (w *walk) command(o operation, body string, fixture map[string]string) {
	w.t.Helper()
	refuse := func(headers ...string) {
		w.t.Helper()
		w.keys++
		headers = append([]string{"Idempotency-Key: own-" + strconv.Itoa(w.keys)}, headers...)
		r := w.clean(o, w.intrude(o, fixture, "", body, headers...), fixture["body_id"], fixture["product_id"])
		if (o.foreign() || fixture["body_id"] != "" && strings.Contains(body, exampleID)) && !shared(o.path) {
			r.problem(404, "not-found")
		}
	}
	var headers []string
	if o.takes("If-Match") {
		headers = []string{`If-Match: "1"`}
		refuse(headers...)
		refuse("If-Match: *")
	}
	refuse("Prefer: return=representation")
	key := "Idempotency-Key: " + o.id + strconv.Itoa(w.keys)
	w.keys++
	if shared(o.path) {
		return
	}
	o.send(w.victim.bench, fixture, "", body, "Annals-Client: alpha", key).is(o.success()) // so the request is a good one
	refuse(key)
	_, product := o.parameters("path")["product_id"]
	if !o.foreign() || !strings.Contains(body, exampleID) && !product {
		return
	}
	own := (&world{bench: w.intruder, n: 1000 + w.keys}).of(o)
	for _, name := range []string{"body_id", "product_id"} {
		if fixture[name] != "" {
			own[name] = fixture[name]
		}
	}
	r := w.intrude(o, own, "", body, "Idempotency-Key: own "+o.id)
	w.clean(o, r, own["body_id"], own["product_id"]).problem(404, "not-found")
}

// TestClientsNeverSeeEachOther walks every operation that asks for a credential. One that is new needs a fixture with which
// it succeeds, or the walk fails.
func TestClientsNeverSeeEachOther(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.intruder.send("POST", "/v1/carts", `{"customer_id":"own"}`).is(201) // so that a stream of events has something to show
	operations := slices.DeleteFunc(w.operations(), func(o operation) bool {
		security, given := o.spec["security"].([]any)
		return given && len(security) == 0
	})
	fixtures := make(map[string]map[string]string)
	for _, o := range operations {
		fixtures[o.id] = w.victim.of(o)
		if o.takes("position") && fixtures[o.id] == nil {
			fixtures[o.id] = map[string]string{"position": strconv.FormatInt(w.victim.head(), 10)}
		}
	}
	w.victim.watched()
	w.look()
	walked := 0
	for _, o := range operations {
		if o.method == "get" {
			w.queries(o, fixtures[o.id])
			walked++
		}
	}
	w.fence()
	for _, o := range operations {
		if o.method == "get" {
			continue
		}
		for i, body := range o.bodies() {
			fixture := fixtures[o.id]
			if i > 0 {
				fixture = w.victim.of(o)
			}
			w.look()
			w.command(o, body, fixture)
		}
		walked++
	}
	if walked < 55 || w.cursors < 8 {
		t.Errorf("%d operations and %d cursors were walked", walked, w.cursors)
	}
	for what, query := range map[string]string{
		"the intruder wrote for the victim":      `SELECT count(*) FROM annals.events WHERE client_id = 'alpha' AND actor_id <> 'alice-of-alpha' AND actor_id NOT LIKE 'policy:%'`,
		"the victim wrote for the intruder":      `SELECT count(*) FROM annals.events WHERE client_id = 'beta' AND actor_id = 'alice-of-alpha'`,
		"events are to be told to other clients": `SELECT count(*) FROM annals.deliveries d JOIN annals.events e USING (position) WHERE d.client_id <> e.client_id`,
	} {
		var n int
		check(t, w.victim.db.Get(&n, query))
		if n != 0 {
			t.Errorf("%s: %d times", what, n)
		}
	}
}
