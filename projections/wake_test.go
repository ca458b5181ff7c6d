package projections_test

import (
	"context"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// deaf never hears of types: only of growth by any event.
type deaf struct{ *eventstore.Signal }

func (d deaf) WaitTypes(ctx context.Context, after int64, types []string) (int64, error) {
	if len(types) > 0 {
		<-ctx.Done()
		return d.Head(), ctx.Err()
	}
	return d.Wait(ctx, after)
}

// An event that nobody told of arrives all the same, by the poll.
func TestAnEventNobodyToldOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := b.config()
	cfg.Waker, cfg.Poll = deaf{b.signal}, 10*time.Millisecond
	looks := b.countLooks(&cfg)
	g := b.group(cfg, totals("totals", nil))
	b.run(g)
	looks(2)
	head := b.append(counts(3)...)
	pgtest.Eventually(b.t, "applied", func() bool { return b.state(g, "totals").Position == head })
	b.checkTotals("totals", head)
}

// Somebody who waits for a position makes a subscriber pass over events that it doesn't want.
func TestWaitingMovesASubscriberOverOthersEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := b.config()
	cfg.Waker, cfg.Poll = deaf{b.signal}, time.Hour
	looks := b.countLooks(&cfg)
	g := b.group(cfg, totals("totals", nil))
	b.run(g)
	looks(1)
	for range 3 {
		b.waitFor(g, "totals", b.append(noted{"a"})) // the wait begins after the news
	}
	ended := make(chan struct{})
	go func() { defer close(ended); b.waitFor(g, "totals", 4) }()
	b.append(noted{"b"}) // and before it, perhaps
	<-ended
}

// A subscriber isn't woken by what this node wrote for others; the next event for it brings it up.
func TestOnlyThoseConcernedWake(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.writer()
	cfg := b.config()
	cfg.Waker, cfg.Poll = w.Signal(), time.Hour
	all := totals("all", nil)
	all.FoldConfig.Spec.EventTypes = nil
	all.FoldConfig.Keys = func(projections.Event, []domain.ID) []domain.ID { return nil }
	g := b.group(cfg, totals("totals", nil), all)
	b.run(g)
	b.waitFor(g, "totals", w.write("tally.counted", `{"n":1}`))
	for range 5 {
		b.waitFor(g, "all", w.write("tally.noted", `{"text":"x"}`))
	}
	if s := b.state(g, "totals"); s.Position != 1 {
		t.Errorf("at position %d: it was woken by events it doesn't want", s.Position)
	}
	head := w.write("tally.counted", `{"n":2}`)
	pgtest.Eventually(b.t, "applied", func() bool { return b.state(g, "totals").Position == head })
	b.checkTotals("totals", head)
}
