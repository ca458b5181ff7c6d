package eventstore

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// sameAnswer compares a repeat's answer with the first one's.
func sameAnswer(t *testing.T, first, repeat CommandResult) {
	t.Helper()
	ignored := cmpopts.IgnoreFields(CommandResult{}, "Replayed", "Target")
	if diff := cmp.Diff(first, repeat, ignored, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the repeat answers differently (-first +repeat):\n%s", diff)
	}
	if !repeat.Replayed || repeat.Target != nil || first.Replayed {
		t.Errorf("replayed: first %v, repeat %v, with target %v", first.Replayed, repeat.Replayed, repeat.Target)
	}
}

func TestRepeatsAnswerTheSame(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	node, other := openStore(t, db), openStore(t, db)
	from, to := newCounter(t, node, 10), newCounter(t, node, 0)
	commands := map[string]func(context.Context, *domain.UnitOfWork) error{
		"creates":         openCounter("once", 5),
		"several streams": moveCounter(from, to, 2),
		"no change":       onCounter(from, counterTake(0)),
		"extras": func(ctx context.Context, u *domain.UnitOfWork) error {
			u.Attach("order_id", "42")
			return onCounter(from, counterTake(1))(ctx, u)
		},
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			first := mustRun(t, node, keyed(name, "f"), command)
			for _, n := range []*Store{node, other} {
				cmd := keyed(name, "f")
				cmd.Match = &domain.Precondition{Versions: []int64{999}} // a replay comes before If-Match
				sameAnswer(t, first, mustRun(t, n, cmd, command))
				mustRefuse(t, n, keyed(name, "another"), command, domain.CodeIdempotencyKeyReused)
			}
			// Keys are of one client and scope.
			cmd := keyed(name, "another")
			cmd.Key.Scope = "policy:test"
			if again, err := node.Runner.Run(context.Background(), cmd, command); again.Replayed {
				t.Errorf("another scope is answered by this key: %v", err)
			}
		})
	}
}

// A refused command isn't kept: its key decides anew.
func TestRefusalsAreNotKept(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	id := newCounter(t, store, 1)
	mustRefuse(t, store, keyed("k", "f"), onCounter(id, counterTake(5)), codeShort)
	mustRun(t, store, acmeCommand(), onCounter(id, counterAdd(9)))
	first := mustRun(t, store, keyed("k", "f"), onCounter(id, counterTake(5)))
	sameAnswer(t, first, mustRun(t, store, keyed("k", "f"), onCounter(id, counterTake(5))))
}

// Repeats that run at once, on two nodes, take effect once and answer the same, also when the command can be done only
// once, so that a late one would be refused.
func TestConcurrentRepeats(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Store{openStore(t, db), openStore(t, db)}
	for round := range 10 {
		all := newCounter(t, nodes[0], 7)
		commands := []func(context.Context, *domain.UnitOfWork) error{
			onCounter(all, counterTake(7)),
			openCounter(fmt.Sprintf("only one, round %d", round), 1),
			onCounter(all, counterTake(0)),
		}
		for c, command := range commands {
			answers := make([]CommandResult, 16)
			var firsts atomic.Int64
			inParallel(len(answers), func(i int) {
				var err error
				key := fmt.Sprintf("%d/%d", round, c)
				if answers[i], err = nodes[i%2].Runner.Run(context.Background(), keyed(key, "f"), command); err != nil {
					t.Errorf("command %d: %v", c, err)
				}
				if !answers[i].Replayed {
					firsts.Add(1)
					answers[i].Replayed, answers[i].Target = true, nil
				}
			})
			if firsts.Load() != 1 {
				t.Fatalf("command %d took effect %d times", c, firsts.Load())
			}
			for _, a := range answers[1:] {
				if diff := cmp.Diff(answers[0], a, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("answers differ:\n%s", diff)
				}
			}
		}
		if left := counterLeft(t, nodes[1], all); left != 0 {
			t.Fatalf("%d left", left)
		}
	}
}

// A key that is in use by a request on its way is refused to another request at once; a repeat of the request waits.
func TestKeyInFlight(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	id := newCounter(t, store, 9)
	inside, goOn, done := make(chan struct{}), make(chan struct{}), make(chan CommandResult, 2)
	calls := atomic.Int64{}
	slow := func(ctx context.Context, u *domain.UnitOfWork) error {
		if calls.Add(1) == 1 {
			close(inside)
			<-goOn
		}
		return onCounter(id, counterTake(1))(ctx, u)
	}
	run := func() {
		result, err := store.Runner.Run(context.Background(), keyed("k", "f"), slow)
		if err != nil {
			t.Errorf("run: %v", err)
		}
		done <- result
	}
	go run()
	<-inside
	mustRefuse(t, store, keyed("k", "another"), slow, domain.CodeIdempotencyKeyReused)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Runner.Run(ctx, keyed("k", "f"), slow); domain.CodeOf(err) != domain.CodeConcurrentChange {
		t.Errorf("a repeat that can't wait gets %v", err)
	}
	go run()
	close(goOn)
	first, second := <-done, <-done
	if first.Replayed == second.Replayed {
		t.Errorf("replayed: %v, %v", first.Replayed, second.Replayed)
	}
}

// A refusal is looked at once more: the first request may have taken effect on another node since the look-up.
func TestRefusedRepeatFindsTheFirst(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	node, other := openStore(t, db), openStore(t, db)
	claimed := 0
	for name, command := range map[string]func(id domain.ID) func(context.Context, *domain.UnitOfWork) error{
		"refused": func(id domain.ID) func(context.Context, *domain.UnitOfWork) error {
			return onCounter(id, counterTake(1))
		},
		"claim taken": func(domain.ID) func(context.Context, *domain.UnitOfWork) error { return openCounter("claimed", 1) },
	} {
		id := newCounter(t, node, 1)
		var first CommandResult
		ran := false
		result := mustRun(t, node, keyed(name, "f"), func(ctx context.Context, u *domain.UnitOfWork) error {
			if !ran { // after the look-up, before the decision
				ran = true
				first = mustRun(t, other, keyed(name, "f"), command(id))
				node.States.Forget()
			}
			return command(id)(ctx, u)
		})
		claimed++
		sameAnswer(t, first, result)
	}
	if claimed != 2 {
		t.Error("a case didn't run")
	}
}

func TestDeleteIdempotencyKeys(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	change(t, db, `INSERT INTO annals.idempotency_keys (client_id, scope, key, fingerprint, result, created_at)
		SELECT 'c', scope, n::text, '\x00', '{}', now() - interval '1 day' * (n % 2)
		FROM generate_series(1, 4200) n, unnest(ARRAY['http', 'policy:a', 'policy:ab']) scope`)
	count := func(scope string) (n int) {
		if err := db.Get(&n, `SELECT count(*) FROM annals.idempotency_keys WHERE scope = $1`, scope); err != nil {
			t.Fatal(err)
		}
		return n
	}
	hourAgo := time.Now().Add(-time.Hour)
	if n, err := store.DeleteIdempotencyKeys(context.Background(), "http", hourAgo); n != 2100 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	if n, err := store.DeleteIdempotencyKeys(context.Background(), "policy:a", time.Now().Add(time.Hour)); n != 4200 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	if http, a, ab := count("http"), count("policy:a"), count("policy:ab"); http != 2100 || a != 0 || ab != 4200 {
		t.Errorf("left are %d, %d and %d", http, a, ab)
	}
}
