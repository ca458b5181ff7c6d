package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/manufacturing"
	webhook "annals/domain/notifications"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/eventstore/subjectkeys/keystest"
	"annals/projections"
	"annals/projections/policies/notifications"
	"annals/projections/webhooks"
	"annals/transport/notify"
)

const secret = "a secret of the receiver's"

// bench is a database of one test's own.
type bench struct {
	*pgtest.DB
	t        testing.TB
	registry *domain.Registry
}

func newBench(t testing.TB) *bench {
	t.Helper()
	registry, err := domain.NewRegistry(slices.Concat(
		commerce.Definitions(), manufacturing.Definitions(), webhook.Definitions())...)
	check(t, err)
	return &bench{DB: pgtest.New(t), t: t, registry: registry}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// node is one process's event store, subscribers and sender.
type node struct {
	*bench
	*eventstore.Store
	queue       *notifications.Queue
	deadLetters *notifications.DeadLetters
	closeQueue  func()
	wake        func()
	group       *projections.Group
}

// node starts everything but the sender. mail: the policy queues mail.
func (b *bench) node(mail bool) *node {
	b.t.Helper()
	ctx := context.Background()
	store, err := eventstore.Open(ctx, eventstore.Config{
		DSN: b.DSN, Registry: b.registry, Keys: keystest.Open(b.t, b.DSN), CommandConns: 4, QueryConns: 4,
	})
	check(b.t, err)
	b.t.Cleanup(func() { check(b.t, store.Close(context.Background())) })
	queue, err := eventstore.OpenDB(b.DSN, eventstore.RoleApp, 4, "notifications")
	check(b.t, err)
	b.t.Cleanup(func() { queue.Close() })
	subscribers, err := eventstore.OpenDB(b.DSN, eventstore.RoleApp, 4, "projections")
	check(b.t, err)
	b.t.Cleanup(func() { subscribers.Close() })
	n := &node{
		bench: b, Store: store, queue: notifications.NewQueue(queue), deadLetters: notifications.NewDeadLetters(store.Tenants),
		closeQueue: func() { queue.Close() }, wake: func() {},
	}
	n.group, err = projections.New(projections.Config{
		DB: subscribers, Registry: b.registry, Waker: store.Sequencer.Signal(), Tail: store.Sequencer.Tail(), ListenDSN: b.DSN, Logger: quiet(),
		StandbyPause: 10 * time.Millisecond, ErrorPause: 10 * time.Millisecond, Lease: time.Second,
	}, webhooks.New())
	check(b.t, err)
	cfg := notifications.Config{
		Webhooks: webhooks.NewQueries(store.Tenants), Queue: n.queue, Registry: b.registry, WaitFor: n.group.WaitFor,
		Queued: func() { n.wake() },
	}
	if mail {
		since, err := n.queue.MailSince(ctx)
		check(b.t, err)
		cfg.MailSince = &since
	}
	check(b.t, n.group.AddPolicies(notifications.New(cfg)))
	check(b.t, projections.EnsureSchemas(ctx, b.DB.DB, n.group.Specs()...))
	return n
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// subscribe runs the subscribers until the test ends or the node is stopped.
func (n *node) subscribe() *node {
	n.t.Helper()
	done := make(chan error, 1)
	go func() { done <- n.group.Run(context.Background()) }()
	n.t.Cleanup(func() {
		n.group.Close()
		if err := <-done; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	})
	return n
}

// send runs a sender until the test ends or stop is called.
func (n *node) send(change func(*notifications.SenderConfig)) (stop func()) {
	n.t.Helper()
	deliverer := notify.NewWebhooks(true)
	cfg := notifications.SenderConfig{
		Queue: n.queue, Webhook: deliverer, Logger: quiet(), FirstWait: time.Millisecond, Poll: 10 * time.Millisecond,
		Timeout: time.Minute, Slow: 20 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	sender, err := notifications.NewSender(cfg)
	check(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sender.Run(ctx)
	}()
	stop = func() { cancel(); <-done; deliverer.Close() }
	n.t.Cleanup(stop)
	return stop
}

// run executes a use case.
func (n *node) run(client string, use func(context.Context, *domain.UnitOfWork) error) eventstore.CommandResult {
	n.t.Helper()
	result, err := n.Runner.Run(context.Background(), eventstore.Command{Client: client, Actor: "tester", RequestID: "r"}, use)
	check(n.t, err)
	return result
}

// webhook registers a webhook of acme.
func (n *node) webhook(url string, types ...string) domain.ID {
	n.t.Helper()
	return n.run("acme", func(ctx context.Context, u *domain.UnitOfWork) error {
		return webhook.RegisterWebhook(ctx, u, n.queue, webhook.RegisterWebhookCommand{
			URL: url, EventTypes: types, Secret: secret, Known: n.registry.EventTypes(),
		})
	}).ID
}

func (n *node) delete(id domain.ID) int64 {
	n.t.Helper()
	return n.run("acme", func(ctx context.Context, u *domain.UnitOfWork) error {
		return webhook.DeleteWebhook(ctx, u, webhook.DeleteWebhookCommand{WebhookID: id})
	}).Position
}

// cart makes a client's cart and gives the event.
func (n *node) cart(client string) eventstore.RecordedEvent {
	n.t.Helper()
	return n.run(client, func(ctx context.Context, u *domain.UnitOfWork) error {
		customer := `<"Ünï">`
		return commerce.CreateCart(ctx, u, commerce.CreateCartCommand{CustomerID: &customer})
	}).Events[0]
}

// handled waits until the policy has handled a position.
func (n *node) handled(position int64) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	check(n.t, n.group.WaitFor(ctx, notifications.Spec().Name, position))
}

func (b *bench) count(query string, args ...any) (n int) {
	b.t.Helper()
	check(b.t, b.Get(&n, query, args...))
	return n
}

// inState counts a receiver's deliveries.
func (b *bench) inState(receiver domain.ID, state string) int {
	b.t.Helper()
	return b.count(`SELECT count(*) FROM annals.deliveries WHERE receiver_id = $1 AND state = $2`, receiver.String(), state)
}

func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// request is what a receiver was sent.
type request struct {
	method  string
	header  http.Header
	body    []byte
	attempt int
}

// receiver is a real HTTP server that keeps what it is sent, if the signature is right.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

// newReceiver makes a receiver. answer, which may be nil, answers instead of it.
func newReceiver(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, attempt int)) *receiver {
	t.Helper()
	got := &receiver{}
	got.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the receiver can't read the body: %v", err)
		}
		verify(t, r.Header.Get("Annals-Signature"), body)
		attempt, err := strconv.Atoi(r.Header.Get("Annals-Attempt"))
		if err != nil {
			t.Errorf("Annals-Attempt: %v", err)
		}
		got.mu.Lock()
		got.requests = append(got.requests, request{r.Method, r.Header, body, attempt})
		got.mu.Unlock()
		if answer != nil {
			answer(w, r, attempt)
		}
	}))
	t.Cleanup(got.Close)
	return got
}

// verify does as the documentation tells receivers to.
func verify(t testing.TB, header string, body []byte) {
	t.Helper()
	first, second, _ := strings.Cut(header, ",")
	seconds, ok := strings.CutPrefix(first, "t=")
	signature, signed := strings.CutPrefix(second, "v1=")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if age := time.Since(time.Unix(at, 0)); !ok || !signed || err != nil || age < -time.Minute || age > 10*time.Minute {
		t.Errorf("the signature is %q", header)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, seconds+"."+string(body))
	if got, err := hex.DecodeString(signature); err != nil || !hmac.Equal(got, mac.Sum(nil)) {
		t.Errorf("the signature %q is wrong for %s", header, body)
	}
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// ids gives the ids of the events that were sent, in order.
func (r *receiver) ids(t testing.TB) (ids []string) {
	t.Helper()
	for _, request := range r.all() {
		var event struct{ ID string }
		check(t, json.Unmarshal(request.body, &event))
		ids = append(ids, event.ID)
	}
	return ids
}
