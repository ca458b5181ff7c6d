package projections_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
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

// linesOf is a logger's output.
type linesOf struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *linesOf) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *linesOf) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// warnings is a logger of what is a warning or worse.
func (l *linesOf) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Who has seen everything has nothing to report; who is ahead of the log reports where it ends.
func TestSubscribersAheadOfTheLogSaySo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var lines linesOf
	cfg := b.config()
	cfg.Poll, cfg.Logger = 5*time.Millisecond, slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelWarn}))
	looks := b.countLooks(&cfg)
	g := b.group(cfg, totals("totals", nil))
	if err := g.AddPolicies(&recorder{name: "reacts"}); err != nil {
		t.Fatal(err)
	}
	b.ensure(g.Specs()...)
	head := b.append(counts(3)...)
	b.run(g)
	b.waitFor(g, "totals", head)
	b.waitFor(g, "reacts", head)
	looks(40)
	if text := lines.String(); text != "" {
		t.Errorf("with nothing to do: %s", text)
	}
	b.db.MustExec(`UPDATE annals.subscribers SET position = 8`)
	for _, name := range []string{"totals", "reacts"} {
		pgtest.Eventually(t, name+" says that it is ahead", func() bool {
			for line := range strings.Lines(lines.String()) {
				if strings.Contains(line, "subscriber="+name+" ") && strings.Contains(line, "ahead of the log") &&
					strings.Contains(line, "position=8 head=3") {
					return true
				}
			}
			return false
		})
	}
}

// When the log has lost what was announced, subscribers don't look for it all the time.
func TestALostTailIsNotLookedForWithoutPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, cfg, _ := b.withTail()
	cfg.Poll = time.Hour
	var looks atomic.Int64
	projections.SetLooked(&cfg, func(string) { looks.Add(1) })
	g := b.group(cfg, totals("totals", nil))
	if err := g.AddPolicies(&recorder{name: "reacts"}); err != nil {
		t.Fatal(err)
	}
	b.ensure(g.Specs()...)
	b.run(g)
	b.waitFor(g, "totals", w.write("tally.counted", `{"n":1}`, `{"n":2}`))
	if err := g.Pause(t.Context(), "totals", "op"); err != nil {
		t.Fatal(err)
	}
	if err := g.Pause(t.Context(), "reacts", "op"); err != nil {
		t.Fatal(err)
	}
	w.write("tally.counted", `{"n":3}`, `{"n":4}`)
	tx := b.db.MustBegin()
	tx.MustExec(`SET LOCAL session_replication_role = replica`)
	tx.MustExec(`DELETE FROM annals.events WHERE position > 2`)
	tx.MustExec(`UPDATE annals.subscribers SET status = 'running', position = 2`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	before := looks.Load()
	for range 10 { // each look but the last finds nothing, twice over: in memory, and in the log
		already := looks.Load()
		g.Nudge("totals")
		g.Nudge("reacts")
		pgtest.Eventually(t, "both look", func() bool { return looks.Load() >= already+2 })
		time.Sleep(20 * time.Millisecond) // in which who doesn't pause looks dozens of times
	}
	if n := looks.Load() - before; n > 2*3*10 {
		t.Errorf("%d looks", n)
	}
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
