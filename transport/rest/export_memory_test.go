//go:build !race

// The race detector's own memory would be measured too.

package rest_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"annals/projections"
	"annals/projections/auditlog"
)

// An export holds as much memory for a large log as for a small one. The test runs alone, since it measures the heap.
func TestExportsTakeConstantMemory(t *testing.T) {
	const total, bound = 40_000, 16 << 20
	b := newServerOf(t, []projections.Projector{auditlog.New()})
	b.fillLog(total, strings.Repeat("c", 600))
	b.store.Sequencer.Signal().Poke()
	b.send("GET", "/v1/audit-log?limit=1", "", b.at(), "Prefer: wait=30").is(200)
	before := heap()
	for _, export := range []struct{ path, accept string }{
		{"/v1/audit-log", "text/csv"}, {"/v1/audit-log", "application/x-ndjson"}, {"/v1/events", "application/x-ndjson"},
	} {
		r, err := http.NewRequest("GET", b.url+export.path, nil)
		check(t, err)
		r.Header.Set("Accept", export.accept)
		response, err := http.DefaultTransport.RoundTrip(r)
		check(t, err)
		lines := 0
		for scan := bufio.NewScanner(response.Body); scan.Scan(); lines++ {
			if lines%8_000 != 4_000 {
				continue
			}
			if now := heap(); now > before+bound {
				t.Errorf("%s as %s: %d MiB more after %d lines", export.path, export.accept, (now-before)>>20, lines)
			}
		}
		check(t, response.Body.Close())
		if export.accept == "text/csv" {
			lines--
		}
		if lines != total {
			t.Errorf("%s as %s: %d lines", export.path, export.accept, lines)
		}
	}
}
