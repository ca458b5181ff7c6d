package domain_test

import "annals/domain"

// The lamp is the smallest aggregate that has everything: two events, one of them in its third version.

type lampEvent interface {
	domain.Event
	lampEvent()
}

type lampMade struct {
	Label string  `json:"label"`
	Watts int64   `json:"watts"`
	Note  *string `json:"note"`
}

type lampSwitched struct {
	On bool `json:"on"`
}

func (lampMade) EventType() string     { return "lamp.made" }
func (lampSwitched) EventType() string { return "lamp.switched" }
func (lampMade) lampEvent()            {}
func (lampSwitched) lampEvent()        {}

type lampState struct {
	Label    string `json:"label"`
	On       bool   `json:"on"`
	Switches int    `json:"switches"`
}

type lampCommand interface {
	decide(lampState) ([]lampEvent, error)
}

type makeLamp struct{ label string }

func (c makeLamp) decide(lampState) ([]lampEvent, error) {
	return []lampEvent{lampMade{Label: c.label}}, nil
}

// turn switches the lamp; blink first switches it the other way, which takes two events.
type turn struct{ on, blink bool }

func (c turn) decide(s lampState) ([]lampEvent, error) {
	switch {
	case s.Label == "broken":
		return nil, domain.Refuse(domain.CodeInvalidTransition, "the lamp is broken")
	case c.blink:
		return []lampEvent{lampSwitched{On: !c.on}, lampSwitched{On: c.on}}, nil
	case s.On == c.on:
		return nil, nil
	}
	return []lampEvent{lampSwitched{On: c.on}}, nil
}

var lamp = &domain.Aggregate[lampState, lampCommand, lampEvent]{
	Type: "lamp", StateVersion: 1,
	Initial: func() lampState { return lampState{} },
	Decide:  func(s lampState, c lampCommand) ([]lampEvent, error) { return c.decide(s) },
	Evolve: func(s lampState, event lampEvent) lampState {
		switch e := event.(type) {
		case lampMade:
			s.Label = e.Label
		case lampSwitched:
			s.On = e.On
			s.Switches++
		}
		return s
	},
}

// strayEvent belongs to no aggregate's interface.
type strayEvent struct{}

func (strayEvent) EventType() string { return "lamp.stray" }

func lampDefinition() domain.Definition {
	return domain.Definition{Aggregate: lamp, Events: []domain.EventDefinition{
		domain.DefineEvent[lampMade](domain.AddMember("watts", "60"), domain.AddMember("note", "null")),
		domain.DefineEvent[lampSwitched](),
	}}
}

func ptr[T any](v T) *T { return &v }
