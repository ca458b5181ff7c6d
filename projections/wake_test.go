package projections_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"annals/domain"
	"annals/eventstore"
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
	b.eventually("applied", func() bool { return b.state(g, "totals").Position == head })
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
	s, err := eventstore.OpenSequencer(context.Background(), eventstore.SequencerConfig{DSN: b.db.DSN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	cfg := b.config()
	cfg.Waker, cfg.Poll = s.Signal(), time.Hour
	all := totals("all", nil)
	all.FoldConfig.Spec.EventTypes = nil
	all.FoldConfig.Keys = func(projections.Event, []domain.ID) []domain.ID { return nil }
	g := b.group(cfg, totals("totals", nil), all)
	b.run(g)

	stream := domain.ID(uuid.Must(uuid.NewV7()))
	version := int64(0)
	write := func(eventType, data string) int64 {
		t.Helper()
		version++
		out, err := s.Append(context.Background(), eventstore.AppendRequest{
			Client: "acme", Streams: []eventstore.StreamExpectation{{AggregateID: stream, Expected: version - 1}},
			Events: []eventstore.NewEvent{{
				EventID: domain.ID(uuid.Must(uuid.NewV7())), EventType: eventType, SchemaVersion: 1, AggregateType: "tally",
				AggregateID: stream, AggregateVersion: version, ActorID: "op", OccurredAt: time.Now(),
				CorrelationID: "c", CausationID: "c", RequestID: "r", Data: []byte(data), Metadata: []byte(`{}`),
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.Head
	}
	b.waitFor(g, "totals", write("tally.counted", `{"n":1}`))
	for range 5 {
		b.waitFor(g, "all", write("tally.noted", `{"text":"x"}`))
	}
	if s := b.state(g, "totals"); s.Position != 1 {
		t.Errorf("at position %d: it was woken by events it doesn't want", s.Position)
	}
	head := write("tally.counted", `{"n":2}`)
	b.eventually("applied", func() bool { return b.state(g, "totals").Position == head })
	b.checkTotals("totals", head)
}
