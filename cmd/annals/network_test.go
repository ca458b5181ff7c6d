package main

import (
	"net/http"
	"testing"

	"annals/eventstore/pgtest"
)

// An answer of the database that is lost after the commit neither loses the command nor doubles it, whichever of the
// server's connections it is lost on.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, app string
		every     int64
	}{
		{"of appends", "annals append", 25},
		{"of subscribers", "annals projections", 25},
		{"of any", "", 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			p := newProxy(t, db.DSN)
			p.dropOf = c.app
			server := serveHere(t, "--database-url", p.dsn())
			l := newLoad(t, server)
			p.lose(c.every)
			l.start(8)
			for p.dropped.Load() < 8 {
				l.progress(20)
			}
			p.lose(0)
			l.finish(server, "--database-url", db.DSN)
		})
	}
}

// While the network stalls, commands wait or are told to come back, and when it goes on so do they. Connections that are
// reset are made again.
func TestStallsAndResets(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newProxy(t, db.DSN)
	server := serveHere(t, "--database-url", p.dsn())
	l := newLoad(t, server).start(8)
	for range 4 {
		l.progress(40)
		p.reset()
	}
	l.progress(40)
	p.stall()
	r, err := server.caller(shop).try(t.Context(), "POST", "/v1/carts", `{"customer_id":"stalled"}`, "Idempotency-Key: stalled")
	if err != nil {
		t.Fatal(err)
	}
	if r.status != http.StatusServiceUnavailable || r.slug() != "unavailable" || r.header.Get("Retry-After") == "" {
		t.Errorf("a command while the network stalls: status %d, %s", r.status, r.body)
	}
	server.caller(shop).send("GET", "/healthz", "").is(http.StatusOK)
	p.release()
	done, ok := l.command(0, "stalled", "POST", "/v1/carts", `{"customer_id":"stalled"}`)
	if !ok || done.Version != 1 {
		t.Errorf("the same key after the stall: %+v", done)
	}
	l.progress(40)
	l.finish(server, "--database-url", db.DSN)
}

// A transaction that somebody else leaves open, having written, keeps neither writers nor readers waiting.
func TestLongTransactionStallsNothing(t *testing.T) {
	t.Parallel()
	n := twoNodes(t)
	n.db.MustExec(`CREATE TABLE somebodys (n int)`)
	tx, err := n.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`INSERT INTO somebodys VALUES (1); SELECT count(*) FROM annals.events`); err != nil {
		t.Fatal(err)
	}
	l := newLoad(t, n.servers...).start(8)
	l.progress(300)
	l.finish(n.servers[1], n.database...)
	var written int
	if err := tx.QueryRow(`SELECT count(*) FROM somebodys`).Scan(&written); err != nil || written != 1 {
		t.Errorf("the transaction didn't stay open: %d rows, %v", written, err)
	}
}
