package eventstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// BenchmarkRun measures whole commands, load to append, with 128 callers: each on a stream of its own, each with an
// idempotency key, or all on one stream. "append" is the sequencer alone with the same events.
func BenchmarkRun(b *testing.B) {
	const callers = 128
	db := pgtest.New(b)
	store := openStore(b, db)
	ids := make([]domain.ID, callers)
	inParallel(callers, func(i int) { ids[i] = newCounter(b, store, 0) })
	hot := newCounter(b, store, 0)
	var keys atomic.Int64
	run := func(cmd Command, id domain.ID) error {
		_, err := store.Runner.Run(context.Background(), cmd, onCounter(id, counterAdd(1)))
		return err
	}
	for name, call := range map[string]func(i int) error{
		"own streams": func(i int) error { return run(acmeCommand(), ids[i]) },
		"keyed":       func(i int) error { return run(keyed(fmt.Sprint(keys.Add(1)), "f"), ids[i]) },
		"one stream":  func(int) error { return run(acmeCommand(), hot) },
	} {
		b.Run(name, func(b *testing.B) { benchCallers(b, callers, call) })
	}
	b.Run("append", func(b *testing.B) {
		at := make([]domain.ID, callers)
		version := make([]int64, callers)
		for i := range at {
			at[i] = newUUID()
		}
		benchCallers(b, callers, func(i int) error {
			_, err := store.Sequencer.Append(context.Background(), onStream(at[i], version[i], 1))
			version[i]++
			return err
		})
	})
}

// benchCallers spreads b.N calls over callers that run at once.
func benchCallers(b *testing.B, callers int, call func(i int) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for i := range callers {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}
