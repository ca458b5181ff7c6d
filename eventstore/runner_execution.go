package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"annals/domain"
)

// execution is one command on its way: its attempts share the time, the envelope and the places in queues.
type execution struct {
	r        *CommandRunner
	cmd      Command
	useCase  func(ctx context.Context, u *domain.UnitOfWork) error
	now      time.Time
	metadata []byte
	known    map[domain.ID]int64 // versions that the log is known to have: an older cached state won't do
	moved    []domain.ID         // streams that moved under this command, sorted
	holds    []domain.ID         // streams whose queue this command is the head of
}

func newExecution(
	r *CommandRunner, cmd Command, useCase func(ctx context.Context, u *domain.UnitOfWork) error,
) *execution {
	if cmd.RequestID == "" {
		cmd.RequestID = r.NewID().String()
	}
	if cmd.CorrelationID == "" {
		cmd.CorrelationID = cmd.RequestID
	}
	if cmd.CausationID == "" {
		cmd.CausationID = cmd.RequestID
	}
	return &execution{
		r: r, cmd: cmd, useCase: useCase, now: r.Clock().UTC().Truncate(time.Microsecond),
	}
}

// execute decides and appends until the outcome is final.
func (x *execution) execute(ctx context.Context) (CommandResult, error) {
	for {
		result, final, err := x.attempt(ctx)
		if !final {
			err = x.queue(ctx)
		}
		switch {
		case err == nil && !final:
			continue
		case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrOutcomeUnknown) && len(x.moved) > 0:
			return CommandResult{}, domain.Refuse(domain.CodeConcurrentChange,
				"others kept changing the same resource; nothing was written, try again")
		default:
			return result, err
		}
	}
}

// attempt decides once, on states as good as they are known. It isn't final when they turned out to be outdated.
func (x *execution) attempt(ctx context.Context) (result CommandResult, final bool, err error) {
	a := &attempt{execution: x, generation: x.r.States.cache.generation.Load()}
	u := domain.NewUnitOfWork(a, domain.Environment{
		Now: x.now, NewID: x.r.NewID, Client: x.cmd.Client, Match: x.cmd.Match,
	})
	deciding, end := startSpan(ctx, "decide")
	err = x.useCase(deciding, u)
	end(err)
	if err != nil {
		return a.refuse(ctx, err)
	}
	work := u.Work()
	request, err := a.request(ctx, work)
	if err != nil {
		return a.refuse(ctx, err)
	}
	answer := answerOf(work, request)
	if len(request.Events) == 0 && len(request.Claims) == 0 && len(request.Releases) == 0 && request.Idempotency == nil {
		if final, err := a.confirm(ctx); !final || err != nil {
			return CommandResult{}, final, err
		}
		result := answer.result(0)
		result.Target = targetOf(work, nil)
		return result, true, nil
	}
	if request.Idempotency != nil {
		if request.Idempotency.Result, err = json.Marshal(answer); err != nil {
			return CommandResult{}, true, fmt.Errorf("keep the answer: %w", err)
		}
	}
	if x.mustQueue(work) {
		return CommandResult{}, false, nil
	}
	outcome, err := x.append(ctx, request)
	if err != nil {
		return a.failed(ctx, work, err)
	}
	if outcome.Replayed {
		result, err := replay(outcome.Result, outcome.FirstPosition)
		return result, true, err
	}
	result = answer.result(outcome.FirstPosition)
	result.Target = targetOf(work, a.advance(work, request, result))
	if hook := x.r.OnAppended; hook != nil && len(result.Events) > 0 {
		hook(Appended{Client: x.cmd.Client, Head: outcome.Head, Events: result.Events})
	}
	return result, true, nil
}

// failed handles an append that didn't happen.
func (a *attempt) failed(ctx context.Context, work domain.Work, err error) (CommandResult, bool, error) {
	x := a.execution
	var conflict *ConflictError
	var taken *ClaimTakenError
	switch {
	case errors.As(err, &conflict):
		x.r.n.conflicts.Add(1)
		x.outdated(conflict.Versions)
		if len(conflict.Versions) == 0 {
			return CommandResult{}, true, fmt.Errorf("append: a conflict that names no stream: %w", err)
		}
		return CommandResult{}, false, nil
	case errors.As(err, &taken):
		if taken.Index < 0 || taken.Index >= len(work.Claims) || work.Claims[taken.Index].Taken == nil {
			return CommandResult{}, true, fmt.Errorf("append: %w", err)
		}
		// The log itself has just judged it, on the expected versions: nothing to confirm.
		return x.orFirst(ctx, work.Claims[taken.Index].Taken)
	case errors.Is(err, ErrKeyReused):
		return CommandResult{}, true, errKeyReused()
	default:
		return CommandResult{}, true, fmt.Errorf("append: %w", err)
	}
}

// refuse answers a refusal once it is certain that it was judged on states that were true together at an instant since
// the command arrived. So is any other error of the use case: what one stream says of another, such as a reservation, is
// missing from an old state of that other.
func (a *attempt) refuse(ctx context.Context, err error) (CommandResult, bool, error) {
	if ctx.Err() != nil || errors.Is(err, ErrUnavailable) {
		return CommandResult{}, true, err
	}
	final, probeErr := a.confirm(ctx)
	if !final || probeErr != nil {
		return CommandResult{}, final, probeErr
	}
	if domain.CodeOf(err) == "" {
		return CommandResult{}, true, err
	}
	return a.orFirst(ctx, err)
}

// orFirst answers a refusal, unless the same command took effect meanwhile under its key: then that is the answer.
func (x *execution) orFirst(ctx context.Context, refusal error) (CommandResult, bool, error) {
	if x.cmd.Key == nil {
		return CommandResult{}, true, refusal
	}
	first, found, err := lookupKey(ctx, x.r.Log, x.cmd.Client, x.cmd.Key)
	if found || err != nil {
		return first, true, err
	}
	return CommandResult{}, true, refusal
}

// outdated notes what the log has, so that the next attempt doesn't use anything older, and in whose queue to wait.
func (x *execution) outdated(versions map[domain.ID]int64) {
	if x.known == nil {
		x.known = make(map[domain.ID]int64)
	}
	for id, version := range versions {
		// A cached state that is ahead of the log is as wrong as one behind it.
		if cached := x.r.States.cache.get(id); cached != nil && cached.Version > version && x.known[id] == version {
			x.r.States.cache.evict(cached)
		}
		x.known[id] = version
		x.addMoved(id)
	}
}

func (x *execution) addMoved(id domain.ID) {
	if i, found := slices.BinarySearchFunc(x.moved, id, compareIDs); !found {
		x.moved = slices.Insert(x.moved, i, id)
	}
}

func compareIDs(a, b domain.ID) int { return slices.Compare(a[:], b[:]) }

// mustQueue reports whether a first attempt should stand in line rather than race against those who already do.
func (x *execution) mustQueue(work domain.Work) bool {
	if len(x.holds) > 0 {
		return false
	}
	for _, c := range work.Changes {
		if x.r.hot.busy(c.ID) {
			x.addMoved(c.ID)
		}
	}
	return len(x.moved) > 0
}

// queue takes a place in the queues of the streams that moved, in sorted order, so that two commands never wait for each
// other, and returns when it is this command's turn in all of them.
func (x *execution) queue(ctx context.Context) error {
	if len(x.holds) == len(x.moved) {
		return ctx.Err() // holds only grows together with moved
	}
	x.leaveQueues()
	x.r.n.queued.Add(1)
	for _, id := range x.moved {
		if err := x.r.hot.join(ctx, id, ""); err != nil {
			return err
		}
		x.holds = append(x.holds, id)
	}
	return nil
}

func (x *execution) leaveQueues() {
	for _, id := range x.holds {
		x.r.hot.leave(id)
	}
	x.holds = x.holds[:0]
}
