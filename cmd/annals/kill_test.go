//go:build !race

// The programs of these tests are processes of their own, which the race detector doesn't look into.

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// moment waits for some part of a time, so that a kill comes at any point of what takes about that long.
func moment(whole time.Duration) { time.Sleep(rand.N(whole)) }

// A replay that is killed at any moment leaves the old tables or the new ones in use, never others, and the next one goes on.
// So does a server's own rebuild.
func TestKilledReplay(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveChild(t, database...)
	l := newLoad(t, server).start(1)
	l.progress(150)
	replay := append([]string{"replay", "--all"}, database...)
	begin := time.Now()
	runChild(t, nil, replay...).exits(exitDone)
	whole := time.Since(begin)
	for range 3 {
		child := runChild(t, nil, replay...)
		moment(whole)
		child.kill()
		server.caller(shop).send("GET", "/v1/products", "").is(http.StatusOK)
	}
	l.progress(50)
	for range 2 {
		c := server.caller(shop)
		for _, name := range []string{"products", "orders", "audit_log"} {
			c.send("POST", "/v1/projections/"+name+"/rebuild", "").is(http.StatusAccepted)
		}
		moment(whole / 2)
		server.kill()
		server = serveChild(t, database...)
		l.aim(server)
		l.progress(20)
	}
	runChild(t, nil, replay...).exits(exitDone)
	l.finish(server, database...)
	var leftover int
	if err := db.Get(&leftover, `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'build\_%'`); err != nil || leftover != 0 {
		t.Errorf("%d schemas of builds are left, %v", leftover, err)
	}
}

// A migration that is killed at any moment is finished by the next program that starts, and leads to the same schema.
func TestKilledMigration(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	annals(t, "migrate", "--database-url", pgtest.NewEmpty(t).DSN).exits(exitDone)
	whole := 2 * time.Since(begin) // a process takes longer
	db := pgtest.NewEmpty(t)
	migrate := []string{"migrate", "--database-url", db.DSN}
	for range 6 {
		child := runChild(t, nil, migrate...)
		moment(whole)
		child.kill()
	}
	server := serveHere(t, "--database-url", db.DSN)
	server.caller(shop).product("p", 1)
	server.stop()
	fresh := pgtest.NewEmpty(t)
	serveHere(t, "--database-url", fresh.DSN).stop()
	if got, want := schemaOf(t, db), schemaOf(t, fresh); !bytes.Equal(got, want) {
		t.Errorf("the schema after kills:\n%s\nwant:\n%s", got, want)
	}
}

// schemaOf gives the schema's definition.
func schemaOf(t *testing.T, db *pgtest.DB) []byte {
	t.Helper()
	var bin string
	if err := db.Get(&bin, `SELECT setting FROM pg_config() WHERE name = 'BINDIR'`); err != nil {
		t.Fatal(err)
	}
	dump, err := exec.Command(filepath.Join(bin, "pg_dump"), "--schema-only", libpqURL(t, db.DSN)).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	lines := bytes.Split(dump, []byte("\n"))
	kept := lines[:0]
	for _, line := range lines {
		if !bytes.HasPrefix(line, []byte(`\`)) { // newer versions print a random word to restrict psql by
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, []byte("\n"))
}

// A policy whose server is killed at any moment decides about each event once.
func TestKilledPolicy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	flags := []string{"--database-url", db.DSN, "--quality-hold-limit", "90"}
	server := serveChild(t, flags...)
	l := newLoad(t, server)
	const orders = 60
	for n := range orders {
		created, ok := l.command(0, fmt.Sprintf("order-%d", n), "POST", "/v1/work-orders", fmt.Sprintf(`{"number":"WO-%d",
			"product_code":"P-7","quantity_ordered":10,"received_on":"2026-01-05","due_on":"2026-01-30"}`, n))
		if !ok {
			return
		}
		_, ok = l.command(0, fmt.Sprintf("inspection-%d", n), "POST", "/v1/quality-inspections", fmt.Sprintf(`{"work_order_id":%q,
			"stage":"final","units_inspected":10,"units_passed":5,"units_defective":5}`, created.ID))
		if !ok {
			return
		}
		if n%15 == 14 {
			moment(50 * time.Millisecond)
			server.kill()
			server = serveChild(t, flags...)
			l.aim(server)
		}
	}
	c := server.caller(shop)
	var holds struct {
		Items []struct {
			WorkOrderID string `json:"work_order_id"`
		}
	}
	// Ends once so many holds are in the log.
	c.send("GET", fmt.Sprintf("/v1/events?event_type=hold.created&limit=%d", orders), "", "Accept: text/event-stream").is(http.StatusOK)
	c.get("/v1/holds?limit=500", c.head()).is(http.StatusOK).into(&holds)
	held := make(map[string]bool)
	for _, h := range holds.Items {
		held[h.WorkOrderID] = true
	}
	if len(holds.Items) != orders || len(held) != orders {
		t.Errorf("%d holds of %d orders, want one of each of %d", len(holds.Items), len(held), orders)
	}
	l.finish(server, flags[:2]...)
}

// A server that is killed in the middle of its work, its private PostgreSQL with it, loses nothing and doubles nothing.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	database := []string{"--data-dir", pgtest.DataDir(t)}
	server := serveChild(t, database...)
	l := newLoad(t, server).start(12)
	for range 3 {
		l.progress(20 + rand.IntN(200))
		server.kill()
		server = serveChild(t, database...)
		l.aim(server)
	}
	l.progress(50)
	l.finish(server, database...)
}
