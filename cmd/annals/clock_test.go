package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"annals/eventstore/pgtest"
	"annals/eventstore/secretfile"
)

// A server whose clock jumps back, and forward again, writes on in order: positions, ids, read models and pages don't go by
// the clock.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var off atomic.Int64
	var cfg serveConfig
	cfg.register(pflag.NewFlagSet("serve", pflag.ContinueOnError)) // which sets the defaults
	cfg.cartSweep = 50 * time.Millisecond
	cfg.clock = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	server := serveNode(t, &cfg, db.DSN)
	l := newLoad(t, server).start(4)
	l.progress(40)
	for _, jump := range []time.Duration{-time.Hour, -20 * time.Hour, time.Minute} {
		off.Store(int64(jump))
		l.progress(40)
	}
	l.halt()
	c := server.caller(shop)
	var orders []string
	seen := make(map[string]bool)
	for path := "/v1/orders?limit=7"; path != ""; {
		var page struct {
			Items      []struct{ ID string }
			NextCursor *string `json:"next_cursor"`
		}
		c.get(path, c.head()).is(http.StatusOK).into(&page)
		for _, o := range page.Items {
			if seen[o.ID] {
				t.Errorf("order %s is on two pages", o.ID)
			}
			seen[o.ID] = true
			orders = append(orders, o.ID)
		}
		if path = ""; page.NextCursor != nil {
			path = "/v1/orders?limit=7&cursor=" + url.QueryEscape(*page.NextCursor)
		}
	}
	var want []string
	if err := db.Select(&want, `SELECT aggregate_id FROM annals.events WHERE event_type = 'order.created' ORDER BY position`); err != nil {
		t.Fatal(err)
	}
	if len(orders) != len(want) {
		t.Errorf("%d orders on all pages, want %d", len(orders), len(want))
	}
	for i := range min(len(orders), len(want)) {
		if orders[i] != want[i] {
			t.Fatalf("order %d is %s, want %s", i, orders[i], want[i])
		}
	}
	var back, expired int
	if err := db.Get(&back, `SELECT count(*) FROM annals.events e JOIN annals.events f ON f.position = e.position + 1
		WHERE f.occurred_at < e.occurred_at - interval '30 minutes'`); err != nil || back < 2 {
		t.Errorf("the clock jumped back %d times, %v", back, err)
	}
	if err := db.Get(&expired, `SELECT count(*) FROM annals.events WHERE event_type = 'cart.expired'`); err != nil || expired != 0 {
		t.Errorf("%d carts expired that the load still worked on, %v", expired, err)
	}
	l.finish(server, "--database-url", db.DSN)
}

// serveNode runs a node of this process with a configuration that no flag can make, until the test ends.
func serveNode(t *testing.T, cfg *serveConfig, dsn string) *program {
	t.Helper()
	cfg.subjectKeys = keySource{dsn: dsn, secret: secretfile.Source{File: os.Getenv("ANNALS_SUBJECT_KEYS_FILE")}}
	ctx, cancel := context.WithCancel(context.Background())
	n, err := startNode(ctx, cfg, dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	p.url = "http://" + listener.Addr().String()
	go func() {
		defer close(p.done)
		if err := n.serve(ctx, listener, cfg); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if err := n.close(stopTimeout); err != nil {
			t.Error(err)
		}
	})
	return p
}
