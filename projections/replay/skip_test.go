package replay

import (
	"context"
	"errors"
	"testing"

	"annals/projections"
)

// TestFailingEvent: the rebuild names the event, the old tables stay, and once the event is skipped the next run resumes
// and leaves it out.
func TestFailingEvent(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(totals) projections.Projector{
		"bulk":    func(p totals) projections.Projector { return bulkTotals{p} },
		"by page": func(p totals) projections.Projector { return p },
	} {
		for _, before := range []int{100, 7_000} { // applied by the switch; applied by the bulk
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.fill(before)
				bad := b.poison()
				b.fill(before)
				p := wrap(totals{refuse: true})
				_, err := Rebuild(b.ctx, b.deps, p, Options{MergeEvery: 1_000})
				var failure *EventError
				if !errors.As(err, &failure) || failure.To < bad || failure.From >= bad {
					t.Fatalf("error %v, want one of event %d", err, bad)
				}
				if before > chunkEvents && failure.To-failure.From != 1 {
					t.Errorf("the event isn't named: %v", err)
				}
				b.skip(bad)
				result, err := Rebuild(b.ctx, b.deps, p, Options{MergeEvery: 1_000})
				if err != nil {
					t.Fatal(err)
				}
				if !result.Resumed {
					t.Errorf("not resumed: %+v", result)
				}
				want := b.int(`SELECT count(*) FROM annals.events WHERE event_type = 'counter.counted'`) - 1
				if got := b.int(`SELECT sum(events) FROM rm_totals_v1.totals`); got != want {
					t.Errorf("the rows have %d events, want %d", got, want)
				}
				b.equalsReplay(p)
			})
		}
	}
}

func (b *bundle) skip(position int64) {
	b.t.Helper()
	b.must(`INSERT INTO annals.skipped_events (projection, version, position, reason, actor)
		VALUES ('totals', 1, $1, 'test', 'test')`, position)
}

// TestSkippedMeanwhile: an event that is skipped after the build has applied it isn't in the tables after the switch.
func TestSkippedMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(6_000)
	p := bulkTotals{}
	once := true
	result, err := Rebuild(b.ctx, b.deps, p, Options{observe: func(s signal) {
		if s == signalSwitch && once {
			once = false
			b.skip(5)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.int(`SELECT sum(events) FROM rm_totals_v1.totals`); got != 5_399 || !result.Switched {
		t.Errorf("the rows have %d events, want 5399: %+v", got, result)
	}
}

// TestUndecodable: an event this program can't decode stops the rebuild unless it is skipped, or unless the projection
// takes events as they were recorded.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3_000)
	b.must(`ALTER TABLE annals.events DISABLE TRIGGER ALL; UPDATE annals.events SET schema_version = 7 WHERE position = 42;
		ALTER TABLE annals.events ENABLE TRIGGER ALL`)
	_, err := Rebuild(b.ctx, b.deps, bulkTotals{}, Options{})
	var failure *EventError
	if !errors.As(err, &failure) || failure.From != 41 || failure.To != 42 {
		t.Fatalf("error %v", err)
	}
	if _, err := Rebuild(b.ctx, b.deps, rawEntries{}, Options{}); err != nil {
		t.Errorf("raw: %v", err)
	}
	b.skip(42)
	if _, err := Rebuild(b.ctx, b.deps, bulkTotals{}, Options{}); err != nil {
		t.Errorf("skipped: %v", err)
	}
}

type rawEntries struct{ entries }

func (p rawEntries) Spec() projections.Spec {
	spec := p.entries.Spec()
	spec.Raw = true
	return spec
}

// TestStatusAfterSwitch: a failure that the rebuild got past is over; a pause is the operator's and stays.
func TestStatusAfterSwitch(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{"running": "running", "failed": "running", "paused": "paused"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(100)
			p := bulkTotals{}
			b.ensure(p)
			b.must(`UPDATE annals.subscribers SET status = $1, position = 99, failure_position = 100, failure_attempts = 3,
				failure_error = 'x', failed_at = now(), retry_at = now()`, status)
			if _, err := Rebuild(b.ctx, b.deps, p, Options{}); err != nil {
				t.Fatal(err)
			}
			if n := b.int(`SELECT count(*) FROM annals.subscribers WHERE position = 100 AND status = $1
				AND failure_position IS NULL AND failure_error IS NULL AND retry_at IS NULL AND failure_attempts = 0`, want); n != 1 {
				t.Errorf("the row isn't %s at 100 without a failure", want)
			}
		})
	}
}

// TestPanic: a projector that panics fails the rebuild, not the program.
func TestPanic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(100)
	_, err := Rebuild(b.ctx, b.deps, panicking{}, Options{})
	if failure := (*EventError)(nil); !errors.As(err, &failure) {
		t.Errorf("error %v", err)
	}
}

type panicking struct{ totals }

func (panicking) Apply(context.Context, projections.Tx, projections.Page) error { panic("broken") }
