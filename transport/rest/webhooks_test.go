package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"annals/transport/rest"
)

const hookSecret = "a secret of the receiver's"

func hookBody(url, secret string, types ...string) string {
	return fmt.Sprintf(`{"url":%q,"event_types":["%s"],"secret":%q}`, url, strings.Join(types, `","`), secret)
}

// webhook registers a webhook and gives its id.
func (b *bench) webhook(types ...string) string {
	b.t.Helper()
	return b.send("POST", "/v1/webhooks", hookBody("https://example.com/hook", hookSecret, types...)).is(201).text("id")
}

// deadLetter makes the first event of a stream a dead letter of a webhook, as the sender does, and gives the event's id.
func (b *bench) deadLetter(webhook, stream string) (event string) {
	b.t.Helper()
	check(b.t, b.db.Get(&event, `
		INSERT INTO annals.deliveries (receiver_id, event_id, position, client_id, state, attempts, last_error, settled_at)
		SELECT $1, event_id, position, client_id, 'dead', 15, 'the receiver answered 500', now()
		FROM annals.events WHERE aggregate_id = $2 AND aggregate_version = 1 RETURNING event_id`, webhook, stream))
	return event
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	made := b.send("POST", "/v1/webhooks", hookBody("https://example.com/hook?a=b", hookSecret, "order.created", "hold.created"),
		"Idempotency-Key: k").is(201)
	id := made.text("id")
	if made.header.Get("Location") != "/v1/webhooks/"+id || made.header.Get("ETag") != `"1"` || made.number("version") != 1 {
		t.Errorf("%v %s", made.header, made.body)
	}
	again := b.send("POST", "/v1/webhooks", hookBody("https://example.com/hook?a=b", hookSecret, "order.created", "hold.created"),
		"Idempotency-Key: k").is(201)
	if again.header.Get("Idempotency-Replayed") != "true" || string(again.body) != string(made.body) {
		t.Errorf("%v %s", again.header, again.body)
	}
	b.send("POST", "/v1/webhooks", hookBody("https://example.com/hook?a=b", hookSecret+"!", "order.created", "hold.created"),
		"Idempotency-Key: k").problem(422, "idempotency-key-reused")
	shown := b.send("GET", "/v1/webhooks/"+id, "", b.at()).is(200)
	wantMembers(t, shown.json(), "id", "url", "event_types", "status", "version", "created_at", "updated_at")
	if got := shown.json(); got["url"] != "https://example.com/hook?a=b" || got["status"] != "active" ||
		fmt.Sprint(got["event_types"]) != "[order.created hold.created]" || shown.header.Get("ETag") != `"1"` {
		t.Errorf("%s", shown.body)
	}
	b.send("GET", "/v1/webhooks/"+id, "", `If-None-Match: "1"`).is(304)
	for _, path := range []string{"/v1/webhooks/" + id, "/v1/webhooks/" + id + "/dead-letters"} {
		b.send("GET", path, "", "Annals-Client: globex").problem(404, "not-found")
	}
	b.send("DELETE", "/v1/webhooks/"+id, "", "Annals-Client: globex").problem(404, "not-found")
	b.send("DELETE", "/v1/webhooks/"+id, "", `If-Match: "7"`).problem(412, "version-mismatch")
	gone := b.send("DELETE", "/v1/webhooks/"+id, "", "Prefer: return=representation").is(200)
	if gone.text("status") != "deleted" || gone.number("version") != 2 {
		t.Errorf("%s", gone.body)
	}
	b.send("DELETE", "/v1/webhooks/"+id, "").problem(404, "not-found")
	b.send("GET", "/v1/webhooks/"+id, "", b.at()).problem(404, "not-found")
	if state := b.send("GET", "/v1/streams/webhook/"+id+"/state?at_version=1", "").is(200).json()["state"].(map[string]any); state["status"] != "active" {
		t.Errorf("%v", state)
	}
}

// The secret is for the program alone: it is in no answer, no event, no log line, and not to be had by the query role.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.webhook("order.created")
	for _, path := range []string{
		"/v1/webhooks", "/v1/webhooks/" + id, "/v1/streams/webhook/" + id, "/v1/streams/webhook/" + id + "/state", "/v1/events",
		"/v1/audit-log",
	} {
		if r := b.send("GET", path, "", b.at()).is(200); strings.Contains(string(r.body), hookSecret) {
			t.Errorf("%s shows the secret: %s", path, r.body)
		}
	}
	b.send("POST", "/v1/webhooks", hookBody("nowhere", hookSecret, "order.created")).problem(422, "validation-failed")
	if strings.Contains(b.log.String(), hookSecret) {
		t.Errorf("the log shows the secret:\n%s", b.log)
	}
	var secret string
	check(t, b.store.Commands.Get(&secret, `SELECT secret FROM annals.webhook_secrets`))
	if err := b.store.Queries.Get(&secret, `SELECT secret FROM annals.webhook_secrets`); err == nil {
		t.Error("the query role reads secrets")
	}
	var letters int
	b.deadLetter(id, id)
	check(t, b.store.Queries.Get(&letters, `SELECT count(*) FROM annals.deliveries`))
	if secret != hookSecret || letters != 0 {
		t.Errorf("secret %q; without naming a client the query role sees %d deliveries", secret, letters)
	}
}

func TestWebhooksAreListed(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	var want []string
	for range 3 {
		want = append(want, b.webhook("order.created"))
	}
	b.send("POST", "/v1/webhooks", hookBody("http://h/", hookSecret, "order.created"), "Annals-Client: globex").is(201)
	b.send("DELETE", "/v1/webhooks/"+b.webhook("order.created"), "").is(200)
	var got []string
	cursor := ""
	for {
		r := b.send("GET", "/v1/webhooks?limit=2"+cursor, "", b.at()).is(200)
		for _, item := range items(r) {
			got = append(got, item["id"].(string))
		}
		next, more := r.json()["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	b.send("GET", "/v1/webhooks?limit=2"+cursor, "", "Annals-Client: globex").problem(400, "malformed-request")
}

func TestBadWebhooks(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	for body, pointers := range map[string][]string{
		`{}`: {"/event_types", "/secret", "/url"},
		hookBody("ftp://h/", hookSecret, "order.created"):                                    {"/url"},
		hookBody("http://user:password@h/", hookSecret, "order.created"):                     {"/url"},
		hookBody("https://h/", strings.Repeat("x", 201), "order.created"):                    {"/secret"},
		hookBody("https://h/", hookSecret, "order.created", "order.changed"):                 {"/event_types/1"},
		hookBody("https://h/", hookSecret, "order.created", "order.created"):                 {"/event_types/1"},
		`{"url":"https://h/","event_types":[],"secret":"0123456789abcdef"}`:                  {"/event_types"},
		`{"url":"https://h/","event_types":null,"secret":"0123456789abcdef"}`:                {"/event_types"},
		`{"url":"https://h/","event_types":"order.created","secret":"0123456789abcdef"}`:     {"/event_types"},
		`{"url":"https://h/","event_types":["order.created",7],"secret":"0123456789abcdef"}`: {"/event_types/1"},
		`{"url":1,"event_types":["order.created"],"secret":2,"x":3}`:                         {"/secret", "/url", "/x"},
	} {
		p := b.send("POST", "/v1/webhooks", body).problem(422, "validation-failed")
		var got []string
		for _, fault := range p["errors"].([]any) {
			got = append(got, fault.(map[string]any)["pointer"].(string))
		}
		if fmt.Sprint(got) != fmt.Sprint(pointers) {
			t.Errorf("%s: %v, want %v", body, got, pointers)
		}
	}
	if head := b.head(); head != 0 {
		t.Errorf("the log has %d events", head)
	}
	b.send("POST", "/v1/webhooks", hookBody("https://h/", hookSecret, "order.created"), "Annals-Client: *").problem(403, "forbidden")
	b.send("GET", "/v1/webhooks", "", "Annals-Client: *").problem(403, "forbidden")
}

func TestDeadLettersAreShownAndDeliveredAgain(t *testing.T) {
	t.Parallel()
	b := newServerWith(t, readModels(), allPolicies)
	id := b.webhook("product.registered")
	var events []string
	for _, sku := range []string{"A", "B", "C"} {
		product := b.product(sku, 1)
		check(t, b.group.WaitFor(context.Background(), "notifications", b.head()))
		_, err := b.db.Exec(`DELETE FROM annals.deliveries WHERE state = 'pending'`)
		check(t, err)
		events = append(events, b.deadLetter(id, product))
	}
	letters := "/v1/webhooks/" + id + "/dead-letters"
	first := b.send("GET", letters+"?limit=2", "", b.at()).is(200)
	found := items(first)
	wantMembers(t, found[0], "event_id", "event_type", "position", "attempts", "error", "queued_at", "failed_at")
	if len(found) != 2 || found[0]["event_id"] != events[0] || found[1]["event_id"] != events[1] || found[0]["attempts"] != 15.0 ||
		found[0]["error"] != "the receiver answered 500" || found[0]["event_type"] != "product.registered" {
		t.Errorf("%s", first.body)
	}
	rest := items(b.send("GET", letters+"?limit=2&cursor="+first.text("next_cursor"), "").is(200))
	if len(rest) != 1 || rest[0]["event_id"] != events[2] {
		t.Errorf("%v", rest)
	}
	again := letters + "/" + events[1] + "/redeliver"
	b.send("POST", again, "", "Annals-Client: globex").problem(404, "not-found")
	b.send("POST", letters+"/"+id+"/redeliver", "").problem(404, "not-found")
	b.send("POST", letters+"/none/redeliver", "").problem(404, "not-found")
	b.send("POST", again, "", `If-Match: "9"`).problem(412, "version-mismatch")
	done := b.send("POST", again, "", "Idempotency-Key: once").is(200)
	if done.text("id") != id || done.number("version") != 2 || done.header.Get("ETag") != `"2"` {
		t.Errorf("%s", done.body)
	}
	left := items(b.send("GET", letters, "", b.at()).is(200))
	if len(left) != 2 || left[0]["event_id"] != events[0] || left[1]["event_id"] != events[2] {
		t.Errorf("%v", left)
	}
	b.send("POST", again, "").problem(404, "not-found")
	if r := b.send("POST", again, "", "Idempotency-Key: once").is(200); r.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%v", r.header)
	}
	var due int
	check(t, b.db.Get(&due, `SELECT count(*) FROM annals.deliveries WHERE state = 'pending' AND attempts = 0 AND next_attempt_at <= now()`))
	if due != 1 {
		t.Errorf("%d deliveries are due, want 1", due)
	}
}

// only gives every request one role.
type only struct{ rest.Roles }

func (o only) Authenticate(context.Context, rest.Credentials) (rest.Principal, error) {
	return rest.Principal{Actor: "a", Client: "acme", Roles: o.Roles}, nil
}

func TestWebhooksAreForAdministrators(t *testing.T) {
	t.Parallel()
	const none = "/v1/webhooks/" + exampleID
	for roles, status := range map[rest.Roles]int{
		rest.Viewer | rest.Operator | rest.Auditor: http.StatusForbidden, rest.Admin: http.StatusNotFound,
	} {
		b := newServer(t, func(b *bench) { b.config.Authenticator = only{roles} })
		b.send("GET", none, "").is(status)
		b.send("GET", none+"/dead-letters", "").is(status)
		b.send("POST", none+"/dead-letters/"+exampleID+"/redeliver", "").is(status)
		b.send("DELETE", none, "").is(status)
	}
	b := newServer(t, func(b *bench) { b.config.Authenticator = only{rest.Operator} })
	b.send("GET", "/v1/webhooks", "").problem(403, "forbidden")
	b.send("POST", "/v1/webhooks", hookBody("https://h/", hookSecret, "order.created")).problem(403, "forbidden")
}
