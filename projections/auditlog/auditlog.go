// Package auditlog is the audit log: a read model with one row per event. It is synchronous: the answer to a command waits
// for it.
package auditlog

import (
	_ "embed"
	"encoding/json"
	"time"

	"annals/domain"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

// Entry is one row of the audit log, with the members of the API.
type Entry struct {
	Position      int64           `db:"position,key" json:"position"`
	EventID       domain.ID       `db:"event_id" json:"event_id"`
	EventType     string          `db:"event_type" json:"event_type"`
	AggregateType string          `db:"aggregate_type" json:"aggregate_type"`
	AggregateID   domain.ID       `db:"aggregate_id" json:"aggregate_id"`
	ClientID      string          `db:"client_id" json:"client_id"`
	ActorID       string          `db:"actor_id" json:"actor_id"`
	OccurredAt    time.Time       `db:"occurred_at" json:"occurred_at"`
	RecordedAt    time.Time       `db:"recorded_at" json:"recorded_at"`
	CorrelationID string          `db:"correlation_id" json:"correlation_id"`
	CausationID   string          `db:"causation_id" json:"causation_id"`
	RequestID     string          `db:"request_id" json:"request_id"`
	EventData     json.RawMessage `db:"event_data" json:"event_data"` // the bytes that were recorded
}

// Spec identifies the read model. It takes events as they were recorded, so that one which no program can decode is in
// the audit log all the same.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "audit_log", Version: 1, Kind: projections.KindReadModel, Synchronous: true, Raw: true, DDL: ddl,
	}
}

// New makes the audit log's projector.
func New() *projections.Journal[Entry] {
	return projections.MustJournal(projections.JournalConfig[Entry]{
		Spec: Spec(), Table: "entries", Row: entryOf, Repeats: map[string]string{"event_data": "data"},
	})
}

func entryOf(e projections.Event) (Entry, bool, error) {
	return Entry{
		Position: e.Position, EventID: e.EventID, EventType: e.EventType, AggregateType: e.AggregateType,
		AggregateID: e.AggregateID, ClientID: e.ClientID, ActorID: e.ActorID, OccurredAt: e.OccurredAt,
		RecordedAt: e.RecordedAt, CorrelationID: e.CorrelationID, CausationID: e.CausationID, RequestID: e.RequestID,
		EventData: e.Data,
	}, true, nil
}
