// Package domaintest tests aggregates and use cases without a database: given / when / then for one aggregate, an
// in-memory world for use cases over several, and golden files that keep old events readable.
package domaintest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
)

// T is what the helpers need of a test. *testing.T, *testing.B and *rapid.T have it.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Scenario is an aggregate with a past.
type Scenario[S, C any, E domain.Event] struct {
	t         T
	aggregate *domain.Aggregate[S, C, E]
	state     S
}

// Given starts from the state that the events, which are the aggregate's own, lead to. (They aren't of type E because Go
// would then want the type parameters spelled out at each call.)
func Given[S, C any, E domain.Event](t T, aggregate *domain.Aggregate[S, C, E], events ...domain.Event) *Scenario[S, C, E] {
	t.Helper()
	s := &Scenario[S, C, E]{t: t, aggregate: aggregate, state: aggregate.Initial()}
	for _, event := range events {
		e, ok := event.(E)
		if !ok {
			t.Fatalf("event %s doesn't belong to aggregate %s", event.EventType(), aggregate.Type)
		}
		s.evolve(e)
	}
	return s
}

// When decides a command. It fails the test when deciding changes the state it was given, or when deciding again gives
// another answer.
func (s *Scenario[S, C, E]) When(command C) *Decision[S, C, E] {
	s.t.Helper()
	before := encode(s.t, s.state)
	events, err := s.aggregate.Decide(s.state, command)
	again, errAgain := s.aggregate.Decide(s.state, command)
	if diff := cmp.Diff(events, again); diff != "" || (err == nil) != (errAgain == nil) {
		s.t.Errorf("deciding twice gives two answers (%v, %v):\n%s", err, errAgain, diff)
	}
	if after := encode(s.t, s.state); !bytes.Equal(before, after) {
		s.t.Errorf("Decide changed the state it was given:\n%s\n%s", before, after)
	}
	if err != nil && len(events) > 0 {
		s.t.Errorf("a refusal came with events: %v", events)
	}
	return &Decision[S, C, E]{scenario: s, events: events, err: err}
}

func (s *Scenario[S, C, E]) evolve(events ...E) {
	s.t.Helper()
	for _, e := range events {
		old, before := s.state, encode(s.t, s.state)
		s.state = s.aggregate.Evolve(s.state, e)
		if after := encode(s.t, old); !bytes.Equal(before, after) {
			s.t.Errorf("Evolve by %s changed the state it was given:\n%s\n%s", e.EventType(), before, after)
		}
	}
}

// Decision is the answer to a command.
type Decision[S, C any, E domain.Event] struct {
	scenario *Scenario[S, C, E]
	events   []E
	err      error
}

// Then wants exactly these events, and gives the scenario after them.
func (d *Decision[S, C, E]) Then(events ...E) *Scenario[S, C, E] {
	s := d.scenario
	s.t.Helper()
	if d.err != nil {
		s.t.Fatalf("refused: %v", d.err)
	}
	if diff := cmp.Diff(events, slices.Clip(d.events)); diff != "" && len(events)+len(d.events) > 0 {
		s.t.Fatalf("other events (-want +got):\n%s", diff)
	}
	s.evolve(d.events...)
	return s
}

// ThenNothing wants a command that changes nothing and isn't refused.
func (d *Decision[S, C, E]) ThenNothing() *Scenario[S, C, E] {
	d.scenario.t.Helper()
	return d.Then()
}

// ThenRefused wants a refusal with the code and, for a validation refusal, with exactly these pointers.
func (d *Decision[S, C, E]) ThenRefused(code domain.Code, pointers ...string) {
	d.scenario.t.Helper()
	Refused(d.scenario.t, d.err, code, pointers...)
}

// ThenBroken wants an error that isn't a refusal: the caller broke the aggregate's contract.
func (d *Decision[S, C, E]) ThenBroken() {
	d.scenario.t.Helper()
	if d.err == nil || domain.CodeOf(d.err) != "" {
		d.scenario.t.Fatalf("got %v, want an error that isn't a refusal", d.err)
	}
}

// State gives the scenario's state.
func (s *Scenario[S, C, E]) State() S { return s.state }

// Refused wants err to be a refusal with the code and, for a validation refusal, with exactly these pointers.
func Refused(t T, err error, code domain.Code, pointers ...string) {
	t.Helper()
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Fatalf("got error %v, want a refusal with %s", err, code)
	}
	if refusal.Detail == "" {
		t.Errorf("the refusal with %s has no detail", code)
	}
	var got []string
	for _, f := range refusal.Fields {
		got = append(got, f.Pointer)
	}
	if diff := cmp.Diff(pointers, got); diff != "" && len(pointers)+len(got) > 0 {
		t.Fatalf("other pointers (-want +got):\n%s", diff)
	}
}

func encode(t T, state any) []byte {
	t.Helper()
	data, err := json.Marshal(state)
	if err != nil {
		t.Fatalf("a state must be plain data: %v", err)
	}
	return data
}
