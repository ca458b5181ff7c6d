package replay

import (
	"context"
	"errors"
	"testing"

	"annals/projections"
)

func TestManager(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(9_000)
	p := bulkTotals{}
	b.live(p)
	policy := specOnly{projections.Spec{Name: "expiry", Version: 1, Kind: projections.KindPolicy}}
	reached, proceed := make(chan struct{}), make(chan struct{})
	m := NewManager(b.ctx, b.deps, []projections.Projector{p, policy}, Options{observe: func(s signal) {
		if s == signalSwitch {
			reached <- struct{}{}
			<-proceed
		}
	}})
	for name, want := range map[string]error{"nobody": ErrUnknownProjection, "expiry": ErrNotReadModel} {
		if err := m.Start(b.ctx, name, "operator"); !errors.Is(err, want) {
			t.Errorf("start %s: %v, want %v", name, err, want)
		}
	}
	request, end := context.WithCancel(b.ctx)
	if err := m.Start(request, "totals", "operator"); err != nil {
		t.Fatal(err)
	}
	end() // the request is answered; the rebuild goes on
	var shown int
	if err := b.deps.DB.QueryRowContext(b.ctx, `SELECT count(*) FROM annals.running_builds WHERE name = 'totals'`).Scan(&shown); err != nil || shown != 1 {
		t.Errorf("the build is shown %d times, error %v", shown, err)
	}
	<-reached
	if err := m.Start(b.ctx, "totals", "operator"); !errors.Is(err, ErrAlreadyBuilding) {
		t.Errorf("a second start: %v", err)
	}
	if got := m.Progress(); len(got) != 1 || got[0].Name != "totals" || got[0].Phase != PhaseSwitch || got[0].Position != 9_000 {
		t.Errorf("progress %+v", got)
	}
	close(proceed)
	m.Wait()
	if got := m.Progress(); len(got) != 0 {
		t.Errorf("progress after the end %+v", got)
	}
	last, ok := m.Last("totals")
	if !ok || last.Err != nil || !last.Result.Switched {
		t.Errorf("outcome %+v", last)
	}
	b.equalsReplay(p)
}

// TestManagerStops: with its context the rebuilds end; the old tables stay, and another process can resume.
func TestManagerStops(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(9_000)
	p := bulkTotals{}
	b.live(p)
	ctx, cancel := context.WithCancel(b.ctx)
	m := NewManager(ctx, b.deps, []projections.Projector{p}, Options{MergeEvery: 2_000, observe: func(signal) { cancel() }})
	if err := m.Start(b.ctx, "totals", "operator"); err != nil {
		t.Fatal(err)
	}
	m.Wait()
	if last, ok := m.Last("totals"); !ok || !errors.Is(last.Err, context.Canceled) {
		t.Errorf("outcome %+v", last)
	}
	if err := m.Start(b.ctx, "totals", "operator"); !errors.Is(err, ErrManagerClosed) {
		t.Errorf("a start after the end: %v", err)
	}
	result, err := Rebuild(b.ctx, b.deps, p, Options{})
	if err != nil || !result.Resumed {
		t.Errorf("result %+v, error %v", result, err)
	}
}
