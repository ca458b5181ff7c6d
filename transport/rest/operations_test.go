package rest_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"annals/projections"
)

// projection gives a subscriber as it is listed.
func (b *bench) projection(name string) map[string]any {
	b.t.Helper()
	for _, p := range items(b.send("GET", "/v1/projections", "")) {
		if p["name"] == name {
			return p
		}
	}
	b.t.Fatalf("there is no projection %s", name)
	return nil
}

func TestProjectionsAreListed(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.product("A", 1)
	p := b.projection("audit_log") // a command's answer waited for it
	wantMembers(t, p, "name", "kind", "version", "status", "position", "head", "lag", "lag_seconds", "failure")
	if p["kind"] != "read_model" || p["status"] != "running" || p["position"] != 1.0 || p["lag"] != 0.0 || p["failure"] != nil {
		t.Errorf("%v", p)
	}
	if got := len(items(b.send("GET", "/v1/projections", ""))); got != len(readModels()) {
		t.Errorf("%d projections", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	if got := b.send("POST", "/v1/projections/products/pause", "").is(200).text("status"); got != "paused" {
		t.Error(got)
	}
	id := b.product("A", 1)
	b.send("GET", "/v1/products/"+id, "", "Annals-Min-Position: 1", "Prefer: wait=0").problem(503, "read-model-behind")
	if got := b.send("POST", "/v1/projections/products/resume", "").is(200).text("status"); got != "running" {
		t.Error(got)
	}
	b.send("GET", "/v1/products/"+id, "", "Annals-Min-Position: 1", "Prefer: wait=30").is(200)
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 1)
	b.send("GET", "/v1/products/"+id, "", b.at()).is(200)
	started := b.send("POST", "/v1/projections/products/rebuild", "").is(202)
	if started.text("name") != "products" {
		t.Errorf("%s", started.body)
	}
	b.send("GET", "/v1/products/"+id, "").is(200) // the live tables go on serving
}

// otherKind shows a subscriber as a policy.
type otherKind struct{ *projections.Group }

func (o otherKind) Status(ctx context.Context) ([]projections.State, error) {
	states, err := o.Group.Status(ctx)
	for i := range states {
		states[i].Kind = projections.KindPolicy
	}
	return states, err
}

func TestOnlyReadModelsAreRebuilt(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.Projections = otherKind{b.group} })
	b.send("POST", "/v1/projections/products/rebuild", "").problem(409, "invalid-transition")
	b.send("POST", "/v1/projections/none/rebuild", "").problem(404, "not-found")
}

// poisoned is a read model that can't take one event as long as it is told so.
type poisoned struct {
	projections.Projector
	at *atomic.Int64
}

func (p poisoned) Spec() projections.Spec {
	spec := p.Projector.Spec()
	spec.Synchronous = false
	return spec
}

func (p poisoned) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	for _, e := range page.Events {
		if e.Position == p.at.Load() {
			return errors.New("this event is poison")
		}
	}
	return p.Projector.Apply(ctx, tx, page)
}

// An operation under an idempotency key is done once; its repeat is given the first answer.
func TestKeyedOperations(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	const pause, resume, rebuild = "/v1/projections/products/pause", "/v1/projections/products/resume", "/v1/projections/products/rebuild"
	first := b.send("POST", pause, "", "Idempotency-Key: k").is(200)
	if first.header.Get("Idempotency-Replayed") != "" || first.text("status") != "paused" {
		t.Errorf("%v %s", first.header, first.body)
	}
	b.send("POST", resume, "").is(200)
	repeat := b.send("POST", pause, " {} ", "Idempotency-Key: k").is(200)
	if repeat.header.Get("Idempotency-Replayed") != "true" || string(repeat.body) != string(first.body) {
		t.Errorf("%v %s, at first %s", repeat.header, repeat.body, first.body)
	}
	if s := b.projection("products"); s["status"] != "running" {
		t.Errorf("a repeat paused again: %v", s)
	}
	b.send("POST", resume, "", "Idempotency-Key: k").problem(422, "idempotency-key-reused")
	b.send("POST", "/v1/projections/orders/pause", "", "Idempotency-Key: k").problem(422, "idempotency-key-reused")
	b.send("POST", pause, "", "Idempotency-Key: k", "Annals-Client: other").is(200)
	b.send("POST", resume, "", "Annals-Client: *", "Idempotency-Key: k").is(200)

	started := b.send("POST", rebuild, "", "Idempotency-Key: r").is(202)
	if r := b.send("POST", rebuild, "", "Idempotency-Key: r").is(202); string(r.body) != string(started.body) {
		t.Errorf("%s, at first %s", r.body, started.body)
	}
	// What is refused isn't kept.
	b.send("POST", "/v1/projections/products/failures/9/retry", "", "Idempotency-Key: f").problem(404, "not-found")
	b.send("POST", resume, "", "Idempotency-Key: f").is(200)
	b.send("POST", "/v1/projections/products/failures/0/retry", "").problem(404, "not-found")
}

func TestFailuresAreRetriedAndSkipped(t *testing.T) {
	t.Parallel()
	var at atomic.Int64
	at.Store(2)
	models := readModels()
	for i, p := range models {
		if p.Spec().Name == "products" {
			models[i] = poisoned{p, &at}
		}
	}
	b := newServerOf(t, models)
	b.product("A", 1)
	id := b.product("B", 1)
	b.product("C", 1)
	failed := b.failure("products", 2)
	wantMembers(t, failed, "position", "event_id", "event_type", "error", "attempts", "failed_at", "retry_at")
	if p := b.projection("products"); p["status"] != "failed" || p["position"] != 1.0 || p["failure"] == nil {
		t.Errorf("%v", p)
	}
	if got := items(b.send("GET", "/v1/projections/audit_log/failures", "")); len(got) != 0 {
		t.Error(got)
	}
	b.send("POST", "/v1/projections/products/failures/3/retry", "").problem(404, "not-found")
	b.send("POST", "/v1/projections/products/failures/2/skip", `{"reason":"known to be bad"}`).is(200)
	b.send("GET", "/v1/products", "", "Annals-Min-Position: 3", "Prefer: wait=30").is(200)
	b.send("GET", "/v1/products/"+id, "").problem(404, "not-found")
	b.send("POST", "/v1/projections/products/failures/2/skip", `{"reason":"again"}`).problem(404, "not-found")

	at.Store(4)
	last := b.product("D", 1)
	b.failure("products", 4)
	at.Store(0)
	b.send("POST", "/v1/projections/products/failures/4/retry", "").is(200)
	b.send("GET", "/v1/products/"+last, "", "Annals-Min-Position: 4", "Prefer: wait=30").is(200)
}

// failure waits until a subscriber has stopped at a position.
func (b *bench) failure(name string, position float64) map[string]any {
	b.t.Helper()
	for b.t.Context().Err() == nil {
		r := b.send("GET", "/v1/projections/"+name+"/failures", "").is(200)
		if found := items(r); len(found) == 1 && found[0]["position"] == position {
			if strings.Contains(found[0]["error"].(string), "\n") {
				b.t.Errorf("%v", found[0])
			}
			return found[0]
		}
	}
	b.t.Fatal("no failure")
	return nil
}
