package bench

import (
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What processes did that came and went while it was measured is in the total, whoever they were.
func TestSplitOfTheDatabasesCPUAddsUp(t *testing.T) {
	t.Parallel()
	before := map[int]backend{1: {"append", 100}, 2: {"queries", 50}, 3: {"gone", 70}, 4: {"had this number", 500}}
	after := map[int]backend{1: {"append", 160}, 2: {"queries", 55}, 4: {"has this number", 20}, 5: {"append", 7}}
	for total, want := range map[time.Duration]map[string]time.Duration{
		100: {"append": 67, "queries": 5, "has this number": 20, restOfDatabase: 8},
		90:  {"append": 67, "queries": 5, "has this number": 20}, // rounded down
	} {
		if got := split(before, after, total); !maps.Equal(got, want) {
			t.Errorf("of %d: %v, want %v", total, got, want)
		}
	}
	if got := split(nil, nil, 100); got != nil {
		t.Errorf("of processes that can't be seen: %v", got)
	}
}

func TestPrintShowsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := Report{
		Benchmark: "http", Unit: "commands",
		Rows: []Row{
			{Way: "annals", Callers: 128, PerSecond: 5000, P50: 1.5, P99: 9.25, DatabaseCPU: 100, DiskBytes: 483,
				DatabaseBy: map[string]float64{"walwriter": 5.4, "annals append": 90, "a": 0.7, "b": 0.6, "c": 0.1}},
			{Way: "insert", Callers: 128, PerSecond: 10_000, P50: 2, P99: 11},
		},
		Ratios: []Ratio{
			ratio("commands ÷ inserts", 0.5, 1), ratio("plain", 12.3, 0), ratioAtMost("p99 ÷ p99", 0.84, 1),
		},
		Notes: []string{"a note"},
	}.Print(&out)
	if err != nil {
		t.Fatal(err)
	}
	want := `http
     WAY  CALLERS  COMMANDS/S  P50 MS    P99  DATABASE  DISK BYTES
  annals      128        5000    1.50   9.25       100         483
  insert      128       10000    2.00  11.00
  database CPU µs of annals: annals append 90, walwriter 5, others 1
  commands ÷ inserts  0.50  (at least 1.00: missed)
  plain               12
  p99 ÷ p99           0.84  (at most 1.00: reached)
  a note

`
	got := regexp.MustCompile(`(?m) +$`).ReplaceAllString(out.String(), "")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
