package main

import (
	"testing"

	"annals/eventstore/pgtest"
)

// When every connection to the database is cut, again and again, the server makes new ones and goes on.
func TestEveryConnectionIsCut(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN)
	l := newLoad(t, server).start(8)
	for range 5 {
		l.progress(50)
		var cut int
		err := db.Get(&cut, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'annals%'`)
		if err != nil || cut < 8 {
			t.Fatalf("%d connections were cut: %v", cut, err)
		}
	}
	l.progress(50)
	l.finish(server, "--database-url", db.DSN)
}

// A PostgreSQL that is restarted, at once or in order, is found again.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t, pgtest.WithSettings(map[string]string{"synchronous_commit": "on"}))
	server := serveHere(t, "--database-url", cluster.DSN())
	l := newLoad(t, server).start(8)
	for range 2 {
		l.progress(50)
		if err := cluster.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.progress(50)
	l.finish(server, "--database-url", cluster.DSN())
}
