//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"annals/domain/operations"
	"annals/eventstore/pgtest"
	"annals/migrations"
)

// onRecord reads what is on record of reading, an event a line.
func onRecord(t *testing.T, database []string) []string {
	t.Helper()
	p := annals(t, append([]string{"events", "export", "--client", "annals", "--aggregate-type", "audit"}, database...)...).exits(exitDone)
	var all []string
	for line := range strings.Lines(p.stdout.String()) {
		var e struct {
			event
			Data struct {
				operations.Access
				operations.Delivered
				Reads     int64
				Resource  string
				Resources []string
				Complete  bool
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		why := ""
		if e.Data.Reason != nil {
			why = *e.Data.Reason
		}
		all = append(all, fmt.Sprintf("%s by %s of %s: %s(%s) ?%s as %s, %d rows, %d reads, %v, why: %s", e.EventType, e.ActorID, e.Data.Client, e.Data.Route,
			e.Data.Resource+strings.Join(e.Data.Resources, " "), e.Data.Query, e.Data.Format, e.Data.Rows, e.Data.Reads, e.Data.Complete, why))
	}
	return all
}

// What the command line reads is on record before it is shown, and so is what a server was asked for when it has stopped.
func TestReadingLeavesTraces(t *testing.T) {
	t.Parallel()
	database := []string{"--database-url", pgtest.New(t).DSN}
	server := serveHere(t, database...)
	c := server.caller(shop)
	product := c.product("traced", 3)
	for range 2 {
		c.send("GET", "/v1/events?event_type=product.registered", "", "Annals-Actor: ada", "Annals-Reason: review").is(http.StatusOK)
	}
	tool := func(line string) *program {
		t.Helper()
		return annals(t, append(strings.Fields(line), database...)...).exits(exitDone)
	}
	tool("audit checkpoint") // waits until all is signed
	server.stop()
	tool("audit prove 1 --reason complaint")
	tool("events show 1 --reason because")
	tool("events stream product " + product)
	tool("events export --event-type product.registered,cart.created --until 3")
	tool("audit export --format ndjson --actor nobody --client " + shop + " --from 2026-01-01T00:00:00Z")
	tail := runHere(t, append([]string{"events", "tail", "--after", "0", "--output", "json", "--event-type", "product.registered"}, database...)...)
	<-tail.stdout.wait("product.registered")
	tail.stop()
	// Secrets on the command line don't get into the record.
	annals(t, append([]string{"events", "show", "1", "--subject-keys-passphrase", "hidden"}, database...)...).exits(exitDone)
	me := operatorName()
	got := strings.Join(onRecord(t, database), "\n")
	if strings.Contains(got, "hidden") || strings.Contains(got, "postgres") {
		t.Errorf("secrets are on record:\n%s", got)
	}
	for _, want := range []string{
		"audit.read by ada of " + shop + ": /v1/events() ?event_type=product.registered as application/json, 2 rows, 2 reads, false, why: review",
		"audit.read by " + me + " of *: annals events show(1) ? as application/json, 1 rows, 1 reads, false, why: because",
		"audit.read by " + me + " of *: annals audit prove(1) ? as application/json, 1 rows, 1 reads, false, why: complaint",
		"audit.read by " + me + " of *: annals events stream(product " + product + ") ? as text/plain, 1 rows, 1 reads, false, why: ",
		"audit.export_started by " + me + " of *: annals events export(annals events export) ?event_type=product.registered%2Ccart.created as application/x-ndjson, 0 rows",
		"audit.exported by " + me + " of *: annals events export(annals events export) ?event_type=product.registered%2Ccart.created as application/x-ndjson, 1 rows, 0 reads, true",
		"audit.exported by " + me + " of " + shop + ": annals audit export(annals audit export) ?actor=nobody&from=2026-01-01T00%3A00%3A00Z as application/x-ndjson, 0 rows, 0 reads, true",
		"audit.export_started by " + me + " of *: annals events tail(annals events tail) ?event_type=product.registered as application/json, 0 rows",
		"audit.exported by " + me + " of *: annals events tail(annals events tail) ?event_type=product.registered as application/json, 1 rows, 0 reads, false",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s\nin\n%s", want, got)
		}
	}
}

// The command line writes the bytes that the API serves.
func TestAuditExportIsWhatTheAPIServes(t *testing.T) {
	t.Parallel()
	database := []string{"--database-url", pgtest.New(t).DSN}
	server := serveHere(t, database...)
	c := server.caller(shop)
	product := c.product("=1+1", 3)
	at := c.send("PATCH", "/v1/products/"+product, `{"name":"a, \"b\""}`, "Annals-Actor: =HYPERLINK()").is(http.StatusOK).done().Position
	for flags, query := range map[string]string{
		"": "", "--actor =HYPERLINK()": "?actor_id=%3DHYPERLINK()", "--event-type product.registered": "?event_type=product.registered",
		"--aggregate-id " + product: "?aggregate_id=" + product, "--aggregate-type cart": "?aggregate_type=cart",
		"--to 2026-01-01T00:00:00Z": "?to=2026-01-01T00:00:00Z", "--correlation-id x": "?correlation_id=x",
	} {
		for format, media := range map[string]string{"csv": "text/csv", "ndjson": "application/x-ndjson"} {
			served := c.get("/v1/audit-log"+query, at, "Accept: "+media).is(http.StatusOK)
			p := annals(t, append(append(strings.Fields("audit export --client "+shop+" --format "+format), strings.Fields(flags)...), database...)...)
			if p.exits(exitDone).stdout.String() != string(served.body) {
				t.Errorf("%s %s:\n%s\nserved:\n%s", flags, format, p.stdout, served.body)
			}
		}
	}
	all := annals(t, append([]string{"audit", "export"}, database...)...).exits(exitDone).prints("event_type,event_id,", "product.renamed", "audit.export_started")
	if strings.Contains(all.stdout.String(), ",=HYPERLINK") {
		t.Errorf("a formula:\n%s", all.stdout)
	}
	server.stop()
	annals(t, append([]string{"events", "show", "1"}, database...)...).exits(exitDone)
	annals(t, append([]string{"audit", "export"}, database...)...).exits(exitDone).says("what came after isn't in this export")
}

// The new program's check runs before its migrations do.
func TestCheckNeedsTheLogAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmpty(t)
	annals(t, "check", "--database-url", db.DSN).exits(exitFailed).says("there is no event log")
	if _, err := migrations.Up(t.Context(), db.DB.DB); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DELETE FROM public.annals_migrations WHERE version_id > 1`); err != nil {
		t.Fatal(err)
	}
	annals(t, "events", "export", "--database-url", db.DSN).exits(exitFailed).says("annals migrate")
	annals(t, "check", "--database-url", db.DSN).exits(exitDone).prints("0 events checked")
}
