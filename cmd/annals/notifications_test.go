//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// A server that is killed after the receiver got an event, and before it wrote that down, leads to a second delivery under
// the same id. A replay leads to none.
func TestWebhookSurvivesAKill(t *testing.T) {
	t.Parallel()
	type sent struct{ id, subject, signature string }
	got := make(chan sent, 16)
	release := make(chan struct{})
	var hung atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var event struct{ ID, Subject string }
		if err == nil {
			err = json.Unmarshal(body, &event)
		}
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		hang := hung.CompareAndSwap(false, true)
		got <- sent{event.ID, event.Subject, r.Header.Get("Annals-Signature")}
		if hang {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer receiver.Close()
	defer close(release)
	next := func(want string) sent {
		t.Helper()
		select {
		case s := <-got:
			if s.id != want || !strings.HasPrefix(s.signature, "t=") {
				t.Errorf("the receiver was sent %+v, want %s", s, want)
			}
			return s
		case <-time.After(patience):
			t.Fatal("nothing came")
			return sent{}
		}
	}
	flags := []string{"--database-url", pgtest.New(t).DSN, "--webhook-timeout", "2s"}
	doomed := serveChild(t, flags...)
	c := doomed.caller(shop)
	hook := c.send("POST", "/v1/webhooks", fmt.Sprintf(
		`{"url":%q,"event_types":["cart.created"],"secret":"0123456789abcdef"}`, receiver.URL)).is(http.StatusCreated).done().ID
	cart := func() string {
		return c.send("POST", "/v1/carts", `{}`).is(http.StatusCreated).done().Events[0].EventID
	}
	event := cart()
	next(event)
	doomed.kill()
	server := serveHere(t, flags...)
	c = server.caller(shop)
	next(event)

	annals(t, append([]string{"replay", "--all"}, flags[:2]...)...).exits(exitDone)
	last := cart()
	next(last) // and nothing between
	var letters struct{ Items []any }
	c.get("/v1/webhooks/"+hook+"/dead-letters", c.head()).is(http.StatusOK).into(&letters)
	if len(letters.Items) != 0 || len(got) != 0 {
		t.Errorf("dead letters %v; %d more were sent", letters.Items, len(got))
	}
	if r := c.send("GET", "/metrics", "").is(http.StatusOK); !strings.Contains(string(r.body),
		`annals_notification_attempts_total{outcome="delivered",receiver="webhook"} 2`) {
		t.Error("the deliveries aren't counted")
	}
	server.stop()
}
