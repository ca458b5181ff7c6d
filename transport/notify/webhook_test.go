package notify_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	webhook "annals/domain/notifications"
	"annals/projections/policies/notifications"
)

const cartCreated = "cart.created"

// A webhook gets the events of its types and client that come after it, each once, in a form that its receiver can check.
func TestEventsReachAWebhook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.node(false).subscribe()
	n.send(nil)
	got := newReceiver(t, nil)
	n.cart("acme") // before there is a webhook
	id := n.webhook(got.URL+"/hook?team=7", cartCreated)
	n.webhook(got.URL, "order.created")
	n.cart("globex")
	event := n.cart("acme")
	last := n.cart("acme")
	n.handled(last.Position)
	b.eventually("both events are delivered", func() bool { return b.inState(id, "delivered") == 2 })
	if all := b.count(`SELECT count(*) FROM annals.deliveries`); all != 2 {
		t.Errorf("%d deliveries were queued, want 2", all)
	}
	ids := got.ids(t)
	slices.Sort(ids)
	if want := []string{event.EventID.String(), last.EventID.String()}; !slices.Equal(ids, want) {
		t.Fatalf("the receiver was sent %v, want %v", ids, want)
	}
	first := got.all()[slices.Index(got.ids(t), event.EventID.String())]
	recorded, err := n.Reader.Event(context.Background(), "acme", event.Position)
	check(t, err)
	if first.method != "POST" || first.header.Get("Content-Type") != "application/cloudevents+json" || first.attempt != 1 ||
		first.header.Get("Annals-Webhook") != id.String() {
		t.Errorf("%s %v", first.method, first.header)
	}
	var shown map[string]any
	check(t, json.Unmarshal(first.body, &shown))
	data, err := json.Marshal(shown["data"])
	check(t, err)
	delete(shown, "data")
	want := map[string]any{
		"specversion": "1.0", "id": event.EventID.String(), "source": "urn:annals:acme", "type": cartCreated,
		"subject": "cart/" + event.AggregateID.String(), "time": recorded.OccurredAt.Format(time.RFC3339Nano),
		"datacontenttype": "application/json", "position": "5", "aggregateversion": "1", "schemaversion": 1.0,
		"clientid": "acme", "actorid": "tester", "correlationid": recorded.CorrelationID, "causationid": recorded.CausationID,
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Error(diff)
	}
	var one, two any
	check(t, json.Unmarshal(data, &one))
	check(t, json.Unmarshal(recorded.Data, &two))
	if diff := cmp.Diff(two, one); diff != "" || !strings.Contains(string(first.body), `<\"Ünï\">`) {
		t.Errorf("the data isn't the event's: %s\n%s", first.body, diff)
	}
}

// Whatever goes wrong is tried again, with the same event under the same id, and no redirect is followed.
func TestFailedAttemptsAreRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.node(false).subscribe()
	n.send(func(c *notifications.SenderConfig) { c.Timeout = 300 * time.Millisecond })
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	defer elsewhere.Close()
	got := newReceiver(t, func(w http.ResponseWriter, r *http.Request, attempt int) {
		switch attempt {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2: // never answers
			<-r.Context().Done()
		case 3: // breaks off
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
			}
			conn.Close()
		case 4:
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case 5: // says more than anybody reads
			for _, err := w.Write(make([]byte, 1<<16)); err == nil; {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}
	})
	id := n.webhook(got.URL, cartCreated)
	event := n.cart("acme").EventID.String()
	b.eventually("the event is delivered", func() bool { return b.inState(id, "delivered") == 1 })
	if ids := got.ids(t); !slices.Equal(ids, []string{event, event, event, event, event}) {
		t.Errorf("the receiver was sent %v, want five times %s", ids, event)
	}
	for i, r := range got.all() {
		if r.attempt != i+1 || string(r.body) != string(got.all()[0].body) {
			t.Errorf("request %d is attempt %d: %s", i+1, r.attempt, r.body)
		}
	}
}

// letters lists a webhook's dead letters.
func (n *node) letters(client string, id domain.ID) []notifications.DeadLetter {
	n.t.Helper()
	list, err := n.deadLetters.List(context.Background(), client, id, 0, 10)
	check(n.t, err)
	return list.Items
}

// An event that can't be delivered is given up after so many attempts, is shown, and is delivered when that is asked for.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t)
	n := b.node(false).subscribe()
	n.send(func(c *notifications.SenderConfig) { c.Attempts = 3 })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := closed.Addr().String()
	check(t, closed.Close())
	id := n.webhook("http://"+address+"/hook", cartCreated)
	first, second := n.cart("acme"), n.cart("acme")
	b.eventually("both are given up", func() bool { return b.inState(id, "dead") == 2 })
	letters := n.letters("acme", id)
	if len(letters) != 2 || letters[0].EventID != first.EventID || letters[1].EventID != second.EventID {
		t.Fatalf("%+v", letters)
	}
	l := letters[0]
	if l.EventType != cartCreated || l.Attempts != 3 || l.Error != "the receiver refused the connection" ||
		l.Position != first.Position || l.FailedAt.Before(l.QueuedAt) {
		t.Errorf("%+v", l)
	}
	page, err := n.deadLetters.List(ctx, "acme", id, 0, 1)
	if err != nil || len(page.Items) != 1 || page.Next != first.Position {
		t.Errorf("%+v: %v", page, err)
	}
	if others := n.letters("globex", id); len(others) != 0 {
		t.Errorf("another client sees %+v", others)
	}
	listener, err := net.Listen("tcp", address)
	check(t, err)
	got := newReceiver(t, nil)
	revived := &http.Server{Handler: got.Config.Handler}
	go revived.Serve(listener)
	defer revived.Close()
	n.run("acme", func(ctx context.Context, u *domain.UnitOfWork) error {
		return webhook.Redeliver(ctx, u, n.deadLetters, webhook.RedeliverCommand{WebhookID: id, EventID: second.EventID})
	})
	b.eventually("it is delivered again", func() bool { return b.inState(id, "delivered") == 1 })
	if ids := got.ids(t); !slices.Equal(ids, []string{second.EventID.String()}) {
		t.Errorf("the receiver was sent %v", ids)
	}
	if left := n.letters("acme", id); len(left) != 1 || left[0].EventID != first.EventID {
		t.Errorf("left are %+v", left)
	}
	if got.all()[0].attempt != 1 {
		t.Errorf("it is attempt %d", got.all()[0].attempt)
	}
}

// Receivers that don't answer, more of them than there are workers, delay neither the policy nor another receiver.
func TestSlowReceiversDelayNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.node(false).subscribe()
	release := make(chan struct{})
	defer close(release)
	hanging := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	var slow []domain.ID
	for range 5 {
		slow = append(slow, n.webhook(hanging.URL, cartCreated))
	}
	stop := n.send(func(c *notifications.SenderConfig) { c.Workers, c.Slower = 2, 1 })
	n.handled(n.cart("acme").Position)
	b.eventually("all hang", func() bool { return len(hanging.all()) == 5 })
	good := newReceiver(t, nil)
	id := n.webhook(good.URL, cartCreated)
	var want []string
	for range 20 {
		event := n.cart("acme")
		want = append(want, event.EventID.String())
		n.handled(event.Position)
	}
	b.eventually("the good receiver has everything", func() bool { return b.inState(id, "delivered") == 20 })
	for _, hook := range slow {
		if got := b.inState(hook, "pending"); got != 21 {
			t.Errorf("a receiver that hangs has %d pending deliveries, want 21", got)
		}
	}
	ids := good.ids(t)
	slices.Sort(ids)
	if slices.Sort(want); !slices.Equal(ids, want) {
		t.Errorf("the good receiver was sent %v, want %v", ids, want)
	}
	stop() // in spite of those that hang
	if under := b.count(`SELECT count(*) FROM annals.deliveries WHERE state = 'pending' AND (next_attempt_at > now() OR attempts > 0)`); under != 0 {
		t.Errorf("%d broken off attempts count, or aren't due at once", under)
	}
}

// Two nodes deliver each event once to each receiver.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one, two := b.node(false).subscribe(), b.node(false).subscribe()
	one.send(nil)
	two.send(nil)
	receivers := []*receiver{newReceiver(t, nil), newReceiver(t, nil)}
	hooks := []domain.ID{one.webhook(receivers[0].URL, cartCreated), two.webhook(receivers[1].URL, cartCreated)}
	var want []string
	for i := range 60 {
		want = append(want, []*node{one, two}[i%2].cart("acme").EventID.String())
	}
	slices.Sort(want)
	for i, hook := range hooks {
		b.eventually("all are delivered", func() bool { return b.inState(hook, "delivered") == 60 })
		ids := receivers[i].ids(t)
		slices.Sort(ids)
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("receiver %d:\n%s", i, diff)
		}
	}
}

// delivererFunc is a notifications.Deliverer.
type delivererFunc func(ctx context.Context, d notifications.Delivery) error

func (f delivererFunc) Deliver(ctx context.Context, d notifications.Delivery) error { return f(ctx, d) }

// A node that ends between the receiver's answer and writing it down leads to a second delivery under the same id.
func TestDeliveryThatWasNotWrittenDownIsRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one, two := b.node(false), b.node(false).subscribe()
	got := newReceiver(t, nil)
	id := two.webhook(got.URL, cartCreated)
	event := two.cart("acme")
	two.handled(event.Position)
	const lease = 500 * time.Millisecond
	stop := one.send(func(c *notifications.SenderConfig) {
		inner := c.Webhook
		c.Lease = lease
		c.Webhook = delivererFunc(func(ctx context.Context, d notifications.Delivery) error {
			defer one.closeQueue()
			return inner.Deliver(ctx, d)
		})
	})
	b.eventually("the receiver has it", func() bool { return len(got.all()) == 1 })
	stop()
	if b.inState(id, "pending") != 1 {
		t.Fatal("the delivery was written down")
	}
	two.send(nil)
	b.eventually("it is delivered", func() bool { return b.inState(id, "delivered") == 1 })
	if ids := got.ids(t); !slices.Equal(ids, []string{event.EventID.String(), event.EventID.String()}) {
		t.Errorf("the receiver was sent %v, want twice %s", ids, event.EventID)
	}
}

// After a webhook's deletion nothing is sent, whether the policy has come to know of it or not, and nothing of it is left.
func TestDeletionStopsDeliveries(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.node(false).subscribe()
	deleted, kept := newReceiver(t, nil), newReceiver(t, nil)
	gone, stays := n.webhook(deleted.URL, cartCreated), n.webhook(kept.URL, cartCreated)
	n.handled(n.cart("acme").Position)
	n.group.Close()
	position := n.delete(gone)
	last := n.cart("acme")
	stop := n.send(nil)
	b.eventually("the other one is told", func() bool { return b.inState(stays, "delivered") == 1 })
	stop()
	if len(deleted.all()) != 0 || b.inState(gone, "pending") != 1 {
		t.Errorf("a deleted webhook was sent %v", deleted.ids(t))
	}
	other := b.node(false).subscribe()
	other.handled(last.Position)
	if left := b.count(`SELECT count(*) FROM annals.deliveries WHERE receiver_id = $1`, gone.String()); left != 0 {
		t.Errorf("%d deliveries of position %d and before are left", left, position)
	}
	if secrets := b.count(`SELECT count(*) FROM annals.webhook_secrets`); secrets != 1 {
		t.Errorf("%d secrets are left, want 1", secrets)
	}
	other.send(nil)
	b.eventually("the other one is told", func() bool { return b.inState(stays, "delivered") == 2 })
	if in := b.count(`SELECT count(*) FROM annals.events WHERE data::text LIKE '%' || $1 || '%' OR metadata::text LIKE '%' || $1 || '%'`, secret); in != 0 {
		t.Errorf("the secret is in %d events", in)
	}
}
