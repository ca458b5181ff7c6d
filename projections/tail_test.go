package projections_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// witness is a projector that keeps what it was given.
type witness struct {
	projections.Projector
	name string
	lean bool
	mu   sync.Mutex
	saw  []eventstore.Envelope
}

func (w *witness) Spec() projections.Spec {
	s := totalsSpec(w.name)
	s.EventTypes, s.Lean = nil, w.lean
	return s
}

func (w *witness) Apply(_ context.Context, _ projections.Tx, page projections.Page) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range page.Events {
		e.Data, e.Metadata = append(json.RawMessage{}, e.Data...), append(json.RawMessage{}, e.Metadata...)
		w.saw = append(w.saw, e.Envelope)
	}
	return nil
}

// writer appends by a sequencer, whose tail a group can use.
type writer struct {
	*bundle
	*eventstore.Sequencer
	stream  domain.ID
	version int64
}

func (b *bundle) writer() *writer {
	b.t.Helper()
	s, err := eventstore.OpenSequencer(context.Background(), eventstore.SequencerConfig{DSN: b.db.DSN})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { s.Close(context.Background()) })
	return &writer{bundle: b, Sequencer: s, stream: domain.ID(uuid.Must(uuid.NewV7()))}
}

// write appends events of a type and gives the last position.
func (w *writer) write(eventType string, data ...string) int64 {
	w.t.Helper()
	request := eventstore.AppendRequest{
		Client: "acme", Streams: []eventstore.StreamExpectation{{AggregateID: w.stream, Expected: w.version}},
	}
	for _, d := range data {
		w.version++
		request.Events = append(request.Events, eventstore.NewEvent{
			EventID: domain.ID(uuid.Must(uuid.NewV7())), EventType: eventType, SchemaVersion: 1, AggregateType: "tally",
			AggregateID: w.stream, AggregateVersion: w.version, ActorID: "op", OccurredAt: time.Now(),
			CorrelationID: "c", CausationID: "d", RequestID: "r", Data: []byte(d), Metadata: []byte(`{"k":  "v"}`),
		})
	}
	out, err := w.Append(context.Background(), request)
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Head
}

// withTail gives a writer, the configuration of a group that reads its tail, and the number of pages that came from there.
func (b *bundle) withTail() (w *writer, cfg projections.Config, tailed *atomic.Int64) {
	b.t.Helper()
	w, cfg, tailed = b.writer(), b.config(), new(atomic.Int64)
	cfg.Waker, cfg.Tail = w.Signal(), w.Tail()
	projections.SetTailed(&cfg, func(string) { tailed.Add(1) })
	return w, cfg, tailed
}

// A subscriber is given the same by the tail as by the log, to the microsecond.
func TestTheTailGivesWhatTheLogGives(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, cfg, tailed := b.withTail()
	full, lean := &witness{name: "full"}, &witness{name: "lean", lean: true}
	g := b.group(cfg, full, lean, totals("totals", nil))
	stop := b.run(g)
	var head int64
	for range 4 {
		w.write("tally.counted", `{"n": 1}`, `{"n":2}`)
		head = w.write("tally.noted", `{"text":"x"}`)
		for _, name := range []string{"full", "lean", "totals"} {
			b.waitFor(g, name, head)
		}
	}
	stop()
	if tailed.Load() == 0 {
		t.Error("no page came from the tail: the test tests nothing")
	}
	b.checkTotals("totals", head)

	plain := b.config()
	again, leanAgain := &witness{name: "full_again"}, &witness{name: "lean_again", lean: true}
	g = b.group(plain, again, leanAgain)
	b.run(g)
	b.waitFor(g, "full_again", head)
	b.waitFor(g, "lean_again", head)
	if diff := cmp.Diff(again.saw, full.saw); diff != "" || len(full.saw) != 12 {
		t.Errorf("log and tail: %s", diff)
	}
	if diff := cmp.Diff(leanAgain.saw, lean.saw); diff != "" {
		t.Errorf("lean, log and tail: %s", diff)
	}
}

// A tail that isn't the log's end is found out, whatever it says.
func TestAWrongTailIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(e *eventstore.TailEvent){
		"another event":     func(e *eventstore.TailEvent) { e.EventID[3] ^= 1 },
		"beyond the log":    func(e *eventstore.TailEvent) { e.Position += 1000; e.Batch += 1000 },
		"not committed yet": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			w, cfg, tailed := b.withTail()
			cfg.Tail = forgedTail{w.Tail(), forge}
			g := b.group(cfg, totals("totals", nil))
			b.run(g)
			var head int64
			for range 3 {
				head = w.write("tally.counted", `{"n":1}`, `{"n":2}`)
				b.waitFor(g, "totals", head)
			}
			b.checkTotals("totals", head)
			if tailed.Load() > 0 {
				t.Errorf("%d pages were taken from a wrong tail", tailed.Load())
			}
		})
	}
}

// forgedTail changes what a tail says; without a change it invents an event.
type forgedTail struct {
	projections.Tail
	forge func(*eventstore.TailEvent)
}

func (f forgedTail) After(position int64, limit int) []*eventstore.TailEvent {
	var forged []*eventstore.TailEvent
	for _, e := range f.Tail.After(position, limit) {
		c := *e
		if f.forge != nil {
			f.forge(&c)
		}
		forged = append(forged, &c)
	}
	if f.forge == nil && len(forged) > 0 {
		c := *forged[len(forged)-1]
		c.Position++
		c.Batch = c.Position
		c.EventID[3] ^= 1
		forged = append(forged, &c)
	}
	return forged
}

// Where another node has moved the checkpoint, the page after it is read, and nothing is applied twice.
func TestTheTailWhereAnotherNodeHasBeen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, cfg, tailed := b.withTail()
	looks := b.countLooks(&cfg)
	cfg.Poll = time.Hour
	g := b.group(cfg, totals("totals", nil))
	b.run(g)
	looks(1)
	// Another node applies the first event while this one stands by.
	tx := b.db.MustBegin()
	tx.MustExec(`SELECT FROM annals.subscribers WHERE name = 'totals' FOR UPDATE`)
	w.write("tally.counted", `{"n":1}`)
	looks(1) // the row was locked: it stands by
	tx.MustExec(`INSERT INTO rm_totals_v1.totals (id, client_id, sum, events, last_position) VALUES ($1, 'acme', 1, 1, 1)`, w.stream.String())
	tx.MustExec(`UPDATE annals.subscribers SET position = 1 WHERE name = 'totals'`)
	head := w.write("tally.counted", `{"n":2}`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "totals", head)
	b.checkTotals("totals", head)
	for range 3 {
		head = w.write("tally.counted", `{"n":3}`)
		b.waitFor(g, "totals", head)
	}
	b.checkTotals("totals", head)
	if tailed.Load() == 0 {
		t.Error("the tail wasn't used again")
	}
}

// An event that an operator skipped stays out, also where the tail has it.
func TestTheTailHonoursSkips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, cfg, tailed := b.withTail()
	g := b.group(cfg, totals("totals", nil))
	b.db.MustExec(`INSERT INTO annals.skipped_events (projection, version, position, reason, actor)
		VALUES ('totals', 1, 3, 'spoilt', 'op'), ('totals', 2, 4, 'of another version', 'op')`)
	b.run(g)
	b.waitFor(g, "totals", w.write("tally.counted", `{"n":1}`))
	head := w.write("tally.counted", `{"n":2}`, `{"n":3}`, `{"n":4}`)
	b.waitFor(g, "totals", head)
	b.checkTotals("totals", head, 3)
	before := tailed.Load()
	head = w.write("tally.counted", `{"n":5}`)
	b.waitFor(g, "totals", head)
	b.checkTotals("totals", head, 3)
	if tailed.Load() == before {
		t.Error("the tail wasn't used again")
	}
}
