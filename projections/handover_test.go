package projections_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"annals/eventstore/pgtest"
	"annals/projections"
)

// standingBy runs a node that, once it has found its checkpoint held, doesn't look again by itself. hold holds the
// checkpoint, lets the node find that out, and lets go.
func (b *bundle) standingBy(p projections.Projector) (g *projections.Group, hold func()) {
	b.t.Helper()
	cfg := b.config()
	cfg.StandbyPause, cfg.Poll = time.Hour, time.Hour
	g = b.group(cfg, p)
	b.run(g)
	pgtest.Eventually(b.t, "listening", func() (listens bool) {
		err := b.db.Get(&listens, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'idle' AND query ILIKE 'listen%annals_progress%')`)
		return err == nil && listens
	})
	b.waitFor(g, "totals", b.append(counts(3)...))
	return g, func() {
		b.t.Helper()
		tx := b.db.MustBegin()
		defer tx.Rollback()
		tx.MustExec(`SELECT FROM annals.subscribers WHERE name = 'totals' FOR UPDATE`)
		b.append(counts(3)...)
		pgtest.Eventually(b.t, "standing by", func() bool { return projections.StandsBy(g, "totals") })
	}
}

// Who held a checkpoint says when it is free: a subscriber that looked meanwhile doesn't stand by for a node that isn't there.
func TestASubscriberIsToldThatItsCheckpointIsFree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g, hold := b.standingBy(totals("totals", nil))
	hold()
	if at := b.state(g, "totals").Position; at != 3 {
		t.Fatalf("the checkpoint was held, and yet it is at %d", at)
	}
	if err := projections.Nudge(t.Context(), b.db, "totals", 1); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "totals", 6)
	b.checkTotals("totals", 6)
}

// An operation on another node holds the checkpoint for a moment, and says when it is over, also when it changes nothing.
func TestAnOperationSaysThatTheCheckpointIsFree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := totals("totals", nil)
	g, hold := b.standingBy(p)
	other := b.group(b.config(), p)
	hold()
	if err := other.Retry(t.Context(), "totals", 1, "op"); !errors.Is(err, projections.ErrNoFailure) {
		t.Fatal(err)
	}
	b.waitFor(g, "totals", 6)
	b.checkTotals("totals", 6)
}

// A node that ends tells those that stood by for it.
func TestANodeThatEndsHandsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := totals("totals", nil)
	second, hold := b.standingBy(p)
	hold()
	first := b.group(b.config(), p)
	stop := b.run(first)
	b.waitFor(first, "totals", b.append(counts(3)...)) // while the second stands by
	stop()
	head := b.append(counts(3)...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := second.WaitFor(ctx, "totals", head); err != nil {
		t.Fatalf("the node that stood by didn't take over: %v", err)
	}
	b.checkTotals("totals", head)
}
