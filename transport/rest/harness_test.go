package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/manufacturing"
	"annals/domain/notifications"
	"annals/domain/operations"
	"annals/domain/privacy"
	"annals/eventstore"
	"annals/eventstore/apikeys"
	"annals/eventstore/integrity"
	"annals/eventstore/pgtest"
	"annals/eventstore/subjectkeys"
	"annals/eventstore/subjectkeys/keystest"
	"annals/projections"
	policy "annals/projections/policies/notifications"
	"annals/projections/replay"
	"annals/transport/access"
	"annals/transport/rest"
)

// bench is a whole server over a database of its own.
type bench struct {
	t        testing.TB
	url      string
	store    *eventstore.Store
	subjects *subjectkeys.Keys
	group    *projections.Group
	db       *pgtest.DB
	registry *domain.Registry
	reads    *access.Recorder
	log      *logBuffer
	logger   *slog.Logger
	config   rest.Config
	always   []string         // headers of every request
	keys     *apikeys.Manager // of a guarded server
}

// logBuffer keeps what the server logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newServer wires everything as the program does: event store, subscribers, read models. change may replace parts of the
// configuration.
func newServer(t testing.TB, change ...func(*bench)) *bench {
	t.Helper()
	return newServerOf(t, readModels(), change...)
}

// newServerOf is newServer with read models of the test's own.
func newServerOf(t testing.TB, projectors []projections.Projector, change ...func(*bench)) *bench {
	t.Helper()
	none := func(*bench) []projections.PolicyHandler { return nil }
	return newServerWith(t, projectors, none, change...)
}

// newServerWith is newServerOf with policies.
func newServerWith(
	t testing.TB, projectors []projections.Projector, policies func(*bench) []projections.PolicyHandler, change ...func(*bench),
) *bench {
	t.Helper()
	b := &bench{t: t, db: pgtest.New(t), log: &logBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	logger := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	b.logger = logger
	registry, err := domain.NewRegistry(slices.Concat(
		commerce.Definitions(), manufacturing.Definitions(), notifications.Definitions(), operations.Definitions(),
		privacy.Definitions())...)
	check(t, err)
	b.registry = registry
	b.subjects = keystest.Open(t, b.db.DSN)
	b.store, err = eventstore.Open(ctx, eventstore.Config{
		DSN: b.db.DSN, Registry: registry, Keys: b.subjects, CommandConns: 4, QueryConns: 4,
	})
	check(t, err)
	t.Cleanup(func() { check(t, b.store.Close(context.Background())) })
	subscribers, err := eventstore.OpenPreparedDB(b.db.DSN, eventstore.RoleApp, 6, "test")
	check(t, err)
	t.Cleanup(func() { check(t, subscribers.Close()) })
	b.group, err = projections.New(projections.Config{
		DB: subscribers, Registry: registry, Waker: b.store.Sequencer.Signal(), Tail: b.store.Sequencer.Tail(),
		ListenDSN: b.db.DSN, Logger: logger,
	}, projectors...)
	check(t, err)
	check(t, b.group.AddPolicies(policies(b)...))
	check(t, projections.EnsureSchemas(ctx, b.db.DB, b.group.Specs()...))
	done := make(chan error, 1)
	go func() { done <- b.group.Run(ctx) }()
	rebuilds := replay.NewManager(ctx, replay.Deps{
		DB: pool(t, b.db.DSN, eventstore.RoleOwner, 3).DB, Registry: registry, Logger: logger,
	}, projectors, replay.Options{})
	t.Cleanup(func() {
		select {
		case err := <-done:
			t.Errorf("the subscribers stopped: %v", err)
		default:
			cancel()
			<-done // a short test may end while the group still starts, which is an error then
		}
		rebuilds.Wait()
		check(t, b.group.Close())
	})
	b.config = rest.Config{
		Authenticator: rest.Open{}, Commands: b.store.Runner, States: b.store.States, Events: b.store.Reader,
		Growth:      b.store.Sequencer.Signal(),
		Projections: b.group, Rebuilds: rebuilds, Applied: b.group, Readiness: ready{},
		Metrics: prometheus.NewRegistry(), Log: logger, SynchronousWait: 20 * time.Second,
	}
	b.reads = access.New(access.Config{Commands: b.store.Runner, Interval: time.Hour, Logger: logger})
	t.Cleanup(func() { check(t, b.reads.Close(context.Background())) })
	b.config.Access = b.reads
	b.config.Registry, b.config.Subscribers = registry, b.group.Readers()
	queries(&b.config, b.store.Tenants)
	b.config.Integrity = integrity.NewLog(b.store.Commands)
	b.config.Secrets, b.config.EventTypes = policy.NewQueue(b.store.Commands), registry.EventTypes()
	for _, f := range change {
		f(b)
	}
	b.serve(ctx)
	return b
}

func (b *bench) serve(ctx context.Context) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	handler, err := rest.New(ctx, b.config)
	check(b.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(b.t, err)
	served := make(chan error, 1)
	go func() { served <- rest.Serve(ctx, listener, handler, rest.Limits{}, b.logger) }()
	b.t.Cleanup(func() { cancel(); check(b.t, <-served) })
	b.url = "http://" + listener.Addr().String()
}

func pool(t testing.TB, dsn string, role eventstore.Role, size int) *sqlx.DB {
	t.Helper()
	db, err := eventstore.OpenDB(dsn, role, size, "test")
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	return db
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ready is a server with everything in order.
type ready struct{}

func (ready) Check(context.Context) []rest.Check {
	return []rest.Check{{Name: "database", Ready: true, Detail: "reachable"}}
}

// reply is an answer that was read to its end.
type reply struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	body    []byte
}

// send sends a request. headers are "Name: value"; a body that isn't empty is JSON unless they say otherwise.
func (b *bench) send(method, path, body string, headers ...string) *reply {
	b.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, b.url+path, content)
	check(b.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range slices.Concat(b.always, headers) {
		name, value, _ := strings.Cut(h, ": ")
		if value == "-" {
			r.Header.Del(name)
			continue
		}
		if name == "Content-Type" || slices.Contains(b.always, h) {
			r.Header.Set(name, value)
			continue
		}
		r.Header.Add(name, value)
	}
	return b.do(r)
}

func (b *bench) do(r *http.Request) *reply {
	b.t.Helper()
	response, err := http.DefaultTransport.RoundTrip(r)
	check(b.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(b.t, err)
	return &reply{
		t: b.t, request: r.Method + " " + r.URL.RequestURI(), status: response.StatusCode, header: response.Header, body: body,
	}
}

// is requires a status.
func (r *reply) is(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d, want %d: %s", r.request, r.status, status, r.body)
	}
	return r
}

// problem requires a problem of a type, well-formed.
func (r *reply) problem(status int, slug string) map[string]any {
	r.t.Helper()
	r.is(status)
	p := r.json()
	if p["type"] != "/problems/"+slug || p["status"] != float64(status) || p["request_id"] != r.header.Get("X-Request-Id") ||
		p["title"] == "" || p["detail"] == "" || r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Fatalf("%s: not a problem %s: %s", r.request, slug, r.body)
	}
	return p
}

func (r *reply) json() map[string]any {
	r.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		r.t.Fatalf("%s: %v: %s", r.request, err, r.body)
	}
	return v
}

func (r *reply) text(member string) string {
	r.t.Helper()
	s, ok := r.json()[member].(string)
	if !ok {
		r.t.Fatalf("%s: no text %s: %s", r.request, member, r.body)
	}
	return s
}

func (r *reply) number(member string) int64 {
	r.t.Helper()
	n, ok := r.json()[member].(float64)
	if !ok {
		r.t.Fatalf("%s: no number %s: %s", r.request, member, r.body)
	}
	return int64(n)
}

// head gives the log's last position.
func (b *bench) head() int64 {
	b.t.Helper()
	head, err := b.store.Reader.Head(context.Background())
	check(b.t, err)
	return head
}

// product registers a product with stock and gives its id.
func (b *bench) product(sku string, stock int) string {
	b.t.Helper()
	body := fmt.Sprintf(`{"sku":%q,"name":%q,"price":"9.99","stock":%d}`, sku, "Product "+sku, stock)
	return b.send("POST", "/v1/products", body).is(201).text("id")
}

// cart creates a cart with pieces of a product and gives its id.
func (b *bench) cart(product string, quantity int) string {
	b.t.Helper()
	id := b.send("POST", "/v1/carts", `{"customer_id":"c-1"}`).is(201).text("id")
	if quantity > 0 {
		b.send("POST", "/v1/carts/"+id+"/items", fmt.Sprintf(`{"product_id":%q,"quantity":%d}`, product, quantity)).is(200)
	}
	return id
}

const address = `{"shipping_address":{"street_line_1":"1 Main St","city":"Springfield","postal_code":"62701","country":"US"}}`

// order submits a cart with pieces of a product and gives the order's id.
func (b *bench) order(product string, quantity int) string {
	b.t.Helper()
	return b.send("POST", "/v1/carts/"+b.cart(product, quantity)+"/submit", address).is(200).text("order_id")
}
