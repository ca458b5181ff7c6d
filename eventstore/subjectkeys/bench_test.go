package subjectkeys_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/eventstore"
	"annals/eventstore/pgtest"
)

// BenchmarkPersonalText measures what personal text costs a command, and what it costs to read a page of events.
func BenchmarkPersonalText(b *testing.B) {
	n := open(b, pgtest.New(b).DSN)
	plain := inspection.Recorded{Stage: inspection.StageFinal, InspectedOn: "2026-01-06"}
	known, new, names := domain.Personal("Jane Doe"), atomic.Int64{}, map[string]func() *domain.Personal{}
	names["none"] = func() *domain.Personal { return nil }
	names["of a known subject"] = func() *domain.Personal { return &known }
	names["of a new subject"] = func() *domain.Personal {
		name := domain.Personal(fmt.Sprintf("Inspector %d", new.Add(1)))
		return &name
	}
	for _, callers := range []int{1, 128} {
		for what, name := range names {
			b.Run(fmt.Sprintf("append %s, %d callers", what, callers), func(b *testing.B) {
				var all sync.WaitGroup
				var next atomic.Int64
				for range callers {
					all.Go(func() {
						for next.Add(1) <= int64(b.N) {
							e := plain
							e.Inspector = name()
							n.append(b, "acme", stateInspection(e))
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			})
		}
	}
	filter := eventstore.EventFilter{Client: "acme"}
	for what, reader := range map[string]*eventstore.Reader{"opened": n.Reader, "as recorded": n.Reader.AsRecorded()} {
		b.Run("page of 100, "+what, func(b *testing.B) {
			for range b.N {
				if _, err := reader.Page(ctx, filter, 0, 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
