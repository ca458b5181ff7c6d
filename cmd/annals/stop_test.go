//go:build !race

// The programs of these tests are processes of their own, which the race detector doesn't look into.

package main

import (
	"context"
	"database/sql"
	"net/http"
	"syscall"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// A server that is told to stop under load ends with 0, and no acknowledged command is missing afterwards.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveChild(t, database...)
	l := newLoad(t, server).start(8)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		l.progress(100)
		server.signal(signal)
		server.exits(exitDone)
		server = serveChild(t, database...)
		l.aim(server)
	}
	l.progress(50)
	l.finish(server, database...)
}

// What is under way when a server is told to stop is finished and answered. A second signal ends it at once.
func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		signals int
		code    int
	}{{"drained", 1, exitDone}, {"second signal", 2, -1}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			server := serveChild(t, "--database-url", db.DSN)
			product := server.caller(shop).product("p", 0)
			tx := blockAppends(t, db)
			answered := make(chan *reply, 1)
			go func() {
				r, _ := server.caller(shop).try(t.Context(), "POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`)
				answered <- r
			}()
			awaitBlockedAppend(t, db)
			for range c.signals {
				server.signal(syscall.SIGINT)
				server.await("shutting down")
			}
			if c.signals > 1 {
				server.exits(c.code)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			server.exits(c.code)
			if r := <-answered; c.code == exitDone && (r == nil || r.status != http.StatusOK) {
				t.Errorf("the command under way: %+v", r)
			}
		})
	}
}

// blockAppends keeps every append waiting for as long as a transaction is open.
func blockAppends(t *testing.T, db *pgtest.DB) *sql.Tx {
	t.Helper()
	tx, err := db.DB.DB.Begin()
	if err == nil {
		t.Cleanup(func() { tx.Rollback() })
		_, err = tx.Exec(`LOCK TABLE annals.events IN SHARE ROW EXCLUSIVE MODE`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// awaitBlockedAppend waits until an append waits.
func awaitBlockedAppend(t *testing.T, db *pgtest.DB) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var blocked bool
		err := db.Get(&blocked, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'annals append' AND wait_event_type = 'Lock')`)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no append waits: %v", err)
		}
		if blocked {
			return
		}
	}
}

// A server whose database doesn't answer any more ends all the same, and says so.
func TestStopWhileTheDatabaseIsSilent(t *testing.T) {
	t.Parallel()
	p := newProxy(t, pgtest.New(t).DSN)
	server := serveChild(t, "--database-url", p.dsn(), "--shutdown-timeout", "1s")
	server.caller(shop).product("p", 0)
	p.stall()
	answered := make(chan *reply, 1)
	go func() {
		r, _ := server.caller(shop).try(context.Background(), "POST", "/v1/carts", "{}") // no answer is one too
		answered <- r
	}()
	server.signal(syscall.SIGTERM)
	server.exits(exitFailed).says("the database didn't let everything finish")
	if r := <-answered; r != nil && r.status < 500 {
		t.Errorf("a command that the database didn't answer: status %d", r.status)
	}
}
