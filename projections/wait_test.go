package projections_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// auditLike is a synchronous subscriber.
type auditLike struct{ projections.Projector }

func (a auditLike) Spec() projections.Spec {
	s := a.Projector.Spec()
	s.Synchronous = true
	return s
}

func TestWaitForAcrossNodes(t *testing.T) {
	t.Parallel()
	for name, listens := range map[string]bool{"announced": true, "polled": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			working := b.group(b.config(), totals("totals", nil))
			cfg := b.config()
			if !listens {
				cfg.ListenDSN = ""
			}
			// The other node's own subscriber doesn't look: it learns of the progress from the first one.
			cfg.Poll, cfg.Waker = time.Hour, eventstore.NewSignal(0)
			looks := b.countLooks(&cfg)
			idle := b.group(cfg, totals("totals", func(counted) error {
				t.Error("the other node applied an event")
				return nil
			}))
			b.run(idle)
			looks(1) // the one at its start
			b.run(working)
			ctx, cancel := context.WithCancel(context.Background())
			early := make(chan error, 1)
			go func() { early <- idle.WaitFor(ctx, "totals", 1000) }()
			b.append(counts(10)...)
			b.waitFor(idle, "totals", 10)
			cancel()
			if err := <-early; !errors.Is(err, context.Canceled) {
				t.Errorf("a wait that was given up: %v", err)
			}
			if err := idle.WaitFor(context.Background(), "nobody", 1); !errors.Is(err, projections.ErrUnknownSubscriber) {
				t.Errorf("an unknown subscriber: %v", err)
			}
		})
	}
}

func TestWaitSynchronous(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var cured atomic.Bool
	cfg := b.config()
	cfg.RetryPause, cfg.SyncLag = time.Hour, 100
	g := b.group(cfg, auditLike{poisoned("audit", &cured)}, totals("slow", func(counted) error {
		return context.DeadlineExceeded // an asynchronous one that never gets anywhere holds up nobody
	}))
	b.run(g)
	head := b.append(counts(20)...)
	if !g.WaitSynchronous(ctx, head, 30*time.Second) {
		t.Fatal("not applied")
	}
	b.checkTotals("audit", head)

	at := func(what string, want bool, position int64) {
		t.Helper()
		begun := ctx.Err()
		if got := g.WaitSynchronous(ctx, position, time.Hour); got != want || begun != nil || ctx.Err() != nil {
			t.Errorf("%s: %v, want %v at once", what, got, want)
		}
	}
	at("too far behind", false, head+101)
	head = b.append(withPoison(10, 4, "error")...)
	pgtest.Eventually(b.t, "failed", func() bool { return b.state(g, "audit").Failure != nil })
	at("failed, before the failure", true, head-7)
	at("failed", false, head)
	cured.Store(true)
	if err := g.Retry(ctx, "audit", head-6, "op"); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "audit", head)
	if err := g.Pause(ctx, "audit", "op"); err != nil {
		t.Fatal(err)
	}
	head = b.append(counts(1)...)
	at("paused", false, head)
	if err := g.Resume(ctx, "audit", "op"); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "audit", head)
	at("resumed", true, head)

	short, end := context.WithCancel(ctx)
	end()
	if g.WaitSynchronous(short, head+1, time.Hour) || g.WaitSynchronous(ctx, head+1, time.Millisecond) {
		t.Error("a position that isn't there")
	}
}

func TestNoRunAheadOfTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(5)...)
	g := b.group(b.config(), totals("totals", nil))
	if _, err := b.db.Exec(`UPDATE annals.subscribers SET position = 6`); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background()); !errors.Is(err, projections.ErrAheadOfLog) {
		t.Errorf("Run: %v", err)
	}
}

func TestCloseBeforeRunAndTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.group(b.config(), totals("totals", nil))
	for range 2 {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := g.Run(context.Background()); err == nil {
		t.Error("a closed group ran")
	}
}
