package operations

import (
	"context"
	"slices"

	"annals/domain"
)

// ProjectionEvent is a fact about what operators did with a projection.
type ProjectionEvent interface {
	domain.Event
	projectionEvent()
}

// Paused: the projection was told to stop taking events.
type Paused struct {
	Name    string `json:"name"`
	Version int64  `json:"version"` // of the projection
}

// Resumed: the projection was told to go on.
type Resumed struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

// Rebuilt: the projection's tables were replaced by ones made from the log up to Position.
type Rebuilt struct {
	Name     string `json:"name"`
	Version  int64  `json:"version"`
	Position int64  `json:"position"`
}

// FailureSkipped: the projection failed at the event at Position and goes on without it.
type FailureSkipped struct {
	Name     string `json:"name"`
	Version  int64  `json:"version"`
	Position int64  `json:"position"`
	Reason   string `json:"reason"`
}

// FailureRetried: the projection was told to try the event at Position, at which it failed, again.
type FailureRetried struct {
	Name     string `json:"name"`
	Version  int64  `json:"version"`
	Position int64  `json:"position"`
}

// EventType implements domain.Event.
func (Paused) EventType() string { return "projection.paused" }

// EventType implements domain.Event.
func (Resumed) EventType() string { return "projection.resumed" }

// EventType implements domain.Event.
func (Rebuilt) EventType() string { return "projection.rebuilt" }

// EventType implements domain.Event.
func (FailureSkipped) EventType() string { return "projection.failure_skipped" }

// EventType implements domain.Event.
func (FailureRetried) EventType() string { return "projection.failure_retried" }

func (Paused) projectionEvent()         {}
func (Resumed) projectionEvent()        {}
func (Rebuilt) projectionEvent()        {}
func (FailureSkipped) projectionEvent() {}
func (FailureRetried) projectionEvent() {}

// Skip is an event that a version of the projection goes without.
type Skip struct {
	Version  int64  `json:"version"`
	Position int64  `json:"position"`
	Reason   string `json:"reason"`
}

// ProjectionState is what operators did with a projection so far.
type ProjectionState struct {
	Name   string          `json:"name"`
	Paused map[int64]bool  `json:"paused"` // by version; only those that are
	Skips  []Skip          `json:"skips"`  // in the order in which they were made
	Built  map[int64]int64 `json:"built"`  // by version: the position up to which the last rebuild went
}

// ProjectionCommand is something an operator can do with a projection.
type ProjectionCommand interface {
	decide(ProjectionState) ([]ProjectionEvent, error)
	of() (name string, version int64)
	// Validate gives what is wrong with the command's values.
	Validate() []domain.FieldError
}

// Subject names a projection and the version of it.
type Subject struct {
	Name    string
	Version int64
}

func (s Subject) of() (string, int64) { return s.Name, s.Version }

// Validate implements ProjectionCommand.
func (s Subject) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/name", s.Name, domain.MaxCode)
	v.Count("/version", s.Version, 1, domain.MaxCount)
	return v.Fields()
}

// Pause stops a projection. Like the other commands it is given for what changes the projection, which isn't the log's to
// say: a projection also stops by failing.
type Pause struct{ Subject }

// Resume lets a projection go on that was paused or had failed.
type Resume struct{ Subject }

// NoteRebuilt records that a rebuild went live.
type NoteRebuilt struct {
	Subject
	Position int64
}

// SkipFailure makes a projection go on without the event at which it failed.
type SkipFailure struct {
	Subject
	Position int64
	Reason   string
}

// RetryFailure makes a projection try the event at which it failed again.
type RetryFailure struct {
	Subject
	Position int64
}

// Validate implements ProjectionCommand: a skip needs a reason.
func (c SkipFailure) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/reason", c.Reason, domain.MaxNote)
	return append(c.Subject.Validate(), v.Fields()...)
}

func (c Pause) decide(ProjectionState) ([]ProjectionEvent, error) {
	return []ProjectionEvent{Paused(c.Subject)}, nil
}

func (c Resume) decide(ProjectionState) ([]ProjectionEvent, error) {
	return []ProjectionEvent{Resumed(c.Subject)}, nil
}

func (c NoteRebuilt) decide(ProjectionState) ([]ProjectionEvent, error) {
	return []ProjectionEvent{Rebuilt{Name: c.Name, Version: c.Version, Position: c.Position}}, nil
}

func (c SkipFailure) decide(ProjectionState) ([]ProjectionEvent, error) {
	return []ProjectionEvent{FailureSkipped{
		Name: c.Name, Version: c.Version, Position: c.Position, Reason: c.Reason,
	}}, nil
}

func (c RetryFailure) decide(ProjectionState) ([]ProjectionEvent, error) {
	return []ProjectionEvent{FailureRetried{Name: c.Name, Version: c.Version, Position: c.Position}}, nil
}

// Projection holds the rules of what operators do with a projection.
var Projection = &domain.Aggregate[ProjectionState, ProjectionCommand, ProjectionEvent]{
	Type:         "projection",
	StateVersion: 1,
	Initial: func() ProjectionState {
		return ProjectionState{Paused: map[int64]bool{}, Skips: []Skip{}, Built: map[int64]int64{}}
	},
	Decide: func(s ProjectionState, c ProjectionCommand) ([]ProjectionEvent, error) { return c.decide(s) },
	Evolve: evolveProjection,
}

func evolveProjection(s ProjectionState, event ProjectionEvent) ProjectionState {
	switch e := event.(type) {
	case Paused:
		s.Name, s.Paused = e.Name, with(s.Paused, e.Version, true)
	case Resumed:
		s.Name, s.Paused = e.Name, without(s.Paused, e.Version)
	case Rebuilt:
		s.Name, s.Built = e.Name, with(s.Built, e.Version, e.Position)
	case FailureSkipped:
		s.Name = e.Name
		earlier := slices.DeleteFunc(slices.Clone(s.Skips), func(k Skip) bool {
			return k.Version == e.Version && k.Position == e.Position // recorded, but it didn't take effect
		})
		s.Skips = append(earlier, Skip{Version: e.Version, Position: e.Position, Reason: e.Reason})
	case FailureRetried:
		s.Name = e.Name
	}
	return s
}

// with gives a copy of m with one entry set.
func with[V any](m map[int64]V, key int64, value V) map[int64]V {
	changed := make(map[int64]V, len(m)+1)
	for k, v := range m {
		changed[k] = v
	}
	changed[key] = value
	return changed
}

// without gives a copy of m with one entry removed.
func without[V any](m map[int64]V, key int64) map[int64]V {
	changed := make(map[int64]V, len(m))
	for k, v := range m {
		if k != key {
			changed[k] = v
		}
	}
	return changed
}

// Operate is the use case: it does something with a projection and records it. Its stream begins with the first thing
// done.
func Operate(ctx context.Context, u *domain.UnitOfWork, c ProjectionCommand) error {
	if err := domain.Validate(c); err != nil {
		return err
	}
	name, _ := c.of()
	projection, err := domain.Open(ctx, u, Projection, ProjectionID(name))
	if err != nil {
		return err
	}
	if err := u.Target(projection); err != nil {
		return err
	}
	_, err = projection.Execute(c)
	return err
}
