package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/eventstore/pgtest"
)

func TestRunAppends(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	var hooked []Appended
	store := openStore(t, pgtest.New(t), func(c *Config) {
		c.Clock = func() time.Time { return now }
		c.OnAppended = func(a Appended) { hooked = append(hooked, a) }
	})
	cmd := acmeCommand()
	cmd.RequestID, cmd.Metadata = "req-1", map[string]string{"trace_id": "t", "b": "2", "a": "1"}
	opened := mustRun(t, store, cmd, openCounter("c", 10))
	if opened.Version != 1 || opened.Position != 1 || !opened.Created || len(opened.Events) != 1 || opened.Replayed ||
		opened.AggregateType != "counter" {
		t.Fatalf("result %+v", opened)
	}
	at := now.UTC().Truncate(time.Microsecond)
	want := domain.Loaded{
		State: counterState{Name: "c", Left: 10, Events: 1}, Version: 1, Position: 1, CreatedAt: at, UpdatedAt: at,
	}
	if diff := cmp.Diff(&want, opened.Target); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
	event, err := store.Reader.Event(context.Background(), acme, 1)
	if err != nil {
		t.Fatal(err)
	}
	if event.EventID != opened.Events[0].EventID || event.EventID[6]>>4 != 7 || !event.OccurredAt.Equal(at) ||
		event.RequestID != "req-1" || event.CorrelationID != "req-1" || event.CausationID != "req-1" ||
		event.ActorID != "tester" || event.ClientID != acme || event.AggregateID != opened.ID ||
		string(event.Metadata) != `{"a":"1","b":"2","trace_id":"t"}` || string(event.Data) != `{"name":"c","left":10}` {
		t.Errorf("event %+v\nmetadata %s", event, event.Metadata)
	}
	now = now.Add(time.Hour)
	taken := mustRun(t, store, acmeCommand(), onCounter(opened.ID, counterTake(3)))
	if taken.Version != 2 || taken.Position != 2 || taken.Created || taken.Target.State.(counterState).Left != 7 ||
		!taken.Target.CreatedAt.Equal(at) || !taken.Target.UpdatedAt.Equal(at.Add(time.Hour)) {
		t.Errorf("result %+v, target %+v", taken, taken.Target)
	}
	if len(hooked) != 2 || hooked[1].Head != 2 || hooked[1].Client != acme {
		t.Errorf("hooks %+v", hooked)
	}
	// What a fresh node reads equals what this one cached.
	state, err := store.States.Current(context.Background(), acme, "counter", opened.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*taken.Target, state.Loaded); diff != "" {
		t.Errorf("state (-cached +read):\n%s", diff)
	}
	if stats := store.Runner.Stats(); stats.Appended != 2 || stats.Commands != 2 || stats.Conflicts != 0 {
		t.Errorf("stats %+v", stats)
	}
	if stats := store.States.CacheStats(); stats.Misses != 0 || stats.Hits != 1 {
		t.Errorf("a command read what the last one had just written: %+v", stats)
	}
}

func TestRunChangesNothing(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	id := newCounter(t, store, 5)
	mustRun(t, store, acmeCommand(), onCounter(id, counterTake(1)))
	result := mustRun(t, store, acmeCommand(), onCounter(id, counterTake(0)))
	if result.Version != 2 || result.Position != 2 || len(result.Events) != 0 || result.Events == nil {
		t.Errorf("result %+v", result)
	}
	if result.Target.State.(counterState).Left != 4 {
		t.Errorf("target %+v", result.Target)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	id := newCounter(t, store, 5)
	other := acmeCommand()
	other.Client = "other"
	any, first := acmeCommand(), acmeCommand()
	any.Match = &domain.Precondition{Any: true}
	first.Match = &domain.Precondition{Versions: []int64{7, 9}}
	mustRefuse(t, store, acmeCommand(), onCounter(id, counterTake(6)), codeShort)
	mustRefuse(t, store, acmeCommand(), onCounter(newUUID(), counterTake(1)), domain.CodeNotFound)
	mustRefuse(t, store, other, onCounter(id, counterTake(1)), domain.CodeNotFound)
	mustRefuse(t, store, first, onCounter(id, counterTake(1)), domain.CodeVersionMismatch)
	mustRun(t, store, any, onCounter(id, counterTake(1)))
	// A stream of another type doesn't exist either, also where the cache holds it.
	mustRefuse(t, store, acmeCommand(), func(ctx context.Context, u *domain.UnitOfWork) error {
		_, err := domain.OpenExisting(ctx, u, markAggregate, id)
		return err
	}, domain.CodeNotFound)
	for _, client := range []string{"", AllClients} {
		cmd := acmeCommand()
		cmd.Client = client
		if _, err := store.Runner.Run(context.Background(), cmd, onCounter(id, counterTake(1))); !errors.Is(err, ErrInvalidAppend) {
			t.Errorf("client %q commands: %v", client, err)
		}
	}
	if head, err := store.Reader.Head(context.Background()); head != 2 || err != nil {
		t.Errorf("the head is %d, %v, want 2", head, err)
	}
}

// A stream that another client has can't be appended to, however the use case opens it, and doesn't block a command that
// merely looked for it.
func TestForeignStreamDoesNotExist(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store, fresh := openStore(t, db), openStore(t, db)
	id := newCounter(t, store, 5)
	other := acmeCommand()
	other.Client = "other"
	for _, node := range []*Store{store, fresh} {
		mustRefuse(t, node, other, func(ctx context.Context, u *domain.UnitOfWork) error {
			counter, err := domain.Open(ctx, u, counterAggregate, id)
			if err == nil {
				_, err = counter.Execute(counterOpen("mine", 1))
			}
			return err
		}, domain.CodeNotFound)
		mustRun(t, node, other, func(ctx context.Context, u *domain.UnitOfWork) error {
			if counter, err := domain.Open(ctx, u, counterAggregate, id); err != nil || counter.Exists() {
				return fmt.Errorf("exists, or %w", err)
			}
			mark := domain.OpenNew(u, markAggregate)
			u.Create(mark)
			_, err := mark.Execute(struct{}{})
			return err
		})
	}
}

func TestUniqueNameAcrossNodes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Store{openStore(t, db), openStore(t, db)}
	var won, refused atomic.Int64
	inParallel(16, func(i int) {
		_, err := nodes[i%2].Runner.Run(context.Background(), acmeCommand(), openCounter("the one", int64(i)))
		switch {
		case err == nil:
			won.Add(1)
		case domain.CodeOf(err) == codeNamed:
			refused.Add(1)
		default:
			t.Errorf("run: %v", err)
		}
	})
	if won.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d won, %d were refused", won.Load(), refused.Load())
	}
}

// 128 callers on one stream all succeed, on one node and on two.
func TestHotStream(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d nodes", count), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			nodes := make([]*Store, count)
			for i := range nodes {
				nodes[i] = openStore(t, db)
			}
			const callers = 128
			id := newCounter(t, nodes[0], callers)
			inParallel(callers, func(i int) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if _, err := nodes[i%count].Runner.Run(ctx, acmeCommand(), onCounter(id, counterTake(1))); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			})
			if left := counterLeft(t, nodes[0], id); left != 0 {
				t.Errorf("%d are left", left)
			}
			mustRefuse(t, nodes[0], acmeCommand(), onCounter(id, counterTake(1)), codeShort)
			for _, n := range nodes {
				// Racing instead of standing in line costs a conflict for nearly every success of another.
				if conflicts := n.Runner.Stats().Conflicts; count == 1 && conflicts > 3*callers {
					t.Errorf("%d conflicts", conflicts)
				}
				if n.Runner.hot.size() != 0 || n.Runner.keys.size() != 0 {
					t.Error("a queue is left over")
				}
			}
		})
	}
}

// Streams are queued for in one order: commands over two streams in opposite directions never wait for each other.
func TestOppositeMovesAllSucceed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Store{openStore(t, db), openStore(t, db)}
	a, b := newCounter(t, nodes[0], 100), newCounter(t, nodes[0], 100)
	inParallel(64, func(i int) {
		from, to := a, b
		if i%4 < 2 {
			from, to = b, a
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := nodes[i%2].Runner.Run(ctx, acmeCommand(), moveCounter(from, to, 1)); err != nil {
			t.Errorf("caller %d: %v", i, err)
		}
	})
	if left, right := counterLeft(t, nodes[0], a), counterLeft(t, nodes[1], b); left != 100 || right != 100 {
		t.Errorf("%d and %d are left", left, right)
	}
}

// A race under If-Match has exactly one winner, and the others learn of the mismatch.
func TestMatchHasOneWinner(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Store{openStore(t, db), openStore(t, db)}
	id := newCounter(t, nodes[0], 1000)
	for round := range int64(8) {
		var won atomic.Int64
		inParallel(16, func(i int) {
			cmd := acmeCommand()
			cmd.Match = &domain.Precondition{Versions: []int64{round + 1}}
			_, err := nodes[i%2].Runner.Run(context.Background(), cmd, onCounter(id, counterTake(1)))
			switch {
			case err == nil:
				won.Add(1)
			case domain.CodeOf(err) != domain.CodeVersionMismatch:
				t.Errorf("round %d: %v", round, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("round %d had %d winners", round, won.Load())
		}
	}
}

// A refusal or a no-op that rests on what another node has changed since is decided again.
func TestOutdatedCacheIsNeverTheLastWord(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	stale, busy := openStore(t, db), openStore(t, db)
	id, sink := newCounter(t, stale, 1), newCounter(t, stale, 0)
	mustRefuse(t, stale, acmeCommand(), onCounter(id, counterTake(5)), codeShort)
	mustRun(t, busy, acmeCommand(), onCounter(id, counterAdd(9)))
	if result := mustRun(t, stale, acmeCommand(), onCounter(id, counterTake(5))); result.Version != 3 {
		t.Errorf("result %+v", result)
	}
	mustRun(t, busy, acmeCommand(), onCounter(id, counterAdd(1)))
	if result := mustRun(t, stale, acmeCommand(), onCounter(id, counterTake(0))); result.Version != 4 || result.Position != 5 {
		t.Errorf("a no-op answers with an old version: %+v", result)
	}
	mustRun(t, busy, acmeCommand(), onCounter(id, counterAdd(1)))
	cmd := acmeCommand()
	cmd.Match = &domain.Precondition{Versions: []int64{5}}
	if result := mustRun(t, stale, cmd, onCounter(id, counterTake(1))); result.Version != 6 {
		t.Errorf("a precondition was judged on an old version: %+v", result)
	}
	// The same over two streams, of which one has moved.
	mustRun(t, busy, acmeCommand(), onCounter(id, counterAdd(100)))
	mustRun(t, stale, acmeCommand(), moveCounter(id, sink, 50))
	mustRun(t, busy, acmeCommand(), onCounter(sink, counterTake(20)))
	mustRefuse(t, stale, acmeCommand(), moveCounter(sink, id, 31), codeShort)
	mustRun(t, stale, acmeCommand(), moveCounter(sink, id, 30))
	if stats := stale.Runner.Stats(); stats.Outdated != 4 {
		t.Errorf("%d decisions were found outdated, want 4: %+v", stats.Outdated, stats)
	}
}

// So is an error that isn't a refusal, of a state that contradicts what another stream says of it; one that rests on
// what is true stays.
func TestErrorOnOutdatedStateIsNotTheLastWord(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	stale, busy := openStore(t, db), openStore(t, db)
	id := newCounter(t, stale, 1)
	errContradiction := errors.New("fewer are left than the other stream has given away")
	take := func(s counterState) ([]counterEvent, error) {
		if s.Left < 5 {
			return nil, errContradiction
		}
		return counterTake(5)(s)
	}
	mustRun(t, busy, acmeCommand(), onCounter(id, counterAdd(4)))
	if result := mustRun(t, stale, acmeCommand(), onCounter(id, take)); result.Version != 3 {
		t.Errorf("result %+v", result)
	}
	if _, err := stale.Runner.Run(t.Context(), acmeCommand(), onCounter(id, take)); !errors.Is(err, errContradiction) {
		t.Errorf("on the true state: %v, want the error", err)
	}
}

// States that were read one after another may never have been true together: a refusal that rests on two of them is
// decided again.
func TestStatesReadApartAreNotTheLastWord(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	node, busy := openStore(t, db), openStore(t, db)
	a, b := newCounter(t, busy, 5), newCounter(t, busy, 0)
	moved := false
	mustRun(t, node, acmeCommand(), func(ctx context.Context, u *domain.UnitOfWork) error {
		first, err := domain.OpenExisting(ctx, u, counterAggregate, b)
		if err != nil {
			return err
		}
		if !moved {
			moved = true
			mustRun(t, busy, acmeCommand(), moveCounter(a, b, 5))
		}
		second, err := domain.OpenExisting(ctx, u, counterAggregate, a)
		if err != nil {
			return err
		}
		if sum := first.State().Left + second.State().Left; sum != 5 {
			return domain.Refuse(codeShort, "there are %d", sum)
		}
		return nil
	})
}

// Without a winner until the deadline, the answer is concurrent-modification and nothing is written.
func TestLosingUntilTheDeadline(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	id := newCounter(t, store, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := store.Runner.Run(ctx, acmeCommand(), func(ctx context.Context, u *domain.UnitOfWork) error {
		if err := onCounter(id, counterTake(1))(ctx, u); err != nil {
			return err
		}
		// Somebody else is always faster, from within the decision.
		other := NewCommandRunner(store.Runner.RunnerConfig)
		_, err := other.Run(context.Background(), acmeCommand(), onCounter(id, counterAdd(1)))
		return err
	})
	if domain.CodeOf(err) != domain.CodeConcurrentChange {
		t.Fatalf("got %v, want concurrent-modification", err)
	}
	cancelled, stop := context.WithCancel(context.Background())
	stop()
	if _, err := store.Runner.Run(cancelled, acmeCommand(), onCounter(id, counterTake(1))); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled command gives %v", err)
	}
}

// inParallel runs n functions at once and waits for all.
func inParallel(n int, f func(i int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}
