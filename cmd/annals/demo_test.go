package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// The same seed tells the same story: on another database as on the first, and nothing new when it is told again.
func TestDemoIsReproducible(t *testing.T) {
	t.Parallel()
	var told []map[string]int
	for _, direct := range []bool{false, true} {
		db := pgtest.New(t)
		database := []string{"--database-url", db.DSN}
		line := append([]string{"demo", "--seed", "7", "--scale", "0.1"}, database...)
		if !direct {
			line = []string{"demo", "--seed", "7", "--scale", "0.1", "--url", serveHere(t, database...).url}
		}
		first := annals(t, line...).exits(exitDone)
		server := serveHere(t, database...)
		log := server.settledLog()
		second := annals(t, line...).exits(exitDone)
		again := server.settledLog()
		wasNew, wasKnown := strings.Contains(first.stdout.String(), "(0 done before)"), strings.Contains(second.stdout.String(), ", 0 events")
		if len(log) < 300 || len(again) != len(log) || !wasNew || !wasKnown {
			t.Errorf("%d events, after the repeat %d; said %q and %q", len(log), len(again), first.stdout, second.stdout)
		}
		told = append(told, withoutIDs(t, log))
		annals(t, append([]string{"replay", "--all", "--dry-run"}, database...)...).exits(exitDone)
	}
	for what, times := range told[0] {
		if told[1][what] != times {
			t.Errorf("%d times here, %d times there: %s", times, told[1][what], what)
		}
	}
	if len(told[0]) != len(told[1]) {
		t.Errorf("%d different events here, %d there", len(told[0]), len(told[1]))
	}
}

// The story holds together at every scale, also with so few products that a cart gets one of them twice: a cart takes one
// and the same of 7 products, which scale 0.175 has.
func TestDemoAtSmallScales(t *testing.T) {
	t.Parallel()
	server := serveHere(t, "--database-url", pgtest.New(t).DSN)
	for _, c := range []struct {
		scale string
		seeds int
	}{{"0.01", 5}, {"0.05", 1}, {"0.175", 1}} {
		for seed := range c.seeds {
			annals(t, "demo", "--url", server.url, "--client", "scale-"+c.scale, "--seed", fmt.Sprint(seed+1), "--scale", c.scale).
				exits(exitDone).prints("(0 done before)")
		}
	}
}

// The bar is drawn by whoever tells of progress, and by nobody else.
func TestDemoBar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	update, end := demoBar(&out)
	for done := range 4 {
		update(done, 3)
	}
	end()
	if !strings.Contains(out.String(), "(0/3") {
		t.Errorf("drawn: %q", out.String())
	}
	_, end = demoBar(&out)
	end()
}

// settledLog reads the log once every subscriber has reached its end: policies add to it.
func (p *program) settledLog() []event {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(backoff) {
		var subscribers struct {
			Items []struct {
				Name string
				Lag  int64
			}
		}
		p.everyone().send("GET", "/v1/projections", "").is(http.StatusOK).into(&subscribers)
		behind := ""
		for _, s := range subscribers.Items {
			if s.Lag > 0 {
				behind += fmt.Sprintf(" %s by %d", s.Name, s.Lag)
			}
		}
		if behind == "" {
			return slices.DeleteFunc(p.everyone().events("/v1/events", 0), func(e event) bool {
				return strings.HasPrefix(e.EventType, "audit.") // this reading itself
			})
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("behind:%s", behind)
		}
	}
}

// changing are members that differ between two runs beside ids: times, and the stock after a step, which depends on
// the order in which carts reach a product.
var changing = []string{"id", "available", "available_after", "changed_at", "held_for"}

// withoutIDs counts events by type, actor and data, without what differs between two runs. Alerts are left out: they
// follow the order in which entries arrive.
func withoutIDs(t *testing.T, log []event) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for _, e := range log {
		if e.EventType == "kpi.threshold_violated" || e.EventType == "kpi.threshold_recovered" {
			continue
		}
		var data map[string]any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(stripped(data))
		if err != nil {
			t.Fatal(err)
		}
		counts[fmt.Sprintf("%s %s %s %s", e.ClientID, e.EventType, e.ActorID, plain)]++
	}
	return counts
}

func stripped(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if slices.Contains(changing, name) || strings.HasSuffix(name, "_id") && name != "customer_id" {
				delete(v, name)
				continue
			}
			v[name] = stripped(member)
		}
	case []any:
		for i := range v {
			v[i] = stripped(v[i])
		}
	}
	return value
}
