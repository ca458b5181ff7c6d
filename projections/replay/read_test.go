package replay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/projections"
)

// TestStreamCoversTheLog: whatever the bounds and the number of readers, chunks follow each other without a gap, hold
// every wanted event once, in order, and are bounded in events and bytes.
func TestStreamCoversTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(20_500)
	for _, types := range [][]string{nil, {"counter.noted"}, {"counter.unheard"}} {
		for _, workers := range []int{1, 3} {
			for _, bounds := range [][2]int64{{0, 20_500}, {1, 2}, {7_999, 16_001}, {5, 5}} {
				t.Run(fmt.Sprint(types, workers, bounds), func(t *testing.T) {
					l := log{decoder: projections.NewDecoder(b.deps.Registry), spec: projections.Spec{EventTypes: types}}
					at, got := bounds[0], []int64{}
					err := l.stream(b.ctx, b.deps.DB, workers, bounds[0], bounds[1], func(c chunk) error {
						if c.From != at || c.To <= c.From || len(c.Events) > chunkEvents {
							t.Errorf("a chunk of %d events from %d to %d after %d", len(c.Events), c.From, c.To, at)
						}
						at = c.To
						for _, e := range c.Events {
							got = append(got, e.Position)
						}
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					want := []int64{}
					for p := bounds[0] + 1; p <= bounds[1]; p++ {
						if types == nil || types[0] == "counter.noted" && p%10 == 0 {
							want = append(want, p)
						}
					}
					if diff := cmp.Diff(want, got); at != bounds[1] || diff != "" {
						t.Errorf("ended at %d, want %d: %s", at, bounds[1], diff)
					}
				})
			}
		}
	}
}

// TestLargeEvents: a chunk is bounded in bytes too.
func TestLargeEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const events, size = 100, 200 << 10
	b.fill(events)
	b.must(`ALTER TABLE annals.events DISABLE TRIGGER ALL; UPDATE annals.events SET event_type = 'counter.noted',
		data = json_build_object('text', repeat('x', 204800)); ALTER TABLE annals.events ENABLE TRIGGER ALL`)
	l := log{decoder: projections.NewDecoder(b.deps.Registry)}
	total := 0
	err := l.stream(b.ctx, b.deps.DB, 2, 0, events, func(c chunk) error {
		if c.bytes > chunkBytes+size+100 {
			t.Errorf("a chunk of %d bytes", c.bytes)
		}
		total += len(c.Events)
		return nil
	})
	if err != nil || total != events {
		t.Errorf("%d events, error %v", total, err)
	}
	c, err := l.first(b.ctx, b.DB, 0, events)
	if err != nil {
		t.Fatal(err)
	}
	if c.To != c.Events[len(c.Events)-1].Position || c.bytes > chunkBytes+size+100 || c.To >= events {
		t.Errorf("the first chunk has %d bytes and ends at %d", c.bytes, c.To)
	}
}

// TestEventsOutliveTheirRow: what was read of a row stays when the driver reads the next one into the same memory.
func TestEventsOutliveTheirRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(1)
	var raw []byte
	spec := projections.Spec{Raw: true}
	if err := b.Get(&raw, `SELECT `+projections.RecordOf(spec)+` FROM annals.events e`); err != nil {
		t.Fatal(err)
	}
	var c chunk
	if err := (log{spec: spec}).add(&c, raw, make(projections.Names)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%+v %s %s", c.Events[0].Envelope, c.Events[0].Data, c.Events[0].Metadata)
	clear(raw)
	if got := fmt.Sprintf("%+v %s %s", c.Events[0].Envelope, c.Events[0].Data, c.Events[0].Metadata); got != want || len(c.Events[0].Data) == 0 {
		t.Errorf("it became %s\nfrom %s", got, want)
	}
}

// TestStreamStops: an error of the fold, or the end of the context, ends all readers.
func TestStreamStops(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(50_000)
	l := log{decoder: projections.NewDecoder(b.deps.Registry)}
	broken := errors.New("broken")
	err := l.stream(b.ctx, b.deps.DB, 3, 0, 50_000, func(chunk) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	err = l.stream(ctx, b.deps.DB, 3, 0, 50_000, func(chunk) error { cancel(); return nil })
	if err == nil {
		t.Error("no error after the context had ended")
	}
	if n := b.Stats().InUse; n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
}

func TestTracker(t *testing.T) {
	t.Parallel()
	var got []Progress
	tr := newTracker("p", 1, func(p Progress) { got = append(got, p) })
	start := time.Unix(0, 0)
	tr.at(start, PhaseBuild, 0, 1000)
	tr.at(start.Add(interval/2), PhaseBuild, 50, 1000) // too soon
	tr.at(start.Add(time.Second), PhaseBuild, 100, 1000)
	tr.at(start.Add(2*time.Second), PhaseIndex, 100, 1000)
	want := []Progress{
		{Name: "p", Version: 1, Phase: PhaseBuild, Head: 1000},
		{Name: "p", Version: 1, Phase: PhaseBuild, Position: 100, Head: 1000, EventsPerSecond: 100, ETA: 9 * time.Second},
		{Name: "p", Version: 1, Phase: PhaseIndex, Position: 100, Head: 1000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
