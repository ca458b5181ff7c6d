// Package projectionstest tests projectors: whatever the page bounds, however often an event is delivered, live or by a
// rebuild, the rows are the same byte for byte.
package projectionstest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Fact is an event that a stream states, as a test writes it down.
type Fact struct {
	Client string // empty: "acme"
	Stream domain.ID
	Event  domain.Event
	At     time.Time // zero: a second after the fact before
}

// epoch is when the first fact occurred.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 123456000, time.UTC)

// StreamID gives a stream's identifier by its number.
func StreamID(n int) domain.ID { return domain.NameID(domain.ID{}, fmt.Sprintf("stream %d", n)) }

// Record makes recorded events of facts, in order from position after+1 on. Each stream begins with version 1.
func Record(t testing.TB, registry *domain.Registry, after int64, facts ...Fact) []projections.Event {
	t.Helper()
	versions := make(map[domain.ID]int64)
	events := make([]projections.Event, len(facts))
	at := epoch
	for i, f := range facts {
		encoded, err := registry.Encode(f.Event)
		if err != nil {
			t.Fatal(err)
		}
		position := after + int64(i) + 1
		if at = at.Add(time.Second); !f.At.IsZero() {
			at = f.At
		}
		versions[f.Stream]++
		client := f.Client
		if client == "" {
			client = "acme"
		}
		aggregate, _, _ := strings.Cut(encoded.Type, ".")
		events[i] = projections.Event{Payload: f.Event, Envelope: eventstore.Envelope{
			Position: position, EventID: domain.NameID(domain.ID{}, fmt.Sprintf("event %d", position)),
			EventType: encoded.Type, SchemaVersion: encoded.SchemaVersion, AggregateType: aggregate, AggregateID: f.Stream,
			AggregateVersion: versions[f.Stream], ClientID: client, ActorID: "tester", OccurredAt: at,
			RecordedAt: at.Add(time.Millisecond), CorrelationID: fmt.Sprintf("request-%d", position),
			CausationID: fmt.Sprintf("command-%d", position), RequestID: fmt.Sprintf("request-%d", position),
			Data: encoded.Data, Metadata: []byte("{}"),
		}}
	}
	return events
}

// Insert writes recorded events into the log as they are, past the event store. db connects as the log's owner.
func Insert(t testing.TB, db *sqlx.DB, events ...projections.Event) {
	t.Helper()
	ctx := context.Background()
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := record(ctx, tx, events); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func record(ctx context.Context, tx projections.Executor, events []projections.Event) error {
	for _, e := range events {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
				schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
				data, metadata, data_salt, metadata_salt)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', '')`,
			e.Position, e.EventID.String(), e.AggregateID.String(), e.AggregateVersion, e.OccurredAt, e.RecordedAt,
			e.SchemaVersion, e.EventType, e.AggregateType, e.ClientID, e.ActorID, e.CorrelationID, e.CausationID,
			e.RequestID, string(e.Data), string(e.Metadata))
		if err != nil {
			return fmt.Errorf("insert position %d: %w", e.Position, err)
		}
	}
	return nil
}
