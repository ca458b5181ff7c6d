package eventstore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// linearInput is an append as the linearizability check sees it: over streams and one claim by number.
type linearInput struct {
	expected map[int]int64 // by stream
	count    int           // events on each of them
	claim    bool          // take the one value that all fight for
	release  bool
}

// linearOutput is what its caller was told.
type linearOutput struct {
	first    int64
	conflict map[int]int64
	taken    bool
}

// linearState is the log in short.
type linearState struct {
	head     int64
	versions [linearStreams]int64
	holder   int // the stream that holds the value, -1: none
}

const linearStreams = 3

// linearModel steps through appends one at a time. A conflict may name fewer streams than have moved, and lower versions
// than they have reached, when the node told it from memory.
func linearModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return linearState{holder: -1} },
		Step: func(state, input, output any) (bool, any) {
			return linearStep(state.(linearState), input.(linearInput), output.(linearOutput))
		},
		Equal:             func(a, b any) bool { return a.(linearState) == b.(linearState) },
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func linearStep(s linearState, in linearInput, out linearOutput) (bool, any) {
	moved := false
	owner := linearStreams
	for stream, v := range in.expected {
		moved = moved || s.versions[stream] != v
		owner = min(owner, stream)
	}
	if out.conflict != nil {
		for stream, v := range out.conflict {
			if v == in.expected[stream] || v > s.versions[stream] {
				return false, s
			}
		}
		return moved, s
	}
	if moved {
		return false, s
	}
	if in.release && s.holder == owner {
		s.holder = -1
	}
	if in.claim {
		if s.holder >= 0 && s.holder != owner {
			return out.taken, s
		}
		s.holder = owner
	}
	if out.taken || out.first != s.head+1 {
		return false, s
	}
	for stream := range in.expected {
		s.versions[stream] += int64(in.count)
		s.head += int64(in.count)
	}
	return true, s
}

// TestTwoNodesAreLinearizable records what the callers of two sequencers on one database ask and are told, and checks
// that some order of single appends, consistent with real time, explains all of it: successes, positions and refusals.
func TestTwoNodesAreLinearizable(t *testing.T) {
	t.Parallel()
	for round := range 4 {
		db := pgtest.New(t)
		nodes := []*Sequencer{openSequencer(t, db.DSN), openSequencer(t, db.DSN)}
		streams := []domain.ID{freshID(), freshID(), freshID()}
		const callers, each = 6, 25
		history := make([][]porcupine.Operation, callers)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				known := map[int]int64{}
				for range each {
					in := drawLinear(r, known)
					called := time.Since(start)
					_, req := in.request(streams)
					outcome, err := nodes[i%2].Append(t.Context(), req)
					out := linearOutput{first: outcome.FirstPosition}
					if conflict, ok := errors.AsType[*ConflictError](err); ok {
						out.conflict = map[int]int64{}
						for n, id := range streams {
							if v, ok := conflict.Versions[id]; ok {
								out.conflict[n], known[n] = v, v
							}
						}
					} else if _, ok := errors.AsType[*ClaimTakenError](err); ok {
						out.taken = true
					} else if err != nil {
						t.Error(describe(err))
						return
					} else {
						for n, v := range in.expected {
							known[n] = v + int64(in.count)
						}
					}
					history[i] = append(history[i], porcupine.Operation{
						ClientId: i, Input: in, Output: out, Call: int64(called), Return: int64(time.Since(start)),
					})
				}
			})
		}
		wg.Wait()
		var all []porcupine.Operation
		told := map[string]int{}
		for _, h := range history {
			all = append(all, h...)
			for _, op := range h {
				switch out := op.Output.(linearOutput); {
				case out.conflict != nil:
					told["conflicts"]++
				case out.taken:
					told["taken claims"]++
				default:
					told["successes"]++
				}
			}
		}
		if !porcupine.CheckOperations(linearModel(), all) {
			t.Fatalf("round %d: no order of single appends explains what the callers were told: %v", round, told)
		}
		if told["conflicts"] == 0 || told["successes"] == 0 {
			t.Errorf("round %d says little: %v", round, told)
		}
	}
}

func drawLinear(r *rand.Rand, known map[int]int64) linearInput {
	in := linearInput{
		expected: map[int]int64{}, count: 1 + r.IntN(2), claim: r.IntN(3) == 0, release: r.IntN(3) == 0,
	}
	for _, n := range r.Perm(linearStreams)[:1+r.IntN(2)] {
		in.expected[n] = known[n]
	}
	return in
}

// request makes the append; owner is the lowest of its streams.
func (in linearInput) request(streams []domain.ID) (owner domain.ID, req AppendRequest) {
	req.Client = "acme"
	for n := range linearStreams {
		v, ok := in.expected[n]
		if !ok {
			continue
		}
		if owner.IsZero() {
			owner = streams[n]
		}
		req.Streams = append(req.Streams, StreamExpectation{AggregateID: streams[n], Expected: v})
		req.Events = append(req.Events, eventsOn(streams[n], v, in.count)...)
	}
	change := ClaimChange{Kind: "product.sku", Value: "x", Owner: owner}
	if in.release {
		req.Releases = []ClaimChange{change}
	}
	if in.claim {
		req.Claims = []ClaimChange{change}
	}
	return owner, req
}

// TestLinearModelCanFail guards the check itself: a history with a lost update has no explanation.
func TestLinearModelCanFail(t *testing.T) {
	t.Parallel()
	in := linearInput{expected: map[int]int64{0: 0}, count: 1}
	op := func(id int, out linearOutput, from, to int64) porcupine.Operation {
		return porcupine.Operation{ClientId: id, Input: in, Output: out, Call: from, Return: to}
	}
	for name, c := range map[string]struct {
		second linearOutput
		want   bool
	}{
		"conflict after the success": {linearOutput{conflict: maps.Clone(map[int]int64{0: 1})}, true},
		"both succeed":               {linearOutput{first: 2}, false},
		"conflict with the future":   {linearOutput{conflict: map[int]int64{0: 2}}, false},
	} {
		ops := []porcupine.Operation{op(0, linearOutput{first: 1}, 1, 2), op(1, c.second, 3, 4)}
		if got := porcupine.CheckOperations(linearModel(), ops); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
