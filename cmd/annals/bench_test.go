//go:build !race

// The programs of these tests are processes of their own, which the race detector doesn't look into.

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"annals/eventstore/pgtest"
)

// Each benchmark is run for a moment, to see that it measures what it says; how fast it is doesn't matter here.
func TestBenchMeasuresEachWayBesideItsBaseline(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmpty(t)
	p := runChild(t, nil, "bench", "--database-url", db.DSN, "--output", "json", "--rounds", "1", "--slice", "40ms",
		"--callers", "1,4", "--events", "2000", "--log", "500", "--stream", "300", "--subscribers", "2", "--tenants", "3").exits(exitDone)
	var report benchReport
	if err := json.Unmarshal([]byte(p.stdout.String()), &report); err != nil {
		t.Fatalf("%v: %s", err, p.stdout)
	}
	ways := map[string]int{"append": 12, "peers": 6, "http": 3, "overload": 4, "project": 2, "replay": 5, "load": 2, "lag": 2}
	for _, r := range report.Benchmarks {
		if strings.Contains(strings.Join(r.Notes, "\n"), "pgbench is left out") { // where it isn't packaged with the server
			ways[r.Benchmark] -= map[string]int{"peers": 2, "http": 1}[r.Benchmark]
		}
		if len(r.Rows) != ways[r.Benchmark] {
			t.Errorf("%s has %d rows, want %d: %+v", r.Benchmark, len(r.Rows), ways[r.Benchmark], r.Rows)
		}
		delete(ways, r.Benchmark)
		for _, row := range r.Rows {
			if row.PerSecond <= 0 && row.P50 <= 0 && r.Benchmark != "overload" { // in so short a phase nothing may end
				t.Errorf("%s: %s measured nothing: %+v", r.Benchmark, row.Way, row)
			}
		}
		for _, ratio := range r.Ratios {
			if ratio.Value < 0 || ratio.Value == 0 && r.Benchmark != "overload" {
				t.Errorf("%s: %+v", r.Benchmark, ratio)
			}
		}
	}
	if len(ways) > 0 {
		t.Errorf("no report of %v", ways)
	}
	var left int
	if err := db.Get(&left, `SELECT count(*) FROM pg_database WHERE datname LIKE 'annals\_bench\_%'`); err != nil || left > 0 {
		t.Errorf("%d databases of benchmarks are left behind: %v", left, err)
	}
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"nonsense"}, {"append", "--callers", "0"}, {"append", "--callers", "5000"}, {"load", "--stream", "1"},
		{"append", "--log", "-1"}, {"http", "--servers", "100"}, {"append", "--slice", "1ns"}, {"--output", "xml"},
	} {
		annals(t, append([]string{"bench"}, args...)...).exits(exitMisuse)
	}
}
