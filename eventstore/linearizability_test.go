package eventstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// stockOp is an operation on two counters: take n from one, add n to one, move n between them, or look.
type stockOp struct {
	kind     string // take, add, move, look
	which    int    // the counter, or the one moved from
	n        int64
	useMatch bool
	match    int64
}

// stockAnswer is what the caller learned: whether it was refused and why, and the counter afterwards.
type stockAnswer struct {
	code    domain.Code
	left    int64
	version int64
}

type stockCounter struct{ left, version int64 }

type stockState [2]stockCounter

// stockModel is the two counters as one caller at a time would see them.
var stockModel = porcupine.Model{
	Init: func() any { return stockState{{3, 1}, {3, 1}} },
	Step: func(state, input, output any) (bool, any) {
		s, op, answer := state.(stockState), input.(stockOp), output.(stockAnswer)
		want := s
		code := want.apply(op)
		if code != answer.code {
			return false, s
		}
		if code != "" {
			return true, s
		}
		c := want[op.which]
		return c.left == answer.left && c.version == answer.version, want
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

func (s *stockState) apply(op stockOp) domain.Code {
	c := &s[op.which]
	if op.useMatch && c.version != op.match {
		return domain.CodeVersionMismatch
	}
	switch op.kind {
	case "add":
		*c = stockCounter{c.left + op.n, c.version + 1}
	case "take", "move":
		if c.left < op.n {
			return codeShort
		}
		*c = stockCounter{c.left - op.n, c.version + 1}
		if op.kind == "move" {
			to := &s[1-op.which]
			*to = stockCounter{to.left + op.n, to.version + 1}
		}
	}
	return ""
}

// Every answer, refusals and no-ops included, was true at an instant between the call and the answer, whichever node
// gave it: nothing is ever taken that isn't there, and nothing is refused that was there all the time.
func TestAnswersAreLinearizable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			nodes := []*Store{openStore(t, db), openStore(t, db)}
			ids := [2]domain.ID{newCounter(t, nodes[0], 3), newCounter(t, nodes[0], 3)}
			const callers, each = 8, 25
			var mu sync.Mutex
			var history []porcupine.Operation
			start := time.Now()
			inParallel(callers, func(caller int) {
				random := rand.New(rand.NewPCG(seed, uint64(caller)))
				seen := int64(1)
				for range each {
					op := stockOp{
						kind:  []string{"take", "take", "add", "move", "look"}[random.IntN(5)],
						which: random.IntN(2), n: 1 + random.Int64N(3), useMatch: random.IntN(4) == 0, match: seen,
					}
					call := time.Since(start)
					answer, err := askStock(nodes[caller%2], ids, op)
					if err != nil {
						t.Error(err)
						return
					}
					seen = max(seen, answer.version)
					mu.Lock()
					history = append(history, porcupine.Operation{
						ClientId: caller, Input: op, Output: answer, Call: int64(call), Return: int64(time.Since(start)),
					})
					mu.Unlock()
				}
			})
			if result := porcupine.CheckOperationsTimeout(stockModel, history, time.Minute); result != porcupine.Ok {
				t.Fatalf("the answers aren't linearizable: %s", result)
			}
			refused, outdated := 0, int64(0)
			for _, op := range history {
				if op.Output.(stockAnswer).code != "" {
					refused++
				}
			}
			for _, n := range nodes {
				outdated += n.Runner.Stats().Outdated
			}
			t.Logf("%d operations, %d refused, %d decisions found outdated", len(history), refused, outdated)
			if refused == 0 {
				t.Error("nothing was refused: the test proves too little")
			}
		})
	}
}

func askStock(node *Store, ids [2]domain.ID, op stockOp) (stockAnswer, error) {
	cmd := acmeCommand()
	if op.useMatch {
		cmd.Match = &domain.Precondition{Versions: []int64{op.match}}
	}
	useCase := onCounter(ids[op.which], counterTake(op.n))
	switch op.kind {
	case "add":
		useCase = onCounter(ids[op.which], counterAdd(op.n))
	case "move":
		useCase = moveCounter(ids[op.which], ids[1-op.which], op.n)
	case "look":
		useCase = onCounter(ids[op.which], counterTake(0))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := node.Runner.Run(ctx, cmd, useCase)
	if code := domain.CodeOf(err); code != "" {
		return stockAnswer{code: code}, nil
	}
	if err != nil {
		return stockAnswer{}, err
	}
	return stockAnswer{left: result.Target.State.(counterState).Left, version: result.Version}, nil
}
