package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/eventstore"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/transport/rest"
)

const (
	asCSV    = "Accept: text/csv"
	asNDJSON = "Accept: application/x-ndjson"
)

// table reads CSV into rows by field name.
func table(r *reply) []map[string]string {
	r.t.Helper()
	records, err := csv.NewReader(bytes.NewReader(r.is(200).body)).ReadAll()
	check(r.t, err)
	rows := []map[string]string{}
	for _, record := range records[1:] {
		row := make(map[string]string)
		for i, name := range records[0] {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func TestAuditLogIsTheSameInEveryFormat(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"name":"B","price":"2"}`, "Annals-Actor: =1+1", "X-Request-Id: r-2").is(200)
	b.send("POST", "/v1/carts", `{"customer_id":"a \"b\", c"}`).is(201)
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: other").is(201)
	now := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	cursor := b.send("GET", "/v1/audit-log?limit=1&aggregate_type=product", "").text("next_cursor")
	for query, want := range map[string]int{
		"": 4, "actor_id=%3D1%2B1": 2, "actor_id=joe": 0, "event_type=product.registered": 1, "aggregate_type=product": 3,
		"aggregate_id=" + id: 3, "correlation_id=r-2": 2, "from=" + now: 0, "to=" + now: 4, "limit=2": 2,
		"aggregate_type=product&cursor=" + cursor: 2,
	} {
		path := "/v1/audit-log?" + query
		page := b.send("GET", path, "").is(200)
		rows := items(page)
		if len(rows) != want {
			t.Errorf("%s: %d rows, want %d", query, len(rows), want)
		}
		var lines []map[string]any
		for line := range bytes.Lines(b.send("GET", path, "", asNDJSON).is(200).body) {
			var row map[string]any
			check(t, json.Unmarshal(line, &row))
			lines = append(lines, row)
		}
		if diff := cmp.Diff(rows, lines); diff != "" {
			t.Errorf("%s as lines: %s", query, diff)
		}
		var cells []map[string]any
		for _, record := range table(b.send("GET", path, "", asCSV)) {
			row := make(map[string]any)
			for name, cell := range record {
				row[name] = strings.TrimPrefix(cell, "'")
			}
			for _, name := range []string{"event_data", "position"} {
				var value any
				check(t, json.Unmarshal([]byte(record[name]), &value))
				row[name] = value
			}
			cells = append(cells, row)
		}
		if diff := cmp.Diff(rows, cells); diff != "" {
			t.Errorf("%s as a table: %s", query, diff)
		}
	}
	b.send("GET", "/v1/audit-log?cursor="+cursor, "", asCSV).problem(400, "malformed-request")
	b.send("GET", "/v1/audit-log?x=1", "", asNDJSON).problem(400, "malformed-request")
	b.send("GET", "/v1/audit-log", "", asCSV, "Annals-Min-Position: 99", "Prefer: wait=0").problem(503, "read-model-behind")
	if all := table(b.send("GET", "/v1/audit-log", "", asCSV, "Annals-Client: *")); count(all, "product.")+count(all, "cart.") != 5 {
		t.Errorf("rows of all clients: %v", all)
	}
}

// count gives the number of rows whose event type begins with a prefix.
func count(rows []map[string]string, prefix string) (n int) {
	for _, row := range rows {
		if strings.HasPrefix(row["event_type"], prefix) {
			n++
		}
	}
	return n
}

// unreadable is an audit log whose rows can't be read.
type unreadable struct{ rest.AuditLog }

func (unreadable) Export(context.Context, string, auditlog.Filter, int64, int64, func(auditlog.Entry) error) error {
	return eventstore.ErrUnavailable
}

// An export that fails before its first byte is a problem, and not a file.
func TestExportThatFailsAtOnce(t *testing.T) {
	t.Parallel()
	b := newServer(t, unwatched, func(b *bench) { b.config.AuditLog = unreadable{b.config.AuditLog} })
	b.send("POST", "/v1/carts", `{}`).is(201)
	r := b.send("GET", "/v1/audit-log", "", asCSV)
	if r.problem(503, "unavailable"); r.header.Get("Content-Disposition") != "" {
		t.Errorf("%v", r.header)
	}
}

func TestAuditLogAsAFile(t *testing.T) {
	t.Parallel()
	b := newServer(t, unwatched)
	const names = "event_type,event_id,occurred_at,actor_id,aggregate_type,aggregate_id,event_data,position,client_id,recorded_at," +
		"correlation_id,causation_id,request_id\r\n"
	empty := b.send("GET", "/v1/audit-log", "", asCSV).is(200)
	if string(empty.body) != names || empty.header.Get("Content-Disposition") != `attachment; filename="annals-audit-log-0.csv"` ||
		empty.header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" {
		t.Errorf("%v %q", empty.header, empty.body)
	}
	b.send("POST", "/v1/carts", `{}`, `Annals-Actor: =HYPERLINK("http://x","y")`, "X-Request-Id: +r").is(201)
	file := b.send("GET", "/v1/audit-log", "", asCSV).is(200)
	if !strings.HasPrefix(string(file.body), names+"cart.created,") || file.header.Get("Annals-Position") != "1" ||
		!strings.Contains(string(file.body), `,"'=HYPERLINK(""http://x"",""y"")",`) || !strings.Contains(string(file.body), ",'+r,") {
		t.Errorf("%v %q", file.header, file.body)
	}
	if head := b.send("HEAD", "/v1/audit-log", "", asCSV).is(200); len(head.body) != 0 || head.header.Get("Content-Disposition") == "" {
		t.Error("HEAD differs from GET")
	}
	if lines := b.send("GET", "/v1/audit-log?event_type=x.y", "", asNDJSON).is(200); len(lines.body) != 0 {
		t.Errorf("%s", lines.body)
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkExport takes a million rows over HTTP in each form (20,000 with -short), and tells how fast, and by how much the
// heap grew meanwhile at most. It fails when that depends on the number of rows.
func BenchmarkExport(b *testing.B) {
	total, bound := 1_000_000, uint64(64<<20)
	if testing.Short() {
		total = 20_000
	}
	s := newServerOf(b, []projections.Projector{auditlog.New()}, unwatched)
	s.fillLog(total, strings.Repeat("c", 100))
	s.store.Sequencer.Signal().Poke()
	applied, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	check(b, s.group.WaitFor(applied, auditlog.Spec().Name, int64(total)))
	for _, export := range []struct{ path, accept string }{
		{"/v1/audit-log", "text/csv"}, {"/v1/audit-log", "application/x-ndjson"}, {"/v1/events", "application/x-ndjson"},
	} {
		b.Run(export.path+" "+export.accept, func(b *testing.B) {
			before, most, size := heap(), uint64(0), int64(0)
			for b.Loop() {
				r, err := http.NewRequest("GET", s.url+export.path, nil)
				check(b, err)
				r.Header.Set("Accept", export.accept)
				response, err := http.DefaultTransport.RoundTrip(r)
				check(b, err)
				lines, scan := 0, bufio.NewScanner(response.Body)
				for ; scan.Scan(); lines++ {
					size += int64(len(scan.Bytes()))
					if lines%(total/5) == total/10 {
						most = max(most, heap())
					}
				}
				check(b, response.Body.Close())
				if lines < total || most > before+bound {
					b.Fatalf("%d lines of %d, and %d MiB more", lines, total, (most-before)>>20)
				}
			}
			seconds := b.Elapsed().Seconds()
			b.ReportMetric(float64(total)*float64(b.N)/seconds, "rows/s")
			b.ReportMetric(float64(size)/1e6/seconds, "MB/s")
			b.ReportMetric(float64(max(most, before)-before)/(1<<20), "MiB-heap-growth")
		})
	}
}
