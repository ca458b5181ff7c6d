package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// column is a member of Row as the table shows it; left out when no row has it.
type column struct {
	heading string
	value   func(Row) float64
	format  string
}

var columns = []column{
	{"CALLERS", func(r Row) float64 { return float64(r.Callers) }, "%.0f"},
	{"", func(r Row) float64 { return r.PerSecond }, "%.0f"},
	{"P50 MS", func(r Row) float64 { return r.P50 }, "%.2f"},
	{"P90", func(r Row) float64 { return r.P90 }, "%.2f"},
	{"P99", func(r Row) float64 { return r.P99 }, "%.2f"},
	{"P99.9", func(r Row) float64 { return r.P999 }, "%.2f"},
	{"CPU µS: PROGRAM", func(r Row) float64 { return r.ProgramCPU }, "%.0f"},
	{"GENERATOR", func(r Row) float64 { return r.GeneratorCPU }, "%.0f"},
	{"DATABASE", func(r Row) float64 { return r.DatabaseCPU }, "%.0f"},
	{"ALLOCS", func(r Row) float64 { return r.Allocations }, "%.1f"},
	{"WAL BYTES", func(r Row) float64 { return r.WALBytes }, "%.0f"},
	{"DISK BYTES", func(r Row) float64 { return r.DiskBytes }, "%.0f"},
	{"HEAP MB", func(r Row) float64 { return r.HeapMB }, "%.0f"},
	{"RSS MB", func(r Row) float64 { return r.RSSMB }, "%.0f"},
	{"REFUSED", func(r Row) float64 { return r.Refused }, "%.3f"},
}

// Print writes a report as tables: what each way reached, and the ratios beside what we aim at.
func (r Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s\n", r.Benchmark)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	var shown []column
	heading := []string{"WAY"}
	for _, c := range columns {
		used := false
		for _, row := range r.Rows {
			used = used || c.value(row) != 0
		}
		if used {
			shown = append(shown, c)
			if c.heading == "" {
				c.heading = strings.ToUpper(r.Unit) + "/S"
			}
			heading = append(heading, c.heading)
		}
	}
	fmt.Fprintln(tw, strings.Join(heading, "\t")+"\t")
	for _, row := range r.Rows {
		cells := []string{row.Way}
		for _, c := range shown {
			text := ""
			if v := c.value(row); v != 0 {
				text = fmt.Sprintf(c.format, v)
			}
			cells = append(cells, text)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t")+"\t")
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if parts := row.databaseParts(); parts != "" {
			fmt.Fprintf(w, "  database CPU µs of %s: %s\n", row.Way, parts)
		}
	}
	tw = tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, ratio := range r.Ratios {
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", ratio.Name, number(ratio.Value), ratio.verdict())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  %s\n", n)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// leastShown is the least of a split that is worth a word, in microseconds.
const leastShown = 1

// databaseParts lists what DatabaseCPU is made of, most first.
func (r Row) databaseParts() string {
	names := slices.SortedFunc(maps.Keys(r.DatabaseBy), func(x, y string) int {
		return cmp.Or(cmp.Compare(r.DatabaseBy[y], r.DatabaseBy[x]), cmp.Compare(x, y))
	})
	var parts []string
	rest := 0.0
	for _, name := range names {
		if took := r.DatabaseBy[name]; took >= leastShown {
			parts = append(parts, fmt.Sprintf("%s %.0f", name, took))
		} else {
			rest += took
		}
	}
	if rest >= leastShown {
		parts = append(parts, fmt.Sprintf("others %.0f", rest))
	}
	return strings.Join(parts, ", ")
}

func (r Ratio) verdict() string {
	switch {
	case r.Aim == 0:
		return ""
	case r.AtMost && r.Reached:
		return fmt.Sprintf("(at most %s: reached)", number(r.Aim))
	case r.AtMost:
		return fmt.Sprintf("(at most %s: missed)", number(r.Aim))
	case r.Reached:
		return fmt.Sprintf("(at least %s: reached)", number(r.Aim))
	default:
		return fmt.Sprintf("(at least %s: missed)", number(r.Aim))
	}
}

func number(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
