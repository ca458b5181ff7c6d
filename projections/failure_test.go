package projections_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// poisoned fails at events that say so, in the way they say, while the poison works.
func poisoned(name string, cured *atomic.Bool) *projections.Fold[domain.ID, total] {
	fold := totals(name, func(e counted) error {
		switch {
		case e.Poison == "" || cured.Load():
			return nil
		case e.Poison == "panic":
			panic("the projector can't take it")
		default:
			return errPoison
		}
	})
	fold.FoldConfig.Spec.Lean = true // the failure names an event whose id the subscriber wasn't given
	return fold
}

func withPoison(n, at int, poison string) []domain.Event {
	events := counts(n)
	events[at-1] = counted{N: int64(at), Poison: poison}
	return events
}

func TestPoisonEventStopsItsSubscriberAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ poison, text string }{
		"an error": {"error", "the event can't be applied"},
		"a panic":  {"panic", "panic: the projector can't take it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var cured, never atomic.Bool
			never.Store(true)
			g := b.group(b.config(), poisoned("stops", &cured), poisoned("goes_on", &never))
			head := b.append(withPoison(100, 37, c.poison)...)
			b.run(g)
			b.waitFor(g, "goes_on", head)
			pgtest.Eventually(b.t, "the subscriber tried again", func() bool {
				f := b.state(g, "stops").Failure
				return f != nil && f.Attempts >= 3
			})
			s := b.state(g, "stops")
			if s.Status != projections.StatusFailed || s.Position != 36 || s.Lag != 64 || s.LagSeconds <= 0 ||
				s.Failure.Position != 37 || s.Failure.EventType != "tally.counted" || s.Failure.EventID.IsZero() ||
				!strings.Contains(s.Failure.Error, c.text) || s.Failure.RetryAt == nil {
				t.Errorf("state %+v, failure %+v", s, s.Failure)
			}
			b.checkTotals("stops", 36)
			// New events don't get past it.
			head = b.append(counts(5)...)
			b.waitFor(g, "goes_on", head)
			if p := b.state(g, "stops").Position; p != 36 {
				t.Errorf("went past the failure, to %d", p)
			}
			// Once it can be applied, the next attempt goes on by itself.
			cured.Store(true)
			b.waitFor(g, "stops", head)
			b.checkTotals("stops", head)
			if s := b.state(g, "stops"); s.Status != projections.StatusRunning || s.Failure != nil {
				t.Errorf("state after recovery %+v", s)
			}
		})
	}
}

func TestRetryAndSkip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := context.Background()
	var cured atomic.Bool
	var audited []projections.Operation
	cfg := b.config()
	cfg.RetryPause = time.Hour
	cfg.Audit = func(_ context.Context, op projections.Operation) error {
		if op.Reason == "unrecorded" {
			return errors.New("the log can't be reached")
		}
		audited = append(audited, op)
		return nil
	}
	g := b.group(cfg, poisoned("totals", &cured))
	b.append(withPoison(20, 7, "error")...)
	b.append(withPoison(20, 12, "error")...)
	b.run(g)
	failedAt := func(position int64, attempts int) {
		t.Helper()
		pgtest.Eventually(b.t, fmt.Sprintf("failed at %d, attempt %d", position, attempts), func() bool {
			f := b.state(g, "totals").Failure
			return f != nil && f.Position == position && f.Attempts == attempts
		})
	}
	failedAt(7, 1)
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"retry elsewhere":       {g.Retry(ctx, "totals", 8, "op"), projections.ErrNoFailure},
		"skip elsewhere":        {g.Skip(ctx, "totals", 8, "because", "op"), projections.ErrNoFailure},
		"skip without a reason": {g.Skip(ctx, "totals", 7, "", "op"), projections.ErrReasonNeeded},
		"retry of another":      {g.Retry(ctx, "nobody", 7, "op"), projections.ErrUnknownSubscriber},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	if err := g.Skip(ctx, "totals", 7, "unrecorded", "op"); err == nil {
		t.Error("an operation took effect that isn't recorded")
	}
	if err := g.Retry(ctx, "totals", 7, "op"); err != nil {
		t.Fatal(err)
	}
	failedAt(7, 2)
	if err := g.Skip(ctx, "totals", 7, "nonsense", "op"); err != nil {
		t.Fatal(err)
	}
	failedAt(32, 1)
	b.checkTotals("totals", 31, 7)
	if list, err := g.Failures(ctx, "totals"); err != nil || len(list) != 1 || list[0].Position != 32 {
		t.Errorf("failures %+v: %v", list, err)
	}
	cured.Store(true)
	if err := g.Retry(ctx, "totals", 32, "op"); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "totals", 40)
	b.checkTotals("totals", 40, 7)
	if list, err := g.Failures(ctx, "totals"); err != nil || len(list) != 0 {
		t.Errorf("failures %+v: %v", list, err)
	}
	want := []projections.Operation{
		{Name: "totals", Version: 1, Action: projections.ActionRetry, Position: 7, Actor: "op"},
		{Name: "totals", Version: 1, Action: projections.ActionSkip, Position: 7, Reason: "nonsense", Actor: "op"},
		{Name: "totals", Version: 1, Action: projections.ActionRetry, Position: 32, Actor: "op"},
	}
	if fmt.Sprint(audited) != fmt.Sprint(want) {
		t.Errorf("audited %+v", audited)
	}
	var reason, actor string
	err := b.db.QueryRow(`SELECT reason, actor FROM annals.skipped_events
		WHERE projection = 'totals' AND version = 1 AND position = 7`).Scan(&reason, &actor)
	if err != nil || reason != "nonsense" || actor != "op" {
		t.Errorf("skipped because of %q by %q: %v", reason, actor, err)
	}
}

func TestEventThatCanNotBeDecoded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	head := b.append(counts(10)...)
	_, err := b.db.Exec(`INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at,
			recorded_at, schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id,
			request_id, data, metadata, data_salt, metadata_salt)
		SELECT position + 1, event_id, aggregate_id, aggregate_version + 1, now(), now(), 9, event_type, aggregate_type,
			client_id, actor_id, correlation_id, causation_id, request_id, data, metadata, '', ''
		FROM annals.events WHERE position = $1`, head)
	if err != nil {
		t.Fatal(err)
	}
	raw := projections.MustJournal(projections.JournalConfig[entry]{
		Spec: projections.Spec{
			Name: "raw", Version: 1, Kind: projections.KindReadModel, Raw: true,
			DDL: `CREATE TABLE entries (position bigint PRIMARY KEY, n bigint NOT NULL, data json NOT NULL)`,
		},
		Table: "entries",
		Row: func(e projections.Event) (entry, bool, error) {
			if e.Payload != nil {
				return entry{}, false, errors.New("a raw subscriber was given a payload")
			}
			return entry{e.Position, 0, e.Data}, true, nil
		},
	})
	g := b.group(b.config(), totals("totals", nil), raw)
	b.run(g)
	b.waitFor(g, "raw", head+1)
	pgtest.Eventually(b.t, "the subscriber failed", func() bool { return b.state(g, "totals").Failure != nil })
	s := b.state(g, "totals")
	if s.Position != head || s.Failure.Position != head+1 || !strings.Contains(s.Failure.Error, "schema version 9") {
		t.Errorf("state %+v, failure %+v", s, s.Failure)
	}
	b.checkTotals("totals", head)
}

// TestFailingStatement: an error of the database that is the event's fault, which aborts the transaction.
func TestFailingStatement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.group(b.config(), totals("totals", nil))
	if _, err := b.db.Exec(`ALTER TABLE rm_totals_v1.totals ADD CONSTRAINT no_more CHECK (sum < 300)`); err != nil {
		t.Fatal(err)
	}
	// Seven streams: the third event of the first one is too much.
	events := counts(100)
	for i := range events {
		events[i] = counted{N: 100}
	}
	b.append(events...)
	b.run(g)
	pgtest.Eventually(b.t, "the subscriber failed", func() bool { return b.state(g, "totals").Failure != nil })
	s := b.state(g, "totals")
	if s.Position != 14 || s.Failure.Position != 15 || !strings.Contains(s.Failure.Error, "no_more") {
		t.Errorf("state %+v, failure %+v", s, s.Failure)
	}
	b.checkTotals("totals", 14)
}

// What changes a subscriber is recorded, and nothing else: whatever was recorded before, and whoever stopped it.
func TestWhatChangesASubscriberIsRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := context.Background()
	var cured atomic.Bool
	var recorded []string
	cfg := b.config()
	cfg.RetryPause = time.Hour
	cfg.Audit = func(_ context.Context, op projections.Operation) error {
		recorded = append(recorded, string(op.Action)+" by "+op.Actor)
		return nil
	}
	g := b.group(cfg, poisoned("totals", &cured))
	b.append(withPoison(20, 7, "error")...)
	b.append(withPoison(20, 12, "error")...)
	b.run(g)
	failedAt := func(position int64) {
		t.Helper()
		pgtest.Eventually(b.t, "failed", func() bool {
			s := b.state(g, "totals")
			return s.Status == projections.StatusFailed && s.Failure.Position == position
		})
	}
	step := func(want projections.Status, err error) {
		t.Helper()
		if s := b.state(g, "totals"); err != nil || s.Status != want {
			t.Fatalf("%s, want %s: %v", s.Status, want, err)
		}
	}
	failedAt(7)
	step(projections.StatusPaused, g.Pause(ctx, "totals", "ada"))
	step(projections.StatusPaused, g.Pause(ctx, "totals", "bob"))
	step(projections.StatusPaused, g.Retry(ctx, "totals", 7, "ada"))
	step(projections.StatusPaused, g.Skip(ctx, "totals", 7, "nonsense", "ada"))
	if err := g.Resume(ctx, "totals", "bob"); err != nil {
		t.Fatal(err)
	}
	failedAt(32)
	cured.Store(true)
	if err := g.Resume(ctx, "totals", "cy"); err != nil { // which nobody paused
		t.Fatal(err)
	}
	b.waitFor(g, "totals", 40)
	step(projections.StatusRunning, g.Resume(ctx, "totals", "dan"))
	step(projections.StatusPaused, g.Pause(ctx, "totals", "eve"))
	want := []string{"pause by ada", "retry by ada", "skip by ada", "resume by bob", "resume by cy", "pause by eve"}
	if diff := cmp.Diff(want, recorded); diff != "" {
		t.Error(diff)
	}
	b.checkTotals("totals", 40, 7)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := context.Background()
	cfg := b.config()
	looks := b.countLooks(&cfg)
	g := b.group(cfg, totals("totals", nil))
	other := b.group(b.config(), totals("totals", nil)) // operations reach every node
	b.run(g)
	b.waitFor(g, "totals", b.append(counts(10)...))
	if err := other.Pause(ctx, "totals", "op"); err != nil {
		t.Fatal(err)
	}
	head := b.append(counts(10)...)
	looks(10)
	if s := b.state(g, "totals"); s.Status != projections.StatusPaused || s.Position != 10 {
		t.Errorf("paused: %+v", s)
	}
	if err := other.Resume(ctx, "totals", "op"); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "totals", head)
	b.checkTotals("totals", head)
	if s := b.state(g, "totals"); s.Status != projections.StatusRunning {
		t.Errorf("resumed: %+v", s)
	}
}
