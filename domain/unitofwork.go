package domain

import (
	"context"
	"fmt"
	"time"
)

// Loaded is a stream as it was read: its state and what the log knows of it. Version 0 means that it doesn't exist.
type Loaded struct {
	State     any       // of the aggregate's own type; shared with others, so that nobody changes it
	Version   int64     // of the last event; versions count 1, 2, 3, …
	Position  int64     // of the last event in the log
	CreatedAt time.Time // occurred_at of the first event
	UpdatedAt time.Time // occurred_at of the last event
}

// Loader gives streams to a unit of work. The event store implements it; every stream is read for the client that the
// loader was made for, and a stream of another client doesn't exist.
type Loader interface {
	// Load gives a stream as it is. One that doesn't exist has version 0 and the initial state; that is no error.
	Load(ctx context.Context, aggregate AnyAggregate, id ID) (Loaded, error)
}

// Claim makes a value unique within a client and kind: only one stream holds it at a time.
type Claim struct {
	Kind  string // such as "product.sku"
	Value string // compared byte by byte
	Owner ID     // the stream that holds it
	Taken *Error // the refusal when another stream holds the value
}

// Change is what a unit of work did with one stream.
type Change struct {
	Aggregate AnyAggregate
	ID        ID
	Loaded    Loaded  // as it was read: the append expects Loaded.Version
	State     any     // after the events
	Events    []Event // empty for a stream that was only read
}

// Precondition is what the caller knows of the resource it commands (If-Match).
type Precondition struct {
	Any      bool    // any version, as long as the resource exists
	Versions []int64 // one of these; empty with Any false means that nothing can match
}

func (p *Precondition) holds(version int64) bool {
	if p.Any {
		return version > 0
	}
	for _, v := range p.Versions {
		if v == version {
			return true
		}
	}
	return false
}

// Environment is what a decision may know of the world around it.
type Environment struct {
	Now    time.Time     // when the command arrived, UTC, microseconds
	NewID  func() ID     // a new, time-ordered identifier
	Client string        // the tenant
	Match  *Precondition // nil: none
}

// UnitOfWork collects what one command does: the streams it read, the events it states on each, and the unique claims it
// takes and releases. All of it is appended at once or not at all. It serves one attempt: a retry after a conflict starts
// with a new one and decides again from fresh state.
type UnitOfWork struct {
	Environment
	loader   Loader
	changes  []*Change
	claims   []Claim
	releases []Claim
	target   *Change
	created  bool
	extras   map[string]string
}

// NewUnitOfWork starts an empty unit of work.
func NewUnitOfWork(loader Loader, env Environment) *UnitOfWork {
	return &UnitOfWork{Environment: env, loader: loader}
}

// Stream is one aggregate within a unit of work.
type Stream[S, C any, E Event] struct {
	aggregate *Aggregate[S, C, E]
	change    *Change
}

// Open reads a stream into the unit of work. A stream that is opened twice is read once and shows the events collected
// so far. It needn't exist: see Exists. It fails only when the loader does.
func Open[S, C any, E Event](
	ctx context.Context, u *UnitOfWork, aggregate *Aggregate[S, C, E], id ID,
) (*Stream[S, C, E], error) {
	for _, c := range u.changes {
		if c.ID == id && c.Aggregate.AggregateType() == aggregate.Type {
			return &Stream[S, C, E]{aggregate: aggregate, change: c}, nil
		}
	}
	loaded, err := u.loader.Load(ctx, aggregate, id)
	if err != nil {
		return nil, fmt.Errorf("load %s %s: %w", aggregate.Type, id, err)
	}
	if _, ok := loaded.State.(S); !ok {
		return nil, fmt.Errorf("load %s %s: the state is a %T", aggregate.Type, id, loaded.State)
	}
	change := &Change{Aggregate: aggregate, ID: id, Loaded: loaded, State: loaded.State}
	u.changes = append(u.changes, change)
	return &Stream[S, C, E]{aggregate: aggregate, change: change}, nil
}

// OpenExisting is Open for a stream that must exist, else it refuses with not-found.
func OpenExisting[S, C any, E Event](
	ctx context.Context, u *UnitOfWork, aggregate *Aggregate[S, C, E], id ID,
) (*Stream[S, C, E], error) {
	s, err := Open(ctx, u, aggregate, id)
	if err != nil {
		return nil, err
	}
	if !s.Exists() {
		return nil, NotFound(aggregate.Type, id)
	}
	return s, nil
}

// OpenNew starts a stream with a new identifier, without reading anything.
func OpenNew[S, C any, E Event](u *UnitOfWork, aggregate *Aggregate[S, C, E]) *Stream[S, C, E] {
	initial := aggregate.Initial()
	change := &Change{Aggregate: aggregate, ID: u.NewID(), Loaded: Loaded{State: initial}, State: initial}
	u.changes = append(u.changes, change)
	return &Stream[S, C, E]{aggregate: aggregate, change: change}
}

// ID is the stream's identifier.
func (s *Stream[S, C, E]) ID() ID { return s.change.ID }

// State is the state after the events collected so far.
func (s *Stream[S, C, E]) State() S { return s.change.State.(S) }

// Loaded is the stream as it was read, before the events of this unit of work.
func (s *Stream[S, C, E]) Loaded() Loaded { return s.change.Loaded }

// Version is the version after the events collected so far.
func (s *Stream[S, C, E]) Version() int64 {
	return s.change.Loaded.Version + int64(len(s.change.Events))
}

// Exists reports whether the stream has an event, recorded or collected.
func (s *Stream[S, C, E]) Exists() bool { return s.Version() > 0 }

// Execute decides a command on the current state and collects its events. It reports whether there were any. Its error is
// the aggregate's refusal, an *Error; any other says that a use case asked what it must not. Neither collects anything.
func (s *Stream[S, C, E]) Execute(command C) (changed bool, err error) {
	events, err := s.aggregate.Decide(s.State(), command)
	if err != nil {
		return false, err
	}
	for _, e := range events {
		s.change.State = s.aggregate.Evolve(s.State(), e)
		s.change.Events = append(s.change.Events, e)
	}
	return len(events) > 0, nil
}

func (s *Stream[S, C, E]) changeOf() *Change { return s.change }

type anyStream interface{ changeOf() *Change }

// Target names the existing resource that the command is about and checks the caller's precondition on it: it refuses with
// version-mismatch. It is called once every stream of the command is known to exist, and before any rule is judged.
func (u *UnitOfWork) Target(s anyStream) error {
	u.target = s.changeOf()
	if u.Match != nil && !u.Match.holds(u.target.Loaded.Version) {
		return Refuse(CodeVersionMismatch, "the %s is at version %d, which is not the version the request expects",
			u.target.Aggregate.AggregateType(), u.target.Loaded.Version)
	}
	return nil
}

// Create names the resource that the command creates.
func (u *UnitOfWork) Create(s anyStream) { u.target, u.created = s.changeOf(), true }

// Claim takes a unique value for a stream; taken is the refusal when another stream holds it. Claims are judged in the
// order in which they were taken.
func (u *UnitOfWork) Claim(kind, value string, owner ID, taken *Error) {
	u.claims = append(u.claims, Claim{Kind: kind, Value: value, Owner: owner, Taken: taken})
}

// Release gives up a unique value that the stream holds. Releases come before claims.
func (u *UnitOfWork) Release(kind, value string, owner ID) {
	u.releases = append(u.releases, Claim{Kind: kind, Value: value, Owner: owner})
}

// Attach adds a member to the command's answer (such as the order_id of a submitted cart). It is kept with the
// idempotency key.
func (u *UnitOfWork) Attach(name, value string) {
	if u.extras == nil {
		u.extras = make(map[string]string)
	}
	u.extras[name] = value
}

// Work is what a unit of work collected, for the event store to append.
type Work struct {
	Changes  []*Change // in the order in which the streams were opened
	Claims   []Claim
	Releases []Claim
	Target   *Change // nil when the use case named none
	Created  bool    // the target is new
	Extras   map[string]string
}

// Work gives what was collected.
func (u *UnitOfWork) Work() Work {
	return Work{
		Changes: u.changes, Claims: u.claims, Releases: u.releases,
		Target: u.target, Created: u.created, Extras: u.extras,
	}
}
