// Package notifications records who is to be told of which events: webhooks. A webhook belongs to a client. Its secret is
// no part of its events: the log keeps everything for ever, and shows it to auditors.
package notifications

import (
	"slices"

	"annals/domain"
)

// WebhookEvent is a fact about a webhook.
type WebhookEvent interface {
	domain.Event
	webhookEvent()
}

// Registered: events of these types are sent to the URL, from the next event of the log on.
type Registered struct {
	URL        string   `json:"url"`
	EventTypes []string `json:"event_types"`
}

// Deleted: nothing more is sent.
type Deleted struct{}

// RedeliveryRequested: an event that couldn't be delivered is to be tried again.
type RedeliveryRequested struct {
	EventID domain.ID `json:"event_id"`
}

// EventType implements domain.Event.
func (Registered) EventType() string { return "webhook.registered" }

// EventType implements domain.Event.
func (Deleted) EventType() string { return "webhook.deleted" }

// EventType implements domain.Event.
func (RedeliveryRequested) EventType() string { return "webhook.redelivery_requested" }

func (Registered) webhookEvent()          {}
func (Deleted) webhookEvent()             {}
func (RedeliveryRequested) webhookEvent() {}

// Status says whether a webhook is sent events.
type Status string

// The states of a webhook. Deleted is final.
const (
	StatusActive  Status = "active"
	StatusDeleted Status = "deleted"
)

// WebhookState is what a webhook is.
type WebhookState struct {
	URL        string   `json:"url"`
	EventTypes []string `json:"event_types"`
	Status     Status   `json:"status"` // empty before the first event
}

// WebhookCommand is something that can be done with a webhook.
type WebhookCommand interface{ decide() WebhookEvent }

type register Registered

type remove struct{}

type redeliver RedeliveryRequested

func (c register) decide() WebhookEvent  { return Registered(c) }
func (remove) decide() WebhookEvent      { return Deleted{} }
func (c redeliver) decide() WebhookEvent { return RedeliveryRequested(c) }

// Webhook holds the rules of a webhook. That a deleted one takes no command is a matter of the use cases: to them it doesn't
// exist.
var Webhook = &domain.Aggregate[WebhookState, WebhookCommand, WebhookEvent]{
	Type:         "webhook",
	StateVersion: 1,
	Initial:      func() WebhookState { return WebhookState{EventTypes: []string{}} },
	Decide: func(_ WebhookState, c WebhookCommand) ([]WebhookEvent, error) {
		return []WebhookEvent{c.decide()}, nil
	},
	Evolve: func(s WebhookState, event WebhookEvent) WebhookState {
		switch e := event.(type) {
		case Registered:
			s = WebhookState{URL: e.URL, EventTypes: slices.Clone(e.EventTypes), Status: StatusActive}
		case Deleted:
			s.Status = StatusDeleted
		}
		return s
	},
}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{Aggregate: Webhook, Events: []domain.EventDefinition{
		domain.DefineEvent[Registered](),
		domain.DefineEvent[Deleted](),
		domain.DefineEvent[RedeliveryRequested](),
	}}
}

// Definitions registers every aggregate and event of the context.
func Definitions() []domain.Definition { return []domain.Definition{Definition()} }
