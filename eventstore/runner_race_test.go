package eventstore

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// Two nodes sell a stock at once: exactly what is there is sold, and everybody else is told so.
func TestNeverOversold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Store{openStore(t, db), openStore(t, db)}
	const stock, callers = 40, 96
	id := newCounter(t, nodes[0], stock)
	var sold, refused atomic.Int64
	inParallel(callers, func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := nodes[i%2].Runner.Run(ctx, acmeCommand(), onCounter(id, counterTake(1)))
		switch {
		case err == nil:
			sold.Add(1)
		case domain.CodeOf(err) == codeShort:
			refused.Add(1)
		default:
			t.Errorf("caller %d: %v", i, err)
		}
	})
	if sold.Load() != stock || refused.Load() != callers-stock {
		t.Errorf("%d sold, %d refused", sold.Load(), refused.Load())
	}
	if left := counterLeft(t, nodes[0], id); left != 0 {
		t.Errorf("%d left", left)
	}
}

// A stream that was only read is part of what the append expects: when it moves before the append, the command is decided
// again.
func TestReadStreamsAreExpected(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	node, busy := openStore(t, db), openStore(t, db)
	read, written := newCounter(t, node, 1), newCounter(t, node, 0)
	decisions := 0
	mustRefuse(t, node, acmeCommand(), func(ctx context.Context, u *domain.UnitOfWork) error {
		condition, err := domain.OpenExisting(ctx, u, counterAggregate, read)
		if err != nil {
			return err
		}
		if decisions++; decisions == 1 {
			mustRun(t, busy, acmeCommand(), onCounter(read, counterTake(1)))
		}
		if condition.State().Left == 0 {
			return domain.Refuse(codeShort, "nothing is left")
		}
		return onCounter(written, counterAdd(1))(ctx, u)
	}, codeShort)
	if left := counterLeft(t, node, written); left != 0 || decisions != 2 {
		t.Errorf("%d were added, after %d decisions", left, decisions)
	}
	if stats := node.Runner.Stats(); stats.Conflicts != 1 || stats.Refused != 1 || stats.Queued != 1 {
		t.Errorf("stats %+v", stats)
	}
}

// A caller that comes while others stand in line for a stream stands in line as well, instead of racing them.
func TestNewcomersQueue(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	id := newCounter(t, store, 1)
	if err := store.Runner.hot.join(context.Background(), id, ""); err != nil {
		t.Fatal(err)
	}
	var decisions atomic.Int64
	done := make(chan error)
	go func() {
		_, err := store.Runner.Run(context.Background(), acmeCommand(), func(ctx context.Context, u *domain.UnitOfWork) error {
			decisions.Add(1)
			return onCounter(id, counterTake(1))(ctx, u)
		})
		done <- err
	}()
	for waiting := 0; waiting < 2; runtime.Gosched() { // until it stands in line
		store.Runner.hot.mu.Lock()
		waiting = store.Runner.hot.lines[id].refs
		store.Runner.hot.mu.Unlock()
	}
	// The head of the line changes the stream; whoever waited decides on that.
	if _, err := NewCommandRunner(store.Runner.RunnerConfig).Run(context.Background(), acmeCommand(),
		onCounter(id, counterAdd(5))); err != nil {
		t.Fatal(err)
	}
	store.Runner.hot.leave(id)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if left := counterLeft(t, store, id); left != 5 || decisions.Load() != 2 || store.Runner.Stats().Conflicts != 0 {
		t.Errorf("%d left after %d decisions and %d conflicts", left, decisions.Load(), store.Runner.Stats().Conflicts)
	}
}
