//go:build !race

// The programs of these tests are processes of their own, which the race detector doesn't look into.

package main

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// Servers that are restarted one after the other, under load and behind a client that tries another one, lose nothing, and
// the caller behind that client sees no error.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	flags := []string{"--database-url", db.DSN, "--drain-delay", "200ms"}
	servers := []*program{serveChild(t, flags...), serveChild(t, flags...)}
	b := &balancer{t: t, plain: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(b.plain.CloseIdleConnections)
	b.use(servers...)
	l := newLoad(t, servers...)
	l.patient = true
	l.callers = []*caller{{t: t, url: "http://balanced", client: shop, http: &http.Client{Transport: b, Timeout: patience}}}
	l.start(8)
	for range 2 {
		for i := range servers {
			l.progress(50)
			servers[i].signal(syscall.SIGTERM)
			servers[i].await("shutting down")
			if r := servers[i].everyone().sendIfThere("GET", "/readyz"); r != nil && r.status != http.StatusServiceUnavailable {
				t.Errorf("readiness of a server that stops: %d", r.status)
			}
			servers[i].exits(exitDone)
			servers[i] = serveChild(t, flags...)
			b.use(servers...)
		}
	}
	l.progress(50)
	l.finish(servers[0], "--database-url", db.DSN)
	t.Logf("%d requests were tried on another server", b.moved)
}

// sendIfThere sends a request to a server that may have stopped listening.
func (c *caller) sendIfThere(method, path string) *reply {
	r, err := c.try(c.t.Context(), method, path, "")
	if err != nil {
		return nil
	}
	return r
}

// balancer is a client of several servers: what one doesn't answer, or answers with 503, it sends to the next.
type balancer struct {
	t     *testing.T
	plain *http.Transport

	mu    sync.Mutex
	urls  []string
	turn  int
	moved int
}

func (b *balancer) use(servers ...*program) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.urls = nil
	for _, s := range servers {
		b.urls = append(b.urls, s.url)
	}
}

// next gives the servers in the order in which a request is tried on them.
func (b *balancer) next() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	at := b.turn % len(b.urls)
	return slices.Concat(b.urls[at:], b.urls[:at])
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	err := errors.New("no server")
	for _, target := range b.next() {
		to, parseErr := url.Parse(target)
		if parseErr != nil {
			return nil, parseErr
		}
		try := r.Clone(r.Context())
		try.URL.Host, try.Host = to.Host, to.Host
		if r.GetBody != nil {
			if try.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		var response *http.Response
		if response, err = b.plain.RoundTrip(try); err == nil && response.StatusCode != http.StatusServiceUnavailable {
			return response, nil
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			err = errors.New(response.Status)
		}
		b.mu.Lock()
		b.moved++
		b.mu.Unlock()
	}
	return nil, err
}

// When one of two servers is killed under load, the other goes on with its work: commands, read models, audit log, policies.
// How soon is logged; docs/operations.md says what bounds it.
func TestOtherNodeTakesOver(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	doomed, other := serveChild(t, database...), serveChild(t, database...)
	l := newLoad(t, doomed, other).start(8)
	for round := range 2 {
		l.progress(100)
		doomed.kill()
		killed := time.Now()
		var leased time.Time // until then the killed server may have leases, which are for 3 s
		if err := db.Get(&leased, `SELECT clock_timestamp() + interval '3 s'`); err != nil {
			t.Fatal(err)
		}
		l.aim(other)
		l.progress(50)
		c := other.caller(shop)
		position := c.head()
		for _, path := range []string{"/v1/products", "/v1/orders", "/v1/audit-log"} {
			c.get(path, position).is(http.StatusOK)
			t.Logf("%s is up to date %s after the kill", path, time.Since(killed).Round(time.Millisecond))
		}
		if round == 0 {
			awaitLeases(t, db, leased)
			t.Logf("the policies are taken over %s after the kill", time.Since(killed).Round(time.Millisecond))
		}
		doomed, other = other, serveChild(t, database...)
		l.aim(doomed, other)
	}
	l.progress(50)
	l.finish(other, database...)
}

// awaitLeases waits until every policy has a node that took or renewed its lease later than what ends at a time.
func awaitLeases(t *testing.T, db *pgtest.DB, ended time.Time) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(backoff) {
		var old []string
		err := db.Select(&old, `SELECT name FROM annals.subscribers WHERE kind = 'policy' AND lease_until <= $1`, ended)
		switch {
		case err != nil:
			t.Fatal(err)
		case len(old) == 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("nobody works for %v", old)
		}
	}
}
