package domain

import (
	"encoding/json"
	"fmt"
)

// Event is a fact an aggregate states. Each aggregate narrows it to a sealed interface of its own, so that the event of
// another aggregate doesn't compile where this one's is meant.
type Event interface {
	// EventType is the wire name, <aggregate_type>.<past_participle>, stable for ever.
	EventType() string
}

// Aggregate is a decider: the rules of one kind of stream.
//
// Decide and Evolve share states between callers, so neither may change the state it is given: a slice or map is cloned
// before it is written to. Time arrives in the command.
type Aggregate[S, C any, E Event] struct {
	// Type is the aggregate's wire name, such as "product".
	Type string
	// StateVersion is raised whenever Evolve or the shape of S changes: stored snapshots of another version are ignored.
	StateVersion int
	// Initial gives the state before the first event.
	Initial func() S
	// Decide gives the events a command leads to, none when it changes nothing, or a refusal.
	Decide func(S, C) ([]E, error)
	// Evolve gives the state after an event. It is total: a recorded event is a fact and never fails.
	Evolve func(S, E) S
}

// Fold gives the state after events, starting from a state.
func (a *Aggregate[S, C, E]) Fold(state S, events ...E) S {
	for _, e := range events {
		state = a.Evolve(state, e)
	}
	return state
}

// AnyAggregate is an Aggregate without its type parameters, as the event store sees it: states are opaque.
type AnyAggregate interface {
	// AggregateType is the wire name.
	AggregateType() string
	// SnapshotVersion is the StateVersion.
	SnapshotVersion() int
	// InitialState is the state before the first event.
	InitialState() any
	// EvolveState applies one decoded event. It fails only when the event belongs to another aggregate.
	EvolveState(state any, event Event) (any, error)
	// MarshalState writes a state for a snapshot.
	MarshalState(state any) ([]byte, error)
	// UnmarshalState reads a state written by MarshalState. What it can't read is a snapshot to be ignored, not a lost state.
	UnmarshalState(data []byte) (any, error)
}

// AggregateType implements AnyAggregate.
func (a *Aggregate[S, C, E]) AggregateType() string { return a.Type }

// SnapshotVersion implements AnyAggregate.
func (a *Aggregate[S, C, E]) SnapshotVersion() int { return a.StateVersion }

// InitialState implements AnyAggregate.
func (a *Aggregate[S, C, E]) InitialState() any { return a.Initial() }

// EvolveState implements AnyAggregate.
func (a *Aggregate[S, C, E]) EvolveState(state any, event Event) (any, error) {
	s, ok := state.(S)
	if !ok {
		return nil, fmt.Errorf("a state of type %T is not one of aggregate %s", state, a.Type)
	}
	e, ok := event.(E)
	if !ok {
		return nil, fmt.Errorf("event %s doesn't belong to aggregate %s", event.EventType(), a.Type)
	}
	return a.Evolve(s, e), nil
}

// MarshalState implements AnyAggregate: states are plain data and travel as JSON.
func (a *Aggregate[S, C, E]) MarshalState(state any) ([]byte, error) { return json.Marshal(state) }

// UnmarshalState implements AnyAggregate.
func (a *Aggregate[S, C, E]) UnmarshalState(data []byte) (any, error) {
	var s S
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("decode state of %s: %w", a.Type, err)
	}
	return s, nil
}
