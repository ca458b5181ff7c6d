package rest_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"annals/projections"
	"annals/projections/products"
	"annals/projections/sealer"
)

// broken is a read model that fails at every event.
type broken struct{ projections.Projector }

func (b broken) Spec() projections.Spec {
	spec := b.Projector.Spec()
	spec.Name = "broken"
	return spec
}

func (broken) Apply(context.Context, projections.Tx, projections.Page) error {
	return errors.New("this read model takes nothing")
}

// world makes what the examples of the document refer to.
type world struct {
	*bench
	n int
}

// of gives the path parameters with which an operation succeeds.
func (w *world) of(o operation) map[string]string {
	w.t.Helper()
	w.n++
	if fixture := w.ofPlant(o); fixture != nil {
		return fixture
	}
	product := w.product("FIX-"+strconv.Itoa(w.n), 100)
	switch {
	case strings.HasPrefix(o.path, "/v1/products"):
		return map[string]string{"id": product}
	case o.id == "addItem":
		return map[string]string{"id": w.cart(product, 0), "product_id": product}
	case strings.HasPrefix(o.path, "/v1/carts"):
		return map[string]string{"id": w.cart(product, 2), "product_id": product}
	case strings.HasPrefix(o.path, "/v1/orders"):
		return map[string]string{"id": w.order(product, 2)}
	case o.path == "/v1/audit-log/rows":
		return map[string]string{"key": product}
	case strings.HasPrefix(o.path, "/v1/streams"):
		return map[string]string{"aggregate_id": product}
	case strings.HasPrefix(o.path, "/v1/webhooks"):
		hook := w.webhook("order.created")
		return map[string]string{"id": hook, "event_id": w.deadLetter(hook, product)}
	case strings.Contains(o.path, "/failures"):
		return map[string]string{"name": "broken", "position": strconv.FormatInt(w.stopped("broken"), 10)}
	}
	return nil
}

// stopped waits until a subscriber has failed and gives the position.
func (w *world) stopped(name string) int64 {
	w.t.Helper()
	for w.t.Context().Err() == nil {
		if found := items(w.send("GET", "/v1/projections/"+name+"/failures", "")); len(found) == 1 {
			return int64(found[0]["position"].(float64))
		}
	}
	w.t.Fatal("no failure")
	return 0
}

// TestExamplesOfTheDocument sends every example to the server and holds every answer against the document.
func TestExamplesOfTheDocument(t *testing.T) {
	t.Parallel()
	b := newServerWith(t, append(readModels(), broken{products.New()}, sealer.New()), allPolicies, sealed)
	b.always = []string{"Annals-Client: acme"} // the client of the examples
	w, c := &world{bench: b}, readContract(t)
	for _, o := range c.operations() {
		for _, body := range o.bodies() {
			fixture := w.of(o) // before its position is asked for
			o.holds(o.send(b, fixture, "", body, b.at()).is(o.success()))
		}
		for name, example := range o.parameters("query") {
			fixture := w.of(o)
			o.holds(o.send(b, fixture, "?"+name+"="+url.QueryEscape(example), o.bodies()[0], b.at()).is(o.success()))
		}
		media, _ := o.at("paths", o.path, o.method, "responses", strconv.Itoa(o.success()), "content")
		for accept := range media.(map[string]any) {
			if o.method == "get" {
				fixture, query := w.of(o), ""
				if accept == "text/event-stream" {
					query = "?limit=1" // then it ends
				}
				o.holds(o.send(b, fixture, query, "", "Accept: "+accept, b.at()).is(200))
			}
		}
	}
}

// TestPreferredRepresentationsFitTheDocument sends each command once more and asks for the resource.
func TestPreferredRepresentationsFitTheDocument(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.always = []string{"Annals-Client: acme"}
	w, c := &world{bench: b}, readContract(t)
	for _, o := range c.operations() {
		if _, ok := o.parameters("header")["Prefer"]; !ok || o.method == "get" {
			continue
		}
		r := o.send(b, w.of(o), "", o.bodies()[0], "Prefer: return=representation", "Idempotency-Key: "+o.id).is(o.success())
		o.holds(r)
		if r.json()["events"] != nil || r.header.Get("Preference-Applied") != "return=representation" {
			t.Errorf("%s doesn't show the resource: %s", o.id, r.body)
		}
	}
}

// TestProblemsFitTheDocument provokes what any operation refuses.
func TestProblemsFitTheDocument(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	c := readContract(t)
	none := map[string]string{
		"id": "018f5c1e-0000-7c33-8a51-3b9f0c2d4e6f", "product_id": exampleID, "aggregate_id": "x", "position": "99", "name": "none",
		"slug": "none", "kpi": "none", "tile": "none",
	}
	for _, o := range c.operations() {
		o.holds(o.send(b, nil, "?no-such-parameter=1", "").is(400))
		if o.path != "/metrics" {
			o.holds(o.send(b, nil, "", "", "Accept: image/png").is(406))
		}
		if len(o.parameters("path")) > 0 {
			o.holds(o.send(b, none, "", o.bodies()[0], "Annals-Min-Position: 0").is(404))
		}
		if o.method == "get" {
			continue
		}
		o.holds(o.send(b, nil, "", `[]`).is(400))
		o.holds(o.send(b, nil, "", `{"no such member":1}`).is(422))
		o.holds(o.send(b, nil, "", `{}`, "Content-Type: text/plain").is(415))
		o.holds(o.send(b, nil, "", fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 1<<20))).is(413))
	}
}
