package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// useCase is what a command does.
type useCase func(ctx context.Context, u *domain.UnitOfWork) error

// issuer issues the commands of one policy, each because of an event.
type issuer struct {
	policy   string
	commands eventstore.Runner
	logger   *slog.Logger
}

func newIssuer(policy string, commands eventstore.Runner, logger *slog.Logger) issuer {
	if logger == nil {
		logger = slog.Default()
	}
	return issuer{policy: policy, commands: commands, logger: logger.With("policy", policy)}
}

// errChanges keeps a command that is only tried from being written.
var errChanges = errors.New("the command changes something")

// once executes a use case under a key, so that it takes effect once however often it is asked for. That it changes
// nothing is kept under the key too, and stays so. A refusal is final: it is logged, and the policy goes on.
func (i issuer) once(ctx context.Context, cause projections.Event, key string, use useCase) error {
	_, err := i.commands.Run(ctx, i.command(cause, key, true), use)
	return i.settle(cause, err)
}

// onceIfChanging is once for a use case that mostly changes nothing: it is tried first, and only what changes something
// is executed under its key. That it changes nothing is kept nowhere, but confirmed by the log.
func (i issuer) onceIfChanging(ctx context.Context, cause projections.Event, key string, use useCase) error {
	_, err := i.commands.Run(ctx, i.command(cause, key, false), func(ctx context.Context, u *domain.UnitOfWork) error {
		if err := use(ctx, u); err != nil {
			return err
		}
		for _, change := range u.Work().Changes {
			if len(change.Events) > 0 {
				return errChanges
			}
		}
		return nil
	})
	if errors.Is(err, errChanges) {
		return i.once(ctx, cause, key, use)
	}
	return i.settle(cause, err)
}

func (i issuer) command(cause projections.Event, key string, keyed bool) eventstore.Command {
	scope := "policy:" + i.policy
	cmd := eventstore.Command{
		Name:   scope,
		Client: cause.ClientID, Actor: scope, RequestID: scope + ":" + key,
		CorrelationID: cause.CorrelationID, CausationID: cause.EventID.String(),
	}
	if keyed {
		cmd.Key = &eventstore.CommandKey{Scope: scope, Key: key, Fingerprint: []byte(i.policy)}
	}
	return cmd
}

// settle says what becomes of a command's error. A refusal says that the aggregate has gone on, which another attempt
// doesn't change; one for lack of time is tried again, as failures are.
func (i issuer) settle(cause projections.Event, err error) error {
	switch code := domain.CodeOf(err); code {
	case "":
	case domain.CodeConcurrentChange:
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case domain.CodeIdempotencyKeyReused: // a fault of the program
	default:
		i.logger.Warn("a policy's command was refused", "position", cause.Position, "event_type", cause.EventType,
			"client", cause.ClientID, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s at position %d: %w", i.policy, cause.Position, err)
	}
	return nil
}
