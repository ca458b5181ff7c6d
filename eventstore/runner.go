package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"annals/domain"
)

// appender is what the runner needs of the sequencer.
type appender interface {
	Append(ctx context.Context, request AppendRequest) (AppendOutcome, error)
}

// defaultCommandTimeout bounds a command whose context has no deadline.
const defaultCommandTimeout = 10 * time.Second

// Appended tells an OnAppended hook what a command wrote.
type Appended struct {
	Client string
	Head   int64 // of the log after the append
	Events []RecordedEvent
}

// RunnerConfig is what a CommandRunner works with. All but Vault, Clock, NewID and OnAppended are required.
type RunnerConfig struct {
	Log        *sqlx.DB // for idempotency keys
	States     *States
	Registry   *domain.Registry
	Appender   appender
	Vault      *Vault           // seals personal text; nil: events that carry some are refused
	Clock      func() time.Time // default time.Now
	NewID      func() domain.ID // default UUID version 7
	OnAppended func(Appended)   // called after each command that wrote events; must not block
}

// CommandRunner implements Runner over the states and the sequencer.
type CommandRunner struct {
	RunnerConfig
	keys queuesOfKeys       // commands in flight by idempotency key
	hot  *queues[domain.ID] // streams that commands had conflicts on
	n    struct {           // counters
		commands, appended, unchanged, refused, replayed, conflicts, outdated, queued atomic.Int64
	}
}

type queuesOfKeys = *queues[flightKey]

type flightKey struct{ client, scope, key string }

var _ Runner = (*CommandRunner)(nil)

// NewCommandRunner makes a runner.
func NewCommandRunner(config RunnerConfig) *CommandRunner {
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.NewID == nil {
		config.NewID = newUUID
	}
	return &CommandRunner{RunnerConfig: config, keys: newQueues[flightKey](), hot: newQueues[domain.ID]()}
}

// newUUID makes a UUID of version 7.
func newUUID() domain.ID { return domain.ID(uuid.Must(uuid.NewV7())) }

// RunnerStats counts since the start.
type RunnerStats struct {
	Commands  int64 // calls of Run
	Appended  int64 // that wrote
	Unchanged int64 // that changed nothing
	Refused   int64 // by the domain, with a code; failures aren't counted
	Replayed  int64 // that were answered from an idempotency key
	Conflicts int64 // appends that found streams moved, each followed by another decision
	Outdated  int64 // refusals and no-ops judged on outdated states, each followed by another decision
	Queued    int64 // waits for a hot stream
}

// Stats gives the counters.
func (r *CommandRunner) Stats() RunnerStats {
	return RunnerStats{
		Commands: r.n.commands.Load(), Appended: r.n.appended.Load(), Unchanged: r.n.unchanged.Load(),
		Refused: r.n.refused.Load(), Replayed: r.n.replayed.Load(), Conflicts: r.n.conflicts.Load(),
		Outdated: r.n.outdated.Load(), Queued: r.n.queued.Load(),
	}
}

// Run implements Runner. A context without a deadline gets one of 10 s. At the deadline a command that lost every race is
// refused with concurrent-modification.
func (r *CommandRunner) Run(
	ctx context.Context, cmd Command, useCase func(ctx context.Context, u *domain.UnitOfWork) error,
) (CommandResult, error) {
	if cmd.Client == "" || cmd.Client == AllClients {
		return CommandResult{}, fmt.Errorf("%w: %q can't command", ErrInvalidAppend, cmd.Client)
	}
	r.n.commands.Add(1)
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultCommandTimeout)
		defer cancel()
	}
	ctx, end := startSpan(ctx, "command")
	cmd.Metadata = traced(ctx, cmd.Name, cmd.Metadata)
	x := newExecution(r, cmd, useCase)
	defer x.leaveQueues()
	result, err := x.run(ctx)
	end(err)
	switch {
	case err == nil && result.Replayed:
		r.n.replayed.Add(1)
	case err == nil && len(result.Events) > 0:
		r.n.appended.Add(1)
	case err == nil:
		r.n.unchanged.Add(1)
	case domain.CodeOf(err) != "":
		r.n.refused.Add(1)
	}
	return result, err
}

// run executes a command, and one with an idempotency key when it is the only one with it on this node.
//
// A known key always answers, before anything that the command is judged by: the append looks it up itself, before it
// looks at streams and claims, and a refusal is answered only after a look-up. To look it up here as well, as CommandKey.First
// asks, would change no answer, and costs more than the append, which is shared by all callers.
func (x *execution) run(ctx context.Context) (CommandResult, error) {
	key := x.cmd.Key
	if key == nil {
		return x.execute(ctx)
	}
	flight := flightKey{x.cmd.Client, key.Scope, key.Key}
	err := x.r.keys.join(ctx, flight, string(key.Fingerprint))
	switch {
	case errors.Is(err, errOtherTag):
		return CommandResult{}, errKeyReused()
	case errors.Is(err, context.DeadlineExceeded):
		return CommandResult{}, domain.Refuse(domain.CodeConcurrentChange,
			"the first request with this idempotency key is still at work")
	case err != nil:
		return CommandResult{}, err
	}
	defer x.r.keys.leave(flight)
	if key.First {
		if first, found, err := lookupKey(ctx, x.r.Log, x.cmd.Client, key); found || err != nil {
			return first, err
		}
	}
	return x.execute(ctx)
}
