package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"annals/eventstore/pgtest"
	"annals/projections/products"
	"annals/projections/replay"
)

// liveProducts is the table that products are served from.
var liveProducts = products.Spec().Schema() + ".products"

// A rebuild by another process, under writers and readers: every read is answered from whole tables that never fall back,
// and afterwards the rows are what the log says.
func TestReplayWhileServersServe(t *testing.T) {
	t.Parallel()
	n := twoNodes(t)
	l := newLoad(t, n.servers...).start(6)
	l.progress(200)
	reading := readAlong(t, n)
	for range 2 {
		runChild(t, nil, append([]string{"replay", "--all", "--output", "json"}, n.database...)...).exits(exitDone)
		l.progress(20)
	}
	n.callers[0].send("POST", "/v1/projections/products/rebuild", "").is(http.StatusAccepted)
	l.progress(50)
	reading()
	l.finish(n.servers[0], n.database...)
}

// readAlong reads from every node until the function it gives is called, and requires that nothing that was once seen is
// missing later.
func readAlong(t *testing.T, n *nodes) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for _, c := range n.callers {
		readers.Go(func() {
			rounds := 0
			for seen := new(sight); ctx.Err() == nil && !t.Failed(); rounds++ {
				seen.look(t, c)
			}
			t.Logf("%d rounds of reading", rounds)
		})
	}
	return func() { cancel(); readers.Wait() }
}

// sight is the most that a reader has seen.
type sight struct {
	versions map[string]int64 // of products
	orders   int
	audited  int
}

func (s *sight) look(t *testing.T, c *caller) {
	var page struct {
		Items []struct {
			ID      string
			Version int64
		}
	}
	read := func(path string) int {
		r, err := c.try(t.Context(), "GET", path, "")
		if err != nil || r.status != http.StatusOK {
			t.Errorf("GET %s during a rebuild: %v, %+v", path, err, r)
			return 0
		}
		page.Items = nil
		r.into(&page)
		return len(page.Items)
	}
	products := read("/v1/products?limit=500")
	versions := make(map[string]int64, products)
	for _, p := range page.Items {
		versions[p.ID] = p.Version
	}
	for id, version := range s.versions {
		if versions[id] < version {
			t.Errorf("product %s is at version %d, after %d", id, versions[id], version)
		}
	}
	orders, audited := read("/v1/orders?limit=500"), read("/v1/audit-log?limit=500")
	if products != 3 || orders < s.orders || audited < s.audited {
		t.Errorf("%d products, %d orders after %d, %d rows of the audit log after %d", products, orders, s.orders, audited, s.audited)
	}
	s.versions, s.orders, s.audited = versions, orders, audited
}

// Interrupted, a replay leaves the old tables in use, and the next one goes on from what it had built.
func TestInterruptedReplayResumes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveHere(t, database...)
	l := newLoad(t, server).start(4)
	l.progress(100)
	l.halt()
	shown := server.caller(shop).get("/v1/products", server.caller(shop).head()).is(http.StatusOK)
	table := tableOf(t, db)
	// A reader's open transaction keeps the switch from its lock for as long as the test wants.
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`LOCK TABLE ` + liveProducts + ` IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	first := runChild(t, nil, append([]string{"replay", "products"}, database...)...)
	first.await(fmt.Sprintf("products v%d switch", products.Spec().Version))
	first.signal(syscall.SIGINT)
	first.exits(exitFailed).says("interrupted")
	if got := tableOf(t, db); got != table {
		t.Errorf("the table in use is %d, want %d still", got, table)
	}
	if again := server.caller(shop).send("GET", "/v1/products", "").is(http.StatusOK); string(again.body) != string(shown.body) {
		t.Errorf("the products are %s, want %s still", again.body, shown.body)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	second := runChild(t, nil, append([]string{"replay", "products", "--output", "json"}, database...)...).exits(exitDone)
	var results []replay.Result
	if err := json.Unmarshal([]byte(second.stdout.String()), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || !results[0].Resumed || !results[0].Switched {
		t.Errorf("the second replay: %+v", results)
	}
	if got := tableOf(t, db); got == table {
		t.Error("the second replay left the old table in use")
	}
	l.finish(server, database...)
}

// tableOf identifies the table that holds the products.
func tableOf(t *testing.T, db *pgtest.DB) (oid int64) {
	t.Helper()
	if err := db.Get(&oid, `SELECT '`+liveProducts+`'::regclass::oid::bigint`); err != nil {
		t.Fatal(err)
	}
	return oid
}
