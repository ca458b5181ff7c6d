package rest

import (
	"encoding/csv"
	"strings"
	"testing"
)

// FuzzCell reads the key of a cell and writes it again: no key has two meanings.
func FuzzCell(f *testing.F) {
	const id = "018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f"
	for _, seed := range []string{"2026-01-06,L1,A," + id, "2026-01-06,,," + id, `2026-01-06,"L,""1",A,` + id, "", ",,,", "\n", `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		cell, ok := parseCell(key)
		if !ok {
			return
		}
		var b strings.Builder
		w := csv.NewWriter(&b)
		if err := w.Write([]string{string(cell.Day), cell.Line, cell.Shift, cell.WorkOrder.String()}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		again, ok := parseCell(b.String())
		if !ok || again != cell {
			t.Fatalf("%q is %v, and %q is %v", key, cell, b.String(), again)
		}
	})
}
