//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"bytes"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/pgtest"
)

// After a dump is restored, into a database of the same server or of another one, everything goes on where it was.
func TestDumpAndRestore(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(t *testing.T) string{
		"same server": func(t *testing.T) string { return pgtest.NewEmpty(t).DSN },
		"other server": func(t *testing.T) string {
			dsn := pgtest.Cluster(t).DSN()
			db := sqlx.MustConnect("postgres", dsn)
			defer db.Close()
			db.MustExec(`CREATE ROLE annals_app; CREATE ROLE annals_query`) // a dump holds no roles
			return dsn
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			server := serveHere(t, "--database-url", db.DSN)
			l := newLoad(t, server).start(4)
			l.progress(100)
			l.halt()
			server.stop()
			restored := []string{"--database-url", target(t)}
			dumpAndRestore(t, db, restored[1])
			server = serveHere(t, restored...)
			l.aim(server)
			c := server.caller(shop)
			again := c.send("POST", "/v1/products", registration("product-0", 1_000_000), "Idempotency-Key: product-0")
			if again.is(http.StatusCreated).header.Get("Idempotency-Replayed") != "true" {
				t.Error("a key of before the restore isn't known")
			}
			for _, key := range []string{"after-1", "after-2", "after-3"} {
				l.story(0, key, 0)
			}
			l.finish(server, restored...)
		})
	}
}

// dumpAndRestore copies a database with the tools of its server.
func dumpAndRestore(t *testing.T, from *pgtest.DB, to string) {
	t.Helper()
	var bin string
	if err := from.Get(&bin, `SELECT setting FROM pg_config() WHERE name = 'BINDIR'`); err != nil {
		t.Fatal(err)
	}
	dump, err := exec.Command(filepath.Join(bin, "pg_dump"), libpqURL(t, from.DSN)).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	psql := exec.Command(filepath.Join(bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", libpqURL(t, to))
	psql.Stdin = bytes.NewReader(dump)
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
}

// libpqURL leaves out what only the Go driver understands.
func libpqURL(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Del("binary_parameters")
	u.RawQuery = q.Encode()
	return u.String()
}

// A log that lost its tail, while a server ran or while none did, is an error that says so: positions that somebody has
// seen aren't given to other events.
func TestLostTail(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN)
	c := server.caller(shop)
	product := c.product("p", 0)
	var last int64
	for range 5 {
		last = c.send("POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`).is(http.StatusOK).done().Position
	}
	c.get("/v1/products/"+product, last).is(http.StatusOK)
	db.MustExec(`ALTER TABLE annals.events DISABLE TRIGGER USER; DELETE FROM annals.events WHERE position > 3;
		ALTER TABLE annals.events ENABLE TRIGGER USER`)
	for range 2 {
		r := c.send("POST", "/v1/carts", `{}`)
		if r.status != http.StatusServiceUnavailable || r.slug() != "unavailable" {
			t.Errorf("a command after the loss: status %d, %s", r.status, r.body)
		}
	}
	if r := c.send("GET", "/readyz", ""); r.status != http.StatusServiceUnavailable || !bytes.Contains(r.body, []byte("lost its tail")) {
		t.Errorf("readiness after the loss: status %d, %s", r.status, r.body)
	}
	annals(t, "doctor", "--database-url", db.DSN).exits(exitFailed).prints("above the head: the log lost its tail")
	server.stop()
	annals(t, "serve", "--addr", "127.0.0.1:0", "--database-url", db.DSN).exits(exitFailed).says("it ends at 3", "has reached")
	var head int64
	if err := db.Get(&head, `SELECT max(position) FROM annals.events`); err != nil || head != 3 {
		t.Errorf("the log ends at %d, %v; want 3", head, err)
	}
}
