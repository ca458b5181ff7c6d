package projections_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// recorder is a policy that notes the positions it is given.
type recorder struct {
	name string
	mu   sync.Mutex
	seen []int64
	fail func(projections.Event) error
}

func (r *recorder) Spec() projections.Spec {
	return projections.Spec{Name: r.name, Version: 1, Kind: projections.KindPolicy, EventTypes: []string{"tally.counted"}}
}

func (r *recorder) Handle(_ context.Context, page projections.Page) error {
	for _, e := range page.Events {
		if r.fail != nil {
			if err := r.fail(e); err != nil {
				return err
			}
		}
		r.mu.Lock()
		r.seen = append(r.seen, e.Position)
		r.mu.Unlock()
	}
	return nil
}

func (r *recorder) positions() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (b *bundle) policies(cfg projections.Config, policies ...projections.PolicyHandler) *projections.Group {
	b.t.Helper()
	g, err := projections.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := g.AddPolicies(policies...); err != nil {
		b.t.Fatal(err)
	}
	b.ensure(g.Specs()...)
	return g
}

func TestPolicyFollowsTheLogWithoutATransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{name: "reacts", fail: func(projections.Event) error {
		var n int
		err := b.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'projections' AND state LIKE 'idle in transaction%'`) // a statement of the group's own is none
		if err == nil && n > 0 {
			t.Error("a transaction is open while the policy handles an event")
		}
		return err
	}}
	g := b.policies(b.config(), r)
	b.append(counts(7)...)
	b.run(g)
	b.waitFor(g, "reacts", 7)
	b.append(noted{"not wanted"})
	b.waitFor(g, "reacts", b.append(counts(2)...))
	if seen := r.positions(); !slices.Equal(seen, []int64{1, 2, 3, 4, 5, 6, 7, 9, 10}) {
		t.Errorf("handled %v", seen)
	}
	if s := b.state(g, "reacts"); s.Kind != projections.KindPolicy || s.Status != projections.StatusRunning || s.Position != 10 {
		t.Errorf("state %+v", s)
	}
}

func TestPolicyStopsAtAFailureAndSkips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{name: "reacts", fail: func(e projections.Event) error {
		if e.Payload.(counted).Poison != "" {
			return errPoison
		}
		return nil
	}}
	g := b.policies(b.config(), r)
	b.append(withPoison(20, 9, "error")...)
	b.run(g)
	pgtest.Eventually(b.t, "failed", func() bool { f := b.state(g, "reacts").Failure; return f != nil && f.Position == 9 && f.Attempts > 1 })
	if s := b.state(g, "reacts"); s.Status != projections.StatusFailed || s.Position != 8 {
		t.Errorf("state %+v", s)
	}
	if slices.ContainsFunc(r.positions(), func(p int64) bool { return p >= 9 }) {
		t.Errorf("went past the failure: %v", r.positions())
	}
	if err := g.Skip(context.Background(), "reacts", 9, "nonsense", "op"); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "reacts", 20)
	if slices.Contains(r.positions(), 9) || !slices.Contains(r.positions(), 20) {
		t.Errorf("handled %v", r.positions())
	}
}

func TestPolicyGoesOnAfterTheStoreWasUnavailable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls atomic.Int64
	r := &recorder{name: "reacts", fail: func(projections.Event) error {
		if calls.Add(1) < 3 {
			return errors.Join(errors.New("command"), eventstore.ErrOverloaded)
		}
		return nil
	}}
	cfg := b.config()
	cfg.ErrorPause = time.Millisecond
	g := b.policies(cfg, r)
	b.append(counts(3)...)
	b.run(g)
	b.waitFor(g, "reacts", 3)
	if s := b.state(g, "reacts"); s.Failure != nil || !slices.Equal(r.positions(), []int64{1, 2, 3}) {
		t.Errorf("state %+v, handled %v", s, r.positions())
	}
}

// TestPolicyIsTakenOver: the node that works falls silent, without ending its lease, and the other one takes over.
func TestPolicyIsTakenOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(3)...)
	g := b.policies(b.config(), &recorder{name: "reacts"})
	// What a node that was killed leaves behind.
	var until time.Time
	err := b.db.Get(&until, `UPDATE annals.subscribers SET lease_holder = '00000000-0000-4000-8000-000000000001',
		lease_until = clock_timestamp() + interval '1 second' WHERE name = 'reacts' RETURNING lease_until`)
	if err != nil {
		t.Fatal(err)
	}
	b.run(g)
	b.waitFor(g, "reacts", 3)
	var after bool
	err = b.db.Get(&after, `SELECT updated_at >= $1 FROM annals.subscribers WHERE name = 'reacts'`, until)
	if err != nil || !after {
		t.Errorf("taken over while the lease lasted: %v", err)
	}
}

// TestClockOfTheDatabaseJumpsBack: what was to be over soon now lies far ahead. A lease of a node that is gone is taken over
// all the same, and what failed is tried again.
func TestClockOfTheDatabaseJumpsBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(3)...)
	var cured atomic.Bool
	g := b.group(b.config(), poisoned("model", &cured))
	if err := g.AddPolicies(&recorder{name: "reacts"}); err != nil {
		t.Fatal(err)
	}
	if err := projections.EnsureSchemas(context.Background(), b.db.DB, g.Specs()...); err != nil {
		t.Fatal(err)
	}
	b.db.MustExec(`UPDATE annals.subscribers SET lease_holder = '00000000-0000-4000-8000-000000000001',
		lease_until = clock_timestamp() + interval '1 hour' WHERE name = 'reacts'`)
	b.db.MustExec(`UPDATE annals.subscribers SET status = 'failed', failure_position = 1, failure_attempts = 1,
		failed_at = now() + interval '1 hour', updated_at = now() + interval '1 hour', retry_at = now() + interval '61 minutes'
		WHERE name = 'model'`)
	b.run(g)
	b.waitFor(g, "reacts", 3)
	b.waitFor(g, "model", 3)
}

func TestPolicyWorksOnOneNodeAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var working, overlaps, handled atomic.Int64
	handler := func(projections.Event) error {
		if working.Add(1) > 1 {
			overlaps.Add(1)
		}
		handled.Add(1)
		time.Sleep(time.Millisecond)
		working.Add(-1)
		return nil
	}
	cfg := b.config()
	cfg.PageSize, cfg.Lease = 3, time.Hour
	one := b.policies(cfg, &recorder{name: "reacts", fail: handler})
	cfg.DB = b.appPool()
	two := b.policies(cfg, &recorder{name: "reacts", fail: handler})
	stop := b.run(one)
	b.run(two)
	b.waitFor(two, "reacts", b.append(counts(60)...))
	stop() // hands over, although the lease would last for an hour
	b.waitFor(two, "reacts", b.append(counts(30)...))
	b.run(b.policies(cfg, &recorder{name: "reacts", fail: handler}))
	b.waitFor(two, "reacts", b.append(counts(30)...))
	if overlaps.Load() > 0 || handled.Load() != 120 {
		t.Errorf("%d overlaps, %d events handled", overlaps.Load(), handled.Load())
	}
}

// TestPolicyMovesTheCheckpointByCompareAndSet: a node that was taken over while it worked must not move the checkpoint of
// the one that did.
func TestPolicyMovesTheCheckpointByCompareAndSet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls atomic.Int64
	r := &recorder{name: "reacts", fail: func(e projections.Event) error {
		if calls.Add(1) > 1 {
			return nil
		}
		_, err := b.db.Exec(`UPDATE annals.subscribers SET position = 2 WHERE name = 'reacts'`)
		return err
	}}
	cfg := b.config()
	cfg.ErrorPause = time.Millisecond
	g := b.policies(cfg, r)
	b.append(counts(3)...)
	b.run(g)
	b.waitFor(g, "reacts", 3)
	if seen := r.positions(); !slices.Equal(seen, []int64{1, 2, 3, 3}) {
		t.Errorf("handled %v", seen)
	}
}

// ticker is a timer of the tests.
type ticker struct {
	tick func(context.Context) (int64, error)
}

func (ticker) Spec() projections.Spec {
	return projections.Spec{Name: "ticks", Version: 1, Kind: projections.KindPolicy}
}
func (ticker) Every() time.Duration                      { return 5 * time.Millisecond }
func (t ticker) Tick(ctx context.Context) (int64, error) { return t.tick(ctx) }

func TestTimerFailsVisiblyAndGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var broken atomic.Bool
	var ticks atomic.Int64
	broken.Store(true)
	cfg := b.config()
	g, err := projections.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = g.AddTimers(ticker{func(context.Context) (int64, error) {
		if broken.Load() {
			panic("a broken timer")
		}
		ticks.Add(1)
		return 2, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.ensure(g.Specs()...)
	head := b.append(counts(4)...)
	b.run(g)
	pgtest.Eventually(b.t, "failed", func() bool { f := b.state(g, "ticks").Failure; return f != nil && f.Attempts > 1 })
	s := b.state(g, "ticks")
	if s.Status != projections.StatusFailed || s.Failure.Error != "panic: a broken timer" {
		t.Errorf("state %+v, failure %+v", s, s.Failure)
	}
	broken.Store(false)
	pgtest.Eventually(b.t, "ticks again", func() bool { return ticks.Load() > 2 && b.state(g, "ticks").Failure == nil })
	if s := b.state(g, "ticks"); s.Status != projections.StatusRunning || s.Position != head || s.Lag != 0 {
		t.Errorf("state %+v", s)
	}
	if err := g.Pause(context.Background(), "ticks", "op"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(b.t, "paused", func() bool { return b.state(g, "ticks").Status == projections.StatusPaused })
	if err := g.Skip(context.Background(), "ticks", 0, "because", "op"); !errors.Is(err, projections.ErrNoEvents) {
		t.Errorf("skip: %v", err)
	}
}
