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
