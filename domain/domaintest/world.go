package domaintest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"annals/domain"
)

// World is an event store in memory for tests of use cases. It applies a unit of work at once or not at all, with
// expected versions, unique claims and clients as the real one does. Each event goes through the codec, and each state is
// watched: the test fails when a decision changes a state it shares with others. It isn't safe for concurrent use.
type World struct {
	// Now is the time the next command arrives at.
	Now time.Time
	// Client is whose streams the next command sees.
	Client string

	t        T
	registry *domain.Registry
	streams  map[streamKey]*stream
	claims   map[claimKey]domain.ID
	shared   map[*stream]bool // whose states were handed out since they were last checked
	position int64
	ids      uint64
}

type streamKey struct {
	client, aggregateType string
	id                    domain.ID
}

type claimKey struct{ client, kind, value string }

type stream struct {
	aggregate domain.AnyAggregate
	loaded    domain.Loaded
	state     []byte // the JSON of loaded.State when it was stored
	events    []domain.Event
}

// Outcome is what a command did.
type Outcome struct {
	ID      domain.ID // of the target
	Version int64     // of the target, after the command
	Created bool
	Events  []domain.Event // in the order of the log
	Extras  map[string]string
}

// NewWorld makes an empty world at a fixed moment. Given definitions, it knows these aggregates only and stores events
// as their codec writes them; without any it keeps events as they are.
func NewWorld(t T, definitions ...domain.Definition) *World {
	t.Helper()
	w := &World{
		Now:    time.Date(2026, 1, 5, 8, 30, 0, 123456000, time.UTC),
		Client: "acme", t: t,
		streams: make(map[streamKey]*stream), claims: make(map[claimKey]domain.ID),
		shared: make(map[*stream]bool),
	}
	if len(definitions) > 0 {
		registry, err := domain.NewRegistry(definitions...)
		if err != nil {
			t.Fatalf("registry: %v", err)
		}
		w.registry = registry
	}
	return w
}

// Load implements domain.Loader.
func (w *World) Load(_ context.Context, aggregate domain.AnyAggregate, id domain.ID) (domain.Loaded, error) {
	if s, ok := w.streams[streamKey{w.Client, aggregate.AggregateType(), id}]; ok {
		w.shared[s] = true
		return s.loaded, nil
	}
	return domain.Loaded{State: aggregate.InitialState()}, nil
}

// Run executes a use case and stores what it collected. A refusal changes nothing.
func (w *World) Run(useCase func(context.Context, *domain.UnitOfWork) error) (Outcome, error) {
	return w.RunMatching(nil, useCase)
}

// RunMatching is Run with a precondition on the target.
func (w *World) RunMatching(
	match *domain.Precondition, useCase func(context.Context, *domain.UnitOfWork) error,
) (Outcome, error) {
	w.t.Helper()
	u := w.Begin(match)
	if err := useCase(context.Background(), u); err != nil {
		w.checkStates()
		return Outcome{}, err
	}
	return w.Commit(u)
}

// Begin starts a unit of work on what the world holds now.
func (w *World) Begin(match *domain.Precondition) *domain.UnitOfWork {
	return domain.NewUnitOfWork(w, domain.Environment{Now: w.Now, NewID: w.newID, Client: w.Client, Match: match})
}

// newID counts, so that a failing test fails the same way again.
func (w *World) newID() domain.ID {
	w.ids++
	id := domain.MustParseID("0190a000-0000-7000-8000-000000000000")
	binary.BigEndian.PutUint32(id[12:], uint32(w.ids))
	return id
}

// Commit stores what a unit of work collected. It refuses with concurrent-modification when a stream moved since it was
// read, and with the claim's own refusal when a value is taken.
func (w *World) Commit(u *domain.UnitOfWork) (Outcome, error) {
	w.t.Helper()
	work := u.Work()
	if work.Target == nil {
		w.t.Fatalf("the use case names no target")
	}
	for _, c := range work.Changes {
		if current := w.version(u.Client, c); current != c.Loaded.Version {
			return Outcome{}, domain.Refuse(domain.CodeConcurrentChange, "%s %s is at version %d, not %d",
				c.Aggregate.AggregateType(), c.ID, current, c.Loaded.Version)
		}
	}
	if err := w.claim(u.Client, work); err != nil {
		return Outcome{}, err
	}
	w.checkStates()
	out := Outcome{ID: work.Target.ID, Created: work.Created, Extras: work.Extras}
	for _, c := range work.Changes {
		out.Events = append(out.Events, c.Events...)
		w.store(u, c)
	}
	out.Version = w.version(u.Client, work.Target)
	return out, nil
}

func (w *World) version(client string, c *domain.Change) int64 {
	if s, ok := w.streams[streamKey{client, c.Aggregate.AggregateType(), c.ID}]; ok {
		return s.loaded.Version
	}
	return 0
}

// claim judges all claims before it changes any.
func (w *World) claim(client string, work domain.Work) error {
	w.t.Helper()
	after := make(map[claimKey]domain.ID)
	for _, r := range work.Releases {
		key := claimKey{client, r.Kind, r.Value}
		if w.claims[key] != r.Owner {
			w.t.Fatalf("%s releases %s %q, which it doesn't hold", r.Owner, r.Kind, r.Value)
		}
		after[key] = domain.ID{}
	}
	for _, c := range work.Claims {
		key := claimKey{client, c.Kind, c.Value}
		owner, touched := after[key]
		if !touched {
			owner = w.claims[key]
		}
		if !owner.IsZero() && owner != c.Owner {
			return c.Taken
		}
		after[key] = c.Owner
	}
	for key, owner := range after {
		if owner.IsZero() {
			delete(w.claims, key)
		} else {
			w.claims[key] = owner
		}
	}
	return nil
}

func (w *World) store(u *domain.UnitOfWork, c *domain.Change) {
	w.t.Helper()
	if len(c.Events) == 0 {
		return
	}
	key := streamKey{u.Client, c.Aggregate.AggregateType(), c.ID}
	s, ok := w.streams[key]
	if !ok {
		s = &stream{aggregate: c.Aggregate, loaded: domain.Loaded{State: c.Aggregate.InitialState(), CreatedAt: u.Now}}
		w.streams[key] = s
	}
	for _, e := range c.Events {
		e = w.throughCodec(e)
		state, err := c.Aggregate.EvolveState(s.loaded.State, e)
		if err != nil {
			w.t.Fatalf("evolve %s: %v", e.EventType(), err)
		}
		w.position++
		s.loaded.State = state
		s.loaded.Version++
		s.loaded.Position = w.position
		s.events = append(s.events, e)
	}
	s.loaded.UpdatedAt = u.Now
	s.state = encode(w.t, s.loaded.State)
	if decided := encode(w.t, c.State); !bytes.Equal(decided, s.state) {
		w.t.Fatalf("the stored events of %s lead to another state than the decided ones:\n%s\n%s",
			key.aggregateType, decided, s.state)
	}
}

func (w *World) throughCodec(e domain.Event) domain.Event {
	w.t.Helper()
	if w.registry == nil {
		return e
	}
	encoded, err := w.registry.Encode(e)
	if err != nil {
		w.t.Fatalf("encode: %v", err)
	}
	decoded, err := w.registry.Decode(encoded.Type, encoded.SchemaVersion, encoded.Data)
	if err != nil {
		w.t.Fatalf("decode: %v", err)
	}
	return decoded
}

// checkStates fails the test when a state that was handed out isn't what it was when it was stored.
func (w *World) checkStates() {
	w.t.Helper()
	for s := range w.shared {
		w.checkState(s)
	}
	clear(w.shared)
}

func (w *World) checkState(s *stream) {
	w.t.Helper()
	if now := encode(w.t, s.loaded.State); !bytes.Equal(now, s.state) {
		w.t.Fatalf("a command changed a shared state of %s in place:\n%s\n%s", s.aggregate.AggregateType(), s.state, now)
	}
}

// Replay folds every stream anew from its events, and from its state as a snapshot keeps it, and fails the test when
// either differs from the live state.
func (w *World) Replay() {
	w.t.Helper()
	for key, s := range w.streams {
		state := s.aggregate.InitialState()
		for _, e := range s.events {
			var err error
			if state, err = s.aggregate.EvolveState(state, e); err != nil {
				w.t.Fatalf("evolve %s: %v", e.EventType(), err)
			}
		}
		if folded := encode(w.t, state); !bytes.Equal(folded, s.state) {
			w.t.Fatalf("%s folds to another state:\n%s\n%s", key.aggregateType, s.state, folded)
		}
		data, err := s.aggregate.MarshalState(s.loaded.State)
		if err != nil {
			w.t.Fatalf("snapshot of %s: %v", key.aggregateType, err)
		}
		restored, err := s.aggregate.UnmarshalState(data)
		if err != nil {
			w.t.Fatalf("snapshot of %s: %v", key.aggregateType, err)
		}
		if again := encode(w.t, restored); !bytes.Equal(again, s.state) {
			w.t.Fatalf("a snapshot of %s loses something:\n%s\n%s", key.aggregateType, s.state, again)
		}
	}
}

// Dump writes everything the world holds, for comparing before and after.
func (w *World) Dump() string {
	w.t.Helper()
	lines := make([]string, 0, len(w.streams)+len(w.claims))
	for key, s := range w.streams {
		lines = append(lines, fmt.Sprintf("%s %s %s v%d @%d %s %s", key.client, key.aggregateType, key.id,
			s.loaded.Version, s.loaded.Position, s.loaded.UpdatedAt.Format(time.RFC3339Nano), encode(w.t, s.loaded.State)))
	}
	for key, owner := range w.claims {
		lines = append(lines, fmt.Sprintf("%s claims %s %q", owner, key.client+" "+key.kind, key.value))
	}
	slices.Sort(lines)
	data, err := json.MarshalIndent(lines, "", " ")
	if err != nil {
		w.t.Fatalf("dump: %v", err)
	}
	return string(data)
}

// IDs lists the world's streams of an aggregate type for its current client, oldest first.
func (w *World) IDs(aggregateType string) []domain.ID {
	var ids []domain.ID
	for key := range w.streams {
		if key.client == w.Client && key.aggregateType == aggregateType {
			ids = append(ids, key.id)
		}
	}
	slices.SortFunc(ids, func(a, b domain.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

// Read gives the state of a stream of the world's current client; it must exist.
func Read[S, C any, E domain.Event](w *World, aggregate *domain.Aggregate[S, C, E], id domain.ID) (S, domain.Loaded) {
	w.t.Helper()
	s, ok := w.streams[streamKey{w.Client, aggregate.Type, id}]
	if !ok {
		w.t.Fatalf("there is no %s %s", aggregate.Type, id)
	}
	return s.loaded.State.(S), s.loaded
}
