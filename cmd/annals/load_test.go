package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is traffic in which every command has an idempotency key and is repeated under it until it succeeds: over kills,
// restarts and lost answers. What was acknowledged is kept for verify.
type load struct {
	t        *testing.T
	ctx      context.Context // ends when the load has been given up
	stop     chan struct{}
	workers  sync.WaitGroup
	products []string
	patient  bool // its client repeats by itself: the load doesn't, and takes no error

	mu       sync.Mutex
	callers  []*caller
	results  map[string]result // by key
	acked    *sync.Cond        // told of each entry in results
	attempts int
}

// newLoad registers products over a server, and sends its commands there until it is told otherwise.
func newLoad(t *testing.T, servers ...*program) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	l := &load{t: t, ctx: ctx, stop: make(chan struct{}), results: make(map[string]result)}
	l.acked = sync.NewCond(&l.mu)
	t.Cleanup(cancel)
	context.AfterFunc(ctx, l.acked.Broadcast)
	l.aim(servers...)
	for i := range 3 {
		key := fmt.Sprintf("product-%d", i)
		done, ok := l.command(i, key, "POST", "/v1/products", registration(key, 1_000_000))
		if !ok {
			t.Fatal("the products of the load can't be registered")
		}
		l.products = append(l.products, done.ID)
	}
	return l
}

// aim says which servers take the commands from now on.
func (l *load) aim(servers ...*program) {
	var callers []*caller
	for _, s := range servers {
		callers = append(callers, s.caller(shop))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.callers = callers
}

func (l *load) caller(worker int) *caller {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts++
	return l.callers[(worker+l.attempts)%len(l.callers)]
}

// start lets workers go shopping until finish.
func (l *load) start(workers int) *load {
	l.t.Cleanup(func() { l.halt() })
	for w := range workers {
		l.workers.Go(func() {
			for n := 0; !l.halted(); n++ {
				if !l.story(w, fmt.Sprintf("w%d-%d", w, n), n) {
					return
				}
			}
		})
	}
	return l
}

// story receives stock on a product that all workers share, then fills, submits and mostly cancels a cart.
func (l *load) story(worker int, key string, n int) bool {
	product := l.products[(worker+n)%len(l.products)]
	body := fmt.Sprintf(`{"quantity":1,"reason":%q}`, key)
	if _, ok := l.command(worker, key+"-receipt", "POST", "/v1/products/"+product+"/stock-receipts", body); !ok || n%2 == 1 {
		return ok
	}
	created, ok := l.command(worker, key+"-cart", "POST", "/v1/carts", fmt.Sprintf(`{"customer_id":%q}`, key))
	if !ok {
		return false
	}
	cart := "/v1/carts/" + created.ID
	if _, ok = l.command(worker, key+"-item", "POST", cart+"/items", item(product, 1)); !ok {
		return false
	}
	submitted, ok := l.command(worker, key+"-submit", "POST", cart+"/submit", address)
	if !ok || n%4 == 0 {
		return ok
	}
	_, ok = l.command(worker, key+"-cancel", "POST", "/v1/orders/"+submitted.OrderID+"/cancel", `{"reason":"load"}`)
	return ok
}

// backoff is how long a caller that was turned away waits before it asks again.
const backoff = 20 * time.Millisecond

// command sends one command until it succeeds, and reports whether it did.
func (l *load) command(worker int, key, method, path, body string) (result, bool) {
	for {
		r, err := l.caller(worker).try(l.ctx, method, path, body, "Idempotency-Key: "+key)
		switch {
		case l.ctx.Err() != nil:
			l.t.Errorf("%s %s didn't succeed in time: %v", method, path, err)
			return result{}, false
		case err == nil && (r.status == http.StatusOK || r.status == http.StatusCreated):
			done := r.done()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.results[key] = done
			l.acked.Broadcast()
			return done, true
		case err != nil && l.patient:
			l.t.Errorf("%s %s: %v", method, path, err)
			return result{}, false
		case err == nil && (l.patient || r.status != http.StatusServiceUnavailable && r.slug() != "concurrent-modification"):
			l.t.Errorf("%s: status %d: %s", r.request, r.status, r.body)
			return result{}, false
		}
		select {
		case <-l.ctx.Done():
		case <-time.After(backoff):
		}
	}
}

// progress waits until n more commands have been acknowledged.
func (l *load) progress(n int) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := len(l.results) + n; len(l.results) < want; l.acked.Wait() {
		if l.ctx.Err() != nil || l.t.Failed() {
			l.t.Fatalf("%d commands were acknowledged, want %d", len(l.results), want)
		}
	}
}

func (l *load) halted() bool {
	select {
	case <-l.stop:
		return true
	default:
		return l.t.Failed()
	}
}

// halt lets the workers finish what they are at.
func (l *load) halt() {
	if !l.halted() {
		close(l.stop)
	}
	l.workers.Wait()
}

// finish ends the load and verifies over a server that its outcome is as promised. database are the flags that name
// the server's database.
func (l *load) finish(server *program, database ...string) {
	l.t.Helper()
	l.halt()
	verifyLog(l.t, server, l.results, database...)
}

// verifyLog requires that the log is dense and holds the events of every acknowledged command once and no others of
// the client but those of policies; that the audit log is complete; that the log is sealed; and that the read models are
// what a replay makes.
func verifyLog(t *testing.T, server *program, results map[string]result, database ...string) {
	t.Helper()
	auditor := server.everyone()
	log := auditor.events("/v1/events", 0)
	logged := make(map[string]event, len(log))
	for i, e := range log {
		if e.Position != int64(i)+1 {
			t.Fatalf("event %d of the log is at position %d", i+1, e.Position)
		}
		if other, twice := logged[e.EventID]; twice {
			t.Errorf("event %s is at %d and %d", e.EventID, other.Position, e.Position)
		}
		logged[e.EventID] = e
	}
	unclaimed := make(map[string]event)
	for id, e := range logged {
		if e.ClientID == shop && !strings.HasPrefix(e.ActorID, "policy:") {
			unclaimed[id] = e
		}
	}
	for key, done := range results {
		for _, e := range done.Events {
			if got, ok := logged[e.EventID]; !ok || got.Position != e.Position || got.EventType != e.EventType {
				t.Errorf("%s was acknowledged with %+v; the log has %+v", key, e, got)
			}
			if _, ok := unclaimed[e.EventID]; !ok {
				t.Errorf("%s: event %s belongs to another command too", key, e.EventID)
			}
			delete(unclaimed, e.EventID)
		}
	}
	for _, e := range unclaimed {
		t.Errorf("no acknowledged command made event %d: %s %s", e.Position, e.EventType, e.Data)
	}
	t.Logf("%d commands, %d events", len(results), len(log))
	verifyAuditLog(t, auditor, log)
	verifySeal(t, int64(len(log)), database...)
	annals(t, append([]string{"replay", "--all", "--dry-run"}, database...)...).exits(exitDone)
}

// verifyAuditLog requires a row for each event, in order.
func verifyAuditLog(t *testing.T, auditor *caller, log []event) {
	t.Helper()
	rows := auditor.auditLog(int64(len(log)))
	same := func(row, e event) bool { return row.Position == e.Position && row.EventID == e.EventID }
	if !slices.EqualFunc(rows[:min(len(rows), len(log))], log, same) {
		t.Errorf("the audit log's %d rows aren't the log's %d events", len(rows), len(log))
	}
}
