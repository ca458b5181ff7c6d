package eventstore

import (
	"context"
	"testing"
)

func TestNoTraceCostsNoMemory(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	metadata := map[string]string{"trace_id": "1"}
	if n := testing.AllocsPerRun(100, func() {
		inner, end := startSpan(ctx, "command")
		if got := traced(inner, "registerProduct", metadata); len(got) != 1 {
			t.Errorf("the metadata became %v", got)
		}
		end(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
