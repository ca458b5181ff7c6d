package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/migrations"
)

// openSequencer opens a sequencer on a database; it is closed when the test ends.
func openSequencer(t testing.TB, dsn string, change ...func(*SequencerConfig)) *Sequencer {
	t.Helper()
	cfg := SequencerConfig{DSN: dsn, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := OpenSequencer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close the sequencer: %v", err)
		}
	})
	return s
}

func freshID() domain.ID { return domain.ID(uuid.Must(uuid.NewV7())) }

// eventsOn makes events that follow a version of a stream.
func eventsOn(stream domain.ID, version int64, count int) []NewEvent {
	events := make([]NewEvent, count)
	for i := range events {
		events[i] = NewEvent{
			EventID: freshID(), EventType: "product.renamed", SchemaVersion: 1, AggregateType: "product",
			AggregateID: stream, AggregateVersion: version + int64(i) + 1, ActorID: "tester",
			OccurredAt:    time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC),
			CorrelationID: "c", CausationID: "d", RequestID: "r",
			Data: []byte(`{"old": "Löffel",  "new":"spoon"}`), Metadata: []byte(`{}`),
		}
	}
	return events
}

// onStream makes a request of some events on one stream.
func onStream(stream domain.ID, version int64, count int) AppendRequest {
	return AppendRequest{
		Client:  "acme",
		Streams: []StreamExpectation{{AggregateID: stream, Expected: version}},
		Events:  eventsOn(stream, version, count),
	}
}

// mustAppend appends what can't be refused.
func mustAppend(t testing.TB, s *Sequencer, req AppendRequest) AppendOutcome {
	t.Helper()
	outcome, err := s.Append(t.Context(), req)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return outcome
}

// checkDense verifies that the log holds the positions 1 to n and each stream the versions 1 to its last.
func checkDense(t testing.TB, db *pgtest.DB, n int64) {
	t.Helper()
	var got struct{ Count, Highest, Broken int64 }
	if err := db.Get(&got, `SELECT count(*), coalesce(max(position), 0) AS highest,
		(SELECT count(*) FROM (SELECT count(*), max(aggregate_version) FROM annals.events GROUP BY aggregate_id) s
		  WHERE s.count <> s.max) AS broken FROM annals.events`); err != nil {
		t.Fatal(err)
	}
	if got.Count != n || got.Highest != n || got.Broken != 0 {
		t.Fatalf("the log holds %d events up to position %d with %d broken streams; want %d dense ones",
			got.Count, got.Highest, got.Broken, n)
	}
}

// migrate brings a server's own database to the schema.
func migrate(t testing.TB, db *sqlx.DB) {
	t.Helper()
	if _, err := migrations.Up(t.Context(), db.DB); err != nil {
		t.Fatal(err)
	}
}

func describe(err error) string { return fmt.Sprintf("%T: %v", err, err) }
