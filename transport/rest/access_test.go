package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"annals/domain/operations"
	"annals/eventstore"
	"annals/transport/access"
	"annals/transport/rest"
)

// unwatched is for tests that count positions: nobody's reading is recorded.
func unwatched(b *bench) { b.config.Access = nobody{} }

type nobody struct{}

func (nobody) Read(context.Context, string, operations.LogRead) error { return nil }

func (nobody) Start(context.Context, string, string, operations.ExportStarted) (func(operations.Delivered, bool), error) {
	return func(operations.Delivered, bool) {}, nil
}

// trace is an event by which a read is on record.
type trace struct {
	eventstore.Envelope
	operations.Access
	operations.Delivered
	Resource  string   `json:"resource"`
	Resources []string `json:"resources"`
	Reads     int64    `json:"reads"`
	After     int64    `json:"after"`
	UpTo      *int64   `json:"up_to"`
	Complete  bool     `json:"complete"`
}

// traces gives what is on record of reading, by one actor if one is named, once all that is collected is written.
func (b *bench) traces(actor ...string) []trace {
	b.t.Helper()
	check(b.t, b.reads.Flush(context.Background()))
	var all []trace
	f := eventstore.EventFilter{Client: eventstore.SystemClient, AggregateType: "audit", ActorID: strings.Join(actor, "")}
	check(b.t, b.store.Reader.Scan(context.Background(), f, 0, 0, func(e eventstore.Envelope) error {
		all = append(all, trace{Envelope: e})
		return json.Unmarshal(e.Data, &all[len(all)-1])
	}))
	return all
}

func (t trace) String() string {
	from, to := int64(0), int64(0)
	if t.FromPosition != nil {
		from, to = *t.FromPosition, *t.ToPosition
	}
	return fmt.Sprintf("%s by %s of %s: %s%s %v ?%s as %s: %d reads, %d rows %d-%d", t.EventType, t.ActorID, t.Client, t.Route,
		t.Resource, t.Resources, t.Query, t.Format, t.Reads, t.Rows, from, to)
}

// Every way to read the log leaves a trace, by whom, of what and why.
func TestReadsAreOnRecord(t *testing.T) {
	t.Parallel()
	const asJSON, none = "application/json", "[]"
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"name":"B"}`).is(200)
	for n, c := range []struct {
		path, route, query, resources, format string
		rows, from, to                        int64
	}{
		{path: "/v1/events?limit=2&after=1&event_type=product.renamed", route: "/v1/events", query: "event_type=product.renamed", resources: none,
			rows: 1, from: 2, to: 2},
		{path: "/v1/events?actor_id=no%20body", route: "/v1/events", query: "actor_id=no+body", resources: none},
		{path: "/v1/events/2", route: "/v1/events/{position}", resources: "[/v1/events/2]", rows: 1, from: 2, to: 2},
		{path: "/v1/events/2/lineage", route: "/v1/events/{position}/lineage", resources: "[/v1/events/2/lineage]", rows: 1, from: 2, to: 2},
		{path: "/v1/streams/product/ID", route: "/v1/streams/{aggregate_type}/{aggregate_id}", resources: "[/v1/streams/product/ID]",
			rows: 2, from: 1, to: 2},
		{path: "/v1/streams/product/ID/state?at_version=1", route: "/v1/streams/{aggregate_type}/{aggregate_id}/state", query: "at_version=1",
			resources: "[/v1/streams/product/ID/state]", rows: 1, from: 1, to: 1},
		{path: "/v1/audit-log?to=2126-01-01T00:00:00Z&aggregate_type=product", route: "/v1/audit-log",
			query: "aggregate_type=product&to=2126-01-01T00%3A00%3A00Z", resources: none, rows: 2, from: 1, to: 2},
		{path: "/v1/audit-log/rows?table=products&key=ID", route: "/v1/audit-log/rows", query: "key=ID&table=products", resources: none,
			rows: 2, from: 1, to: 2},
		{path: "/v1/events", route: "/v1/events", resources: none, format: "application/cloudevents-batch+json", rows: 2, from: 1, to: 2},
	} {
		t.Run(c.path, func(t *testing.T) {
			eve := fmt.Sprint("eve ", n)
			fill := func(s string) string { return strings.ReplaceAll(s, "ID", id) }
			format := c.format
			if format == "" {
				format = asJSON
			}
			b.send("HEAD", fill(c.path), "", "Accept: "+format, "Annals-Actor: "+eve, "Annals-Reason: ünder review").is(200)
			b.send("GET", fill(c.path), "", "Accept: "+format, "Annals-Actor: "+eve, "Annals-Reason: ünder review").is(200)
			got := b.traces(eve)
			if len(got) != 1 {
				t.Fatal(got)
			}
			e := got[0]
			want := fmt.Sprintf("audit.read by %s of default: %s %s ?%s as %s: 2 reads, %d rows %d-%d", eve, c.route, fill(c.resources), fill(c.query),
				format, 2*c.rows, c.from, c.to)
			if e.String() != want || e.Reason == nil || *e.Reason != "ünder review" || strings.Join(e.Roles, " ") != "viewer operator auditor admin" ||
				e.ClientID != eventstore.SystemClient {
				t.Errorf("%s\n%s\nwant %s", e, e.Data, want)
			}
		})
	}
}

// What isn't read leaves no trace: refused and failed requests, and everything that isn't the log.
func TestWhatIsNotRead(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	for path, status := range map[string]int{
		"/v1/events/99": 404, "/v1/events?limit=0": 400, "/v1/streams/product/" + exampleID: 404, "/v1/audit-log?x=1": 400,
		"/v1/products/" + id: 200, "/v1/event-types": 200, "/v1/audit-log/rows?table=products&key=" + exampleID: 404,
	} {
		b.send("GET", path, "").is(status)
	}
	b.send("GET", "/v1/events/1", "", "Annals-Client: other").is(404)
	b.send("GET", "/v1/audit-log", "", "Annals-Min-Position: 99", "Prefer: wait=0").is(503)
	b.send("GET", "/v1/streams/product/"+exampleID, "", asNDJSON).is(404)
	b.send("GET", "/v1/streams/product/"+exampleID, "", sse).is(404)
	for _, reason := range []string{"", strings.Repeat("x", 2001), "a\tb", "\xff"} {
		b.send("GET", "/v1/events", "", "Annals-Reason: "+reason).problem(400, "malformed-request")
		b.send("GET", "/v1/audit-log", "", asCSV, "Annals-Reason: "+reason).problem(400, "malformed-request")
	}
	b.send("GET", "/v1/events", "", "Annals-Reason: a", "Annals-Reason: b").problem(400, "malformed-request")
	if got := b.traces(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	b.send("GET", "/v1/events", "", "Annals-Reason: "+strings.Repeat("ü", 2000)).is(200)
}

// An export is on record before its first byte, and with what it handed out once it has ended.
func TestExportsAreOnRecord(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"name":"B","price":"2"}`).is(200)
	for n, c := range []struct {
		path, accept, query string
		after, rows         int64
		bounded             bool
	}{
		{path: "/v1/audit-log", accept: "text/csv", bounded: true, rows: 3},
		{path: "/v1/audit-log?event_type=product.renamed", accept: "application/x-ndjson", query: "event_type=product.renamed", bounded: true, rows: 1},
		{path: "/v1/audit-log?event_type=x.y", accept: "text/csv", query: "event_type=x.y", bounded: true},
		{path: "/v1/events?after=1", accept: "application/x-ndjson", after: 1, bounded: true, rows: 2},
		{path: "/v1/events?limit=1", accept: "application/x-ndjson", bounded: true, rows: 1},
		{path: "/v1/streams/product/ID", accept: "application/x-ndjson", rows: 3},
		{path: "/v1/events?limit=2", accept: "text/event-stream", rows: 2},
		{path: "/v1/streams/product/ID?limit=2", accept: "text/event-stream", rows: 2},
	} {
		t.Run(c.path+" "+c.accept, func(t *testing.T) {
			eve := fmt.Sprint("eve ", n)
			path := strings.ReplaceAll(c.path, "ID", id)
			b.send("HEAD", path, "", "Accept: "+c.accept, "Annals-Actor: "+eve).is(200)
			head := b.head()
			b.send("GET", path, "", "Accept: "+c.accept, "Annals-Actor: "+eve, "Annals-Reason: why not", "X-Request-Id: r-9").is(200)
			got := b.traces(eve)
			if len(got) != 2 {
				t.Fatal(got)
			}
			start, end := got[0], got[1]
			bare, _, _ := strings.Cut(path, "?")
			if start.EventType != "audit.export_started" || start.Position != head+1 || start.After != c.after || (start.UpTo != nil) != c.bounded ||
				c.bounded && (*start.UpTo < 3 || *start.UpTo > head) || start.Query != c.query || start.Resource != bare ||
				start.Format != c.accept || *start.Reason != "why not" || start.RequestID != "r-9" {
				t.Errorf("%s", start.Data)
			}
			if end.EventType != "audit.exported" || end.AggregateID != start.AggregateID || end.Rows != c.rows ||
				!end.Complete || end.Query != c.query || end.Resource != bare || (c.rows > 0) != (end.FromPosition != nil) || end.RequestID != "r-9" {
				t.Errorf("%s", end.Data)
			}
		})
	}
}

// A stream of all clients shows that it is on record itself, and ends there: to record it doesn't lead to more records.
func TestRecordingDoesNotRecordItself(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.product("A", 5)
	all := b.follow("/v1/events", "Annals-Client: *")
	system := b.follow("/v1/events", "Annals-Client: annals")
	all.want(1, 2, 3) // the product, and the starts of both streams
	system.want(2, 3)
	b.send("GET", "/v1/events", "", "Annals-Client: *").is(200)
	if got := b.traces(); len(got) != 3 { // and the read
		t.Fatal(got)
	}
	all.want(4)
	system.want(4)
	b.product("B", 5)
	all.want(5)
	all.close()
	system.close()
	for len(b.traces()) < 5 { // the ends, once the server has noticed
		check(t, t.Context().Err())
	}
	got := b.traces()
	if b.head() != 7 || len(got) != 5 {
		t.Errorf("the log ends at %d: %v", b.head(), got)
	}
	for _, e := range got[3:] {
		if e.Complete || e.EventType != "audit.exported" || e.Client == "*" && (e.Rows != 5 || *e.ToPosition != 5) || e.Client == "annals" && e.Rows != 3 {
			t.Errorf("%s %s", e, e.Data)
		}
	}
}

// An export that breaks off says how much of it went out.
func TestExportBrokenOff(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.fillLog(20_000, strings.Repeat("c", 200))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", b.url+"/v1/events", nil)
	check(t, err)
	r.Header.Set("Accept", "application/x-ndjson")
	response, err := http.DefaultTransport.RoundTrip(r)
	check(t, err)
	defer response.Body.Close()
	if !bufio.NewScanner(response.Body).Scan() {
		t.Fatal("no line")
	}
	if got := b.traces(); len(got) != 1 || got[0].EventType != "audit.export_started" || *got[0].UpTo != 20_000 {
		t.Fatalf("while it goes on: %v", got)
	}
	cancel()
	for len(b.traces()) < 2 {
		check(t, t.Context().Err())
	}
	if end := b.traces()[1]; end.Complete || end.Rows == 0 || end.Rows >= 20_000 || *end.FromPosition != 1 || *end.ToPosition != end.Rows {
		t.Errorf("%s", end.Data)
	}
}

// unrecordable can't write events of the system.
type unrecordable struct{ rest.Access }

func (unrecordable) Read(context.Context, string, operations.LogRead) error {
	return eventstore.ErrUnavailable
}

func (unrecordable) Start(context.Context, string, string, operations.ExportStarted) (func(operations.Delivered, bool), error) {
	return nil, errors.New("no")
}

// Who can't be put on record reads nothing.
func TestWithoutARecordNothingIsRead(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.Access = unrecordable{} })
	id := b.product("A", 5)
	for _, path := range []string{
		"/v1/events", "/v1/events/1", "/v1/events/1/lineage", "/v1/streams/product/" + id, "/v1/streams/product/" + id + "/state", "/v1/audit-log",
		"/v1/audit-log/rows?table=products&key=" + id,
	} {
		for _, accept := range []string{"application/json", "application/x-ndjson", "text/event-stream", "text/csv", "application/cloudevents-batch+json"} {
			reply := b.send("GET", path, "", "Accept: "+accept)
			if reply.status == 406 {
				continue
			}
			if p := reply.problem(503, "unavailable"); !strings.Contains(p["detail"].(string), "on record") || reply.header.Get("Retry-After") == "" {
				t.Errorf("%s as %s: %s", path, accept, reply.body)
			}
		}
	}
}

// Without an interval a read is on record before its answer.
func TestReadsBeforeTheirAnswers(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) {
		b.reads = access.New(access.Config{Commands: b.store.Runner})
		b.config.Access = b.reads
	})
	for n := range int64(3) {
		b.send("GET", "/v1/events", "", "Annals-Client: *").is(200)
		if head := b.head(); head != n+1 {
			t.Errorf("the log ends at %d", head)
		}
	}
	check(t, b.reads.Close(t.Context()))
}

// Many readers at a time are recorded as one event each, whatever the number of their reads.
func TestManyReadersAreFewEvents(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	b.product("A", 5)
	for n := range 120 {
		b.send("GET", "/v1/events/1", "", "Annals-Actor: "+strconv.Itoa(n%4)).is(200)
	}
	got := b.traces()
	if len(got) != 4 || slices.ContainsFunc(got, func(e trace) bool { return e.Reads != 30 || time.Since(e.OccurredAt) > time.Hour }) {
		t.Errorf("%v", got)
	}
}
