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
	Position         int64           `json:"position"`          // in the log: 1, 2, 3, … in the order of commits
	EventID          domain.ID       `json:"event_id"`          // UUID version 7
	EventType        string          `json:"event_type"`        // such as "cart.created"
	SchemaVersion    int             `json:"schema_version"`    // of Data; upcasters lead to today's
	AggregateType    string          `json:"aggregate_type"`    // such as "cart"
	AggregateID      domain.ID       `json:"aggregate_id"`      // the stream, unique over all types and clients
	AggregateVersion int64           `json:"aggregate_version"` // in the stream: 1, 2, 3, …
	ClientID         string          `json:"client_id"`         // the tenant
	ActorID          string          `json:"actor_id"`          // who did it
	OccurredAt       time.Time       `json:"occurred_at"`       // when the command arrived, microseconds, UTC
	RecordedAt       time.Time       `json:"recorded_at"`       // when the log took it, by the database's clock
	CorrelationID    string          `json:"correlation_id"`    // of the root request
	CausationID      string          `json:"causation_id"`      // the event that led to it, else the command's own id
	RequestID        string          `json:"request_id"`        // of the command
	Data             json.RawMessage `json:"data"`              // the bytes as recorded, personal text sealed unless opened
	Metadata         json.RawMessage `json:"-"`                 // a JSON object, such as {"trace_id": …}
}

// AllClients is the client name under which auditors read every client's events. No event carries it.
const AllClients = "*"

// SystemClient is the reserved client that holds the system's own events.
const SystemClient = "annals"
