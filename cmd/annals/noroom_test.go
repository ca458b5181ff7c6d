package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// What PostgreSQL says when it has no room for an event is answered at once, with the reason, and nothing is written.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN)
	l := newLoad(t, server).start(4)
	l.progress(20)
	db.MustExec(`CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE EXCEPTION 'could not extend file "base/16384/16385": No space left on device' USING ERRCODE = 'disk_full';
		END $$;
		CREATE TRIGGER no_room BEFORE INSERT ON annals.events FOR EACH STATEMENT EXECUTE FUNCTION no_room()`)
	if detail := awaitRefusal(t, server.caller(shop)); !strings.Contains(detail, "disk is full; nothing was written") {
		t.Errorf("the refusal says %s", detail)
	}
	server.says("the database's disk is full")
	db.MustExec(`DROP TRIGGER no_room ON annals.events; DROP FUNCTION no_room`)
	l.progress(20)
	l.finish(server, "--database-url", db.DSN)
}

// awaitRefusal sends commands until one is refused because of the database. All before it must have succeeded.
func awaitRefusal(t *testing.T, c *caller) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		begin := time.Now()
		r := c.send("POST", "/v1/carts", `{}`, "Annals-Client: another")
		switch {
		case r.status == http.StatusCreated:
		case r.status == http.StatusServiceUnavailable && r.slug() == "unavailable" && r.header.Get("Retry-After") != "":
			t.Logf("after %s: %s", time.Since(begin), r.body)
			return string(r.body)
		default:
			t.Fatalf("a command on a full disk: status %d, %s", r.status, r.body)
		}
	}
	t.Fatal("commands go on on a full disk")
	return ""
}
