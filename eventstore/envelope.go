// Package eventstore is the append-only log in PostgreSQL and everything needed to write and read it: the sequencer that
// merges concurrent appends into one commit, unique claims, idempotency, streams, snapshots and the command runner.
package eventstore

import (
	"encoding/json"
	"time"

	"annals/domain"
)

// Envelope is a recorded event with all that the log knows of it. Its JSON form is the one of the API.
type Envelope struct {
	Position         int64           `json:"position"`
	EventID          domain.ID       `json:"event_id"`
	EventType        string          `json:"event_type"`
	SchemaVersion    int             `json:"schema_version"`
	AggregateType    string          `json:"aggregate_type"`
	AggregateID      domain.ID       `json:"aggregate_id"`
	AggregateVersion int64           `json:"aggregate_version"`
	ClientID         string          `json:"client_id"`
	ActorID          string          `json:"actor_id"`
	OccurredAt       time.Time       `json:"occurred_at"` // when the command arrived, microseconds, UTC
	RecordedAt       time.Time       `json:"recorded_at"` // when the log took it, by the database's clock
	CorrelationID    string          `json:"correlation_id"`
	CausationID      string          `json:"causation_id"`
	RequestID        string          `json:"request_id"`
	Data             json.RawMessage `json:"data"`
	Metadata         json.RawMessage `json:"-"`
}

// AllClients is the client name under which auditors read every client's events. No event carries it.
const AllClients = "*"

// SystemClient is the reserved client that holds the system's own events.
const SystemClient = "annals"
