package rest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/transport/rest"
)

// failing is a runner that fails as it is told.
type failing struct {
	err   error
	panic any
}

func (f failing) Run(
	context.Context, eventstore.Command, func(context.Context, *domain.UnitOfWork) error,
) (eventstore.CommandResult, error) {
	if f.panic != nil {
		panic(f.panic)
	}
	return eventstore.CommandResult{}, fmt.Errorf("append: %w", f.err)
}

func TestFailuresBecomeProblems(t *testing.T) {
	t.Parallel()
	const secret = `pq: relation "annals.events" does not exist at /home/x.go:12`
	tests := map[string]struct {
		run    failing
		status int
		slug   string
		detail string
		retry  bool
	}{
		"unknown outcome": {failing{err: eventstore.ErrOutcomeUnknown}, 503, "unavailable", "may or may not", true},
		"unreachable":     {failing{err: eventstore.ErrUnavailable}, 503, "unavailable", "nothing was written", true},
		"lost tail":       {failing{err: eventstore.ErrLogBehind}, 503, "unavailable", "nothing was written", true},
		"closed":          {failing{err: eventstore.ErrClosed}, 503, "unavailable", "nothing was written", true},
		"overloaded":      {failing{err: eventstore.ErrOverloaded}, 503, "overloaded", "nothing was written", true},
		"too large":       {failing{err: &eventstore.TooLargeError{What: "event", Size: 9, Limit: 1}}, 413, "payload-too-large", "larger", false},
		"key reused":      {failing{err: eventstore.ErrKeyReused}, 422, "idempotency-key-reused", "another", false},
		"race lost":       {failing{err: domain.Refuse(domain.CodeConcurrentChange, "x")}, 409, "concurrent-modification", "x", false},
		"anything else":   {failing{err: errors.New(secret)}, 500, "internal", "request id", false},
		"unknown refusal": {failing{err: domain.Refuse("secret-code", "%s", secret)}, 500, "internal", "request id", false},
		"panic":           {failing{panic: secret}, 500, "internal", "request id", false},
		"nil dereference": {failing{panic: errors.New(secret)}, 500, "internal", "request id", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newServer(t, func(b *bench) { b.config.Commands = test.run })
			r := b.send("POST", "/v1/carts", `{}`, "X-Request-Id: req-13")
			p := r.problem(test.status, test.slug)
			if !strings.Contains(p["detail"].(string), test.detail) || strings.Contains(string(r.body), "pq:") {
				t.Errorf("%s", r.body)
			}
			if (r.header.Get("Retry-After") != "") != test.retry {
				t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
			}
			if test.status == 500 && strings.Count(b.log.String(), "level=ERROR") != 1 {
				t.Errorf("the log: %s", b.log)
			}
			if test.status == 500 && (!strings.Contains(b.log.String(), "req-13") || !strings.Contains(b.log.String(), "pq:")) {
				t.Errorf("the log doesn't say what happened: %s", b.log)
			}
		})
	}
}

// keys is an authenticator with one token per role.
type keys struct{}

func (keys) Authenticate(_ context.Context, c rest.Credentials) (rest.Principal, error) {
	roles, ok := map[string]rest.Roles{
		"Bearer viewer": rest.Viewer, "Bearer operator": rest.Operator, "Bearer auditor": rest.Auditor, "Bearer admin": rest.Admin,
	}[c.Authorization]
	if !ok {
		return rest.Principal{}, rest.ErrUnauthorized
	}
	return rest.Principal{Actor: "key", Client: "acme", Roles: roles}, nil
}

func TestRoles(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.Authenticator = keys{} })
	command := func(token string) *reply { return b.send("POST", "/v1/carts", `{}`, "Authorization: "+token) }
	get := func(path string) func(string) *reply {
		return func(token string) *reply { return b.send("GET", path, "", "Authorization: "+token) }
	}
	operate := func(token string) *reply {
		return b.send("POST", "/v1/projections/products/resume", "", "Authorization: "+token)
	}
	for name, test := range map[string]struct {
		send    func(string) *reply
		allowed string
	}{
		"command": {command, "operator admin"}, "query": {get("/v1/products"), "viewer operator auditor admin"},
		"events": {get("/v1/events"), "auditor admin"}, "stream": {get("/v1/streams/cart/x"), "auditor admin"},
		"audit log": {get("/v1/audit-log"), "auditor admin"}, "projections": {get("/v1/projections"), "admin"},
		"operation": {operate, "admin"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, role := range []string{"viewer", "operator", "auditor", "admin"} {
				r := test.send("Bearer " + role)
				if allowed := strings.Contains(test.allowed, role); allowed == (r.status == 403) {
					t.Errorf("%s: %d", role, r.status)
				}
			}
			r := test.send("Bearer nobody")
			r.problem(401, "unauthorized")
			if r.header.Get("WWW-Authenticate") == "" {
				t.Error("no challenge")
			}
		})
	}
	// Syntax is judged before the credential, the credential before values.
	b.send("POST", "/v1/carts", `[]`).problem(400, "malformed-request")
	b.send("POST", "/v1/carts", `{"x":1}`).problem(401, "unauthorized")
	b.send("GET", "/v1/orders?status=x", "").problem(400, "malformed-request")
	b.send("GET", "/v1/orders/x", "").problem(401, "unauthorized")
	for _, open := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml", "/docs", "/problems/forbidden"} {
		b.send("GET", open, "").is(200)
	}
}

// unready is a server whose database is gone.
type unready struct{}

func (unready) Check(context.Context) []rest.Check {
	return []rest.Check{{Name: "migrations", Ready: true, Detail: "done"}, {Name: "database", Detail: "can't be reached"}}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	if got := b.send("GET", "/healthz", "").is(200).text("status"); got != "ok" {
		t.Error(got)
	}
	if got := b.send("GET", "/readyz", "").is(200).text("status"); got != "ready" {
		t.Error(got)
	}
	b = newServer(t, func(b *bench) { b.config.Readiness = unready{} })
	b.send("GET", "/healthz", "").is(200)
	p := b.send("GET", "/readyz", "").problem(503, "unavailable")
	if got := p["detail"]; got != "not ready: database: can't be reached" || len(p["checks"].([]any)) != 2 {
		t.Error(p)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 1)
	b.send("GET", "/v1/products/"+id, "", "Annals-Min-Position: 1", "Prefer: wait=30").is(200)
	b.send("GET", "/v1/nothing/"+id, "").is(404)
	b.send("INVENTED", "/v1/products", "").is(405)
	shown := string(b.send("GET", "/metrics", "").is(200).body)
	for _, want := range []string{
		`annals_http_requests_total{method="POST",route="/v1/products",status="201"} 1`,
		`annals_http_requests_total{method="GET",route="/v1/products/{id}",status="200"} 1`,
		`annals_http_requests_total{method="other",route="none",status="404"} 1`,
		`annals_http_request_duration_seconds_count{method="GET",route="/v1/products/{id}"} 1`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(shown, id) || strings.Contains(shown, "INVENTED") {
		t.Error("a label holds what the caller sent")
	}
}

func TestPagesLoadNothing(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	elsewhere := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|@import|url\(`)
	for _, path := range []string{"/docs", "/problems/insufficient-stock"} {
		page := b.send("GET", path, "", "Accept: text/html,*/*;q=0.8").is(200)
		if page.header.Get("Content-Type") != "text/html; charset=utf-8" || page.header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %v", path, page.header)
		}
		if found := elsewhere.FindString(string(page.body)); found != "" {
			t.Errorf("%s has %s", path, found)
		}
	}
	if kind := b.send("GET", "/problems/insufficient-stock", "", "Accept: application/json").is(200); kind.number("status") != 409 {
		t.Errorf("%s", kind.body)
	}
}

func TestServeDrains(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		w.WriteHeader(http.StatusNoContent)
	})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- rest.Serve(ctx, listener, handler, rest.Limits{}, slog.New(slog.DiscardHandler)) }()
	answered := make(chan int, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- 0
			return
		}
		response.Body.Close()
		answered <- response.StatusCode
	}()
	<-entered
	cancel()
	close(release)
	if err, status := <-served, <-answered; err != nil || status != http.StatusNoContent {
		t.Errorf("%v, status %d", err, status)
	}
}

// Ordinary requests pass by net/http's server, which puts itself into the context of those that it gets.
func TestOrdinaryRequestsDontReachNetHTTP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	reached := make(chan bool, 1)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- r.Context().Value(http.ServerContextKey) != nil
	})
	served := make(chan error, 1)
	go func() { served <- rest.Serve(ctx, listener, handler, rest.Limits{}, slog.New(slog.DiscardHandler)) }()
	for method, want := range map[string]bool{"POST": false, "HEAD": true} {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+listener.Addr().String(), http.NoBody)
		check(t, err)
		response, err := new(http.Transport).RoundTrip(r)
		check(t, err)
		response.Body.Close()
		if got := <-reached; got != want {
			t.Errorf("%s reaches it: %v", method, got)
		}
	}
	cancel()
	check(t, <-served)
}

func TestServeGivesUpDraining(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	entered := make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	limits := rest.Limits{DrainTimeout: time.Millisecond}
	go func() { served <- rest.Serve(ctx, listener, handler, limits, slog.New(slog.DiscardHandler)) }()
	go func() {
		if response, err := http.Get("http://" + listener.Addr().String()); err == nil {
			response.Body.Close()
		}
	}()
	<-entered
	cancel()
	if err := <-served; err == nil {
		t.Error("no word of the request that was cut off")
	}
}
