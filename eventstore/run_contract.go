package eventstore

import (
	"context"
	"time"

	"annals/domain"
)

// Command says who asks for what, for the events' envelopes and for idempotency.
type Command struct {
	Name          string               // what kind of command it is, for metrics and traces: a few fixed names, never a caller's text
	Client        string               // whose data it is about; never AllClients
	Actor         string               // who asks
	RequestID     string               // the command's own id; empty: one is made
	CorrelationID string               // the root request's id; empty: RequestID
	CausationID   string               // the event that caused a policy's command; empty: the command's own id
	Metadata      map[string]string    // further members of the events' metadata, such as trace_id
	Match         *domain.Precondition // the version that the target must have; nil: any
	Key           *CommandKey          // nil: not idempotent
}

// CommandKey makes a command take effect once. Its members are those of Idempotency.
type CommandKey struct {
	Scope       string
	Key         string
	Fingerprint []byte // another one under the same key is refused with idempotency-key-reused
	// First: the key is looked up before the use case runs, because that has effects beyond the log.
	First bool
}

// RecordedEvent is an event a command led to.
type RecordedEvent struct {
	EventID       domain.ID `json:"event_id"`
	EventType     string    `json:"event_type"`
	AggregateType string    `json:"aggregate_type"`
	AggregateID   domain.ID `json:"aggregate_id"`
	Version       int64     `json:"version"`
	Position      int64     `json:"position"`
}

// CommandResult is what a command did; a replayed one is what the first command with its key did.
type CommandResult struct {
	AggregateType string            // of the target
	ID            domain.ID         // of the target
	Version       int64             // of the target after the command
	Position      int64             // of the command's last event, or of the target's last event when it changed nothing
	Created       bool              // the target is new
	Events        []RecordedEvent   // empty: nothing changed
	Extras        map[string]string // further members of the answer
	Replayed      bool              // an earlier command with the key did it; nothing was appended
	// Target is the target after the command, for a representation without another read: StateReader.Open shows its
	// personal text. Nil when Replayed.
	Target *domain.Loaded
}

// Runner executes commands: it loads, decides, appends, and decides again after a conflict until ctx ends.
type Runner interface {
	// Run executes one use case. Refusals are *domain.Error; failures are the errors of append.go. A refusal is final:
	// it was judged on versions that the log confirmed.
	Run(ctx context.Context, cmd Command, useCase func(ctx context.Context, u *domain.UnitOfWork) error) (CommandResult, error)
}

// StateAt is an aggregate's state as it was.
type StateAt struct {
	AggregateType string
	ID            domain.ID
	ClientID      string
	domain.Loaded
}

// StateReader gives states of streams, today's or earlier ones, with personal text as it may be shown. Client may be
// AllClients. What the client doesn't have is a not-found refusal; while the database can't be reached, they fail with
// ErrUnavailable.
type StateReader interface {
	// Current gives the latest state, confirmed by the log.
	Current(ctx context.Context, client, aggregateType string, id domain.ID) (StateAt, error)
	// AtVersion gives the state after the event with that version.
	AtVersion(ctx context.Context, client, aggregateType string, id domain.ID, version int64) (StateAt, error)
	// AtTime gives the state after the last event that occurred at or before the time.
	AtTime(ctx context.Context, client, aggregateType string, id domain.ID, at time.Time) (StateAt, error)
	// Open gives a state that a command left, whose personal text is sealed, as it may be shown.
	Open(ctx context.Context, at StateAt) (StateAt, error)
}

// EventFilter selects events. Zero members select everything.
type EventFilter struct {
	Client        string   // AllClients: every client
	EventTypes    []string // any of them
	AggregateType string
	AggregateID   *domain.ID // one stream, which is found by its index
	ActorID       string
	From, To      time.Time // occurred_at, From inclusive, To exclusive
}
