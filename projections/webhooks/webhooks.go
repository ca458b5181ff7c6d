// Package webhooks is the read model of webhooks. Their secrets are elsewhere.
package webhooks

import (
	_ "embed"
	"fmt"
	"slices"
	"time"

	"annals/domain"
	"annals/domain/notifications"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "webhooks"

// Webhook is a row of the read model. Times are those at which the first and the last event occurred. The row of a
// deleted webhook stays and is never shown: the events before its deletion were for it.
type Webhook struct {
	ID              domain.ID                  `db:"id,key"`
	ClientID        string                     `db:"client_id"`
	URL             string                     `db:"url"`
	EventTypes      projections.JSON[[]string] `db:"event_types,type=json"`
	Status          notifications.Status       `db:"status"`
	DeletedPosition *int64                     `db:"deleted_position"` // nil while it is active
	Version         int64                      `db:"version"`
	CreatedPosition int64                      `db:"created_position"`
	LastPosition    int64                      `db:"last_position"`
	CreatedAt       time.Time                  `db:"created_at"`
	UpdatedAt       time.Time                  `db:"updated_at"`
}

// Wants reports whether an event is for the webhook: one of its types and of its client, after it was registered and
// before it was deleted.
func (w Webhook) Wants(client, eventType string, position int64) bool {
	return client == w.ClientID && position > w.CreatedPosition &&
		(w.DeletedPosition == nil || position < *w.DeletedPosition) && slices.Contains(w.EventTypes.Value, eventType)
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "webhooks", Version: 1, Kind: projections.KindReadModel, Lean: true, DDL: ddl,
		EventTypes: projections.EventTypesOf(notifications.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Webhook] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Webhook]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *Webhook, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(notifications.WebhookEvent)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not a webhook's event", e.EventType)
	}
	if row.Version == 0 {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
	}
	after := notifications.Webhook.Evolve(row.state(), event)
	if after.Status == notifications.StatusDeleted && row.DeletedPosition == nil {
		row.DeletedPosition = &e.Position
	}
	row.URL, row.EventTypes.Value, row.Status = after.URL, after.EventTypes, after.Status
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	return projections.Write, nil
}

// state is the aggregate's state: what an event means is written down once.
func (w *Webhook) state() notifications.WebhookState {
	return notifications.WebhookState{URL: w.URL, EventTypes: w.EventTypes.Value, Status: w.Status}
}
