// Package privacy records what is done about the persons that events are about: erasures and legal holds. It never says
// who they are: a subject is named by a digest that can't be guessed without a key outside the log.
package privacy

import (
	"context"
	"slices"

	"annals/domain"
)

// namespace is where the ids of subjects' streams are derived.
var namespace = domain.MustParseID("4b0f3a52-6c8e-5d1a-8f43-0f6be91c2d77")

// SubjectID is the id of a subject's stream.
func SubjectID(client, kind, digest string) domain.ID {
	return domain.NameID(namespace, client+"/"+kind+"/"+digest)
}

// Event is a fact about a subject.
type Event interface {
	domain.Event
	subjectEvent()
}

// Erased: these keys were destroyed. What they sealed can't be read by anybody any more. It is the receipt of an erasure.
type Erased struct {
	Kind   string      `json:"kind"`
	Digest string      `json:"digest"` // hexadecimal
	KeyIDs []domain.ID `json:"key_ids"`
	Reason string      `json:"reason"`
}

// HoldPlaced: the subject may not be erased.
type HoldPlaced struct {
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
	Reason string `json:"reason"`
}

// HoldReleased: the subject may be erased again.
type HoldReleased struct {
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
	Reason string `json:"reason"`
}

// EventType implements domain.Event.
func (Erased) EventType() string { return "subject.erased" }

// EventType implements domain.Event.
func (HoldPlaced) EventType() string { return "subject.hold_placed" }

// EventType implements domain.Event.
func (HoldReleased) EventType() string { return "subject.hold_released" }

func (Erased) subjectEvent()       {}
func (HoldPlaced) subjectEvent()   {}
func (HoldReleased) subjectEvent() {}

// State is what is on record about a subject.
type State struct {
	Held   bool        `json:"held"`
	Erased []domain.ID `json:"erased"` // keys with a receipt
}

// Command is something that is recorded about a subject. The facts are made true before (erasures, holds) or after
// (releases) the event: see the commands.
type Command interface {
	decide(State) []Event
	subject() (kind, digest string)
	reason() string
}

// RecordErasure records that keys were destroyed: they were, before. Keys that have a receipt don't get another.
type RecordErasure Erased

// PlaceHold records a hold that is in force already. A further one changes nothing.
type PlaceHold HoldPlaced

// ReleaseHold records that a hold ends: afterwards it does.
type ReleaseHold HoldReleased

func (c RecordErasure) decide(s State) []Event {
	c.KeyIDs = slices.DeleteFunc(slices.Clone(c.KeyIDs), func(id domain.ID) bool { return slices.Contains(s.Erased, id) })
	if len(c.KeyIDs) == 0 {
		return nil
	}
	return []Event{Erased(c)}
}

func (c PlaceHold) decide(s State) []Event {
	if s.Held {
		return nil
	}
	return []Event{HoldPlaced(c)}
}

func (c ReleaseHold) decide(s State) []Event {
	if !s.Held {
		return nil
	}
	return []Event{HoldReleased(c)}
}

func (c RecordErasure) subject() (kind, digest string) { return c.Kind, c.Digest }
func (c PlaceHold) subject() (kind, digest string)     { return c.Kind, c.Digest }
func (c ReleaseHold) subject() (kind, digest string)   { return c.Kind, c.Digest }
func (c RecordErasure) reason() string                 { return c.Reason }
func (c PlaceHold) reason() string                     { return c.Reason }
func (c ReleaseHold) reason() string                   { return c.Reason }

// Subject holds the rules of a subject's record.
var Subject = &domain.Aggregate[State, Command, Event]{
	Type:         "subject",
	StateVersion: 1,
	Initial:      func() State { return State{Erased: []domain.ID{}} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s), nil },
	Evolve: func(s State, event Event) State {
		switch e := event.(type) {
		case Erased:
			s.Erased = append(slices.Clone(s.Erased), e.KeyIDs...)
		case HoldPlaced:
			s.Held = true
		case HoldReleased:
			s.Held = false
		}
		return s
	},
}

// Definitions registers every aggregate and event of the context.
func Definitions() []domain.Definition {
	return []domain.Definition{{Aggregate: Subject, Events: []domain.EventDefinition{
		domain.DefineEvent[Erased](),
		domain.DefineEvent[HoldPlaced](),
		domain.DefineEvent[HoldReleased](),
	}}}
}

// CheckReason judges the reason of an erasure or a hold.
func CheckReason(reason string) []domain.FieldError {
	var v domain.Validator
	v.Text("/reason", reason, domain.MaxNote)
	return v.Fields()
}

// Record is the use case: it records what is done about a subject of the client.
func Record(ctx context.Context, u *domain.UnitOfWork, c Command) error {
	if fields := CheckReason(c.reason()); len(fields) > 0 {
		return domain.InvalidFields(fields)
	}
	kind, digest := c.subject()
	s, err := domain.Open(ctx, u, Subject, SubjectID(u.Client, kind, digest))
	if err != nil {
		return err
	}
	if err := u.Target(s); err != nil {
		return err
	}
	_, err = s.Execute(c)
	return err
}
