package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"annals/domain"
)

var (
	// errBaseGone: the log has no such event at the position where a cached state ends.
	errBaseGone = errors.New("the log doesn't hold what the state was made from")
	// errSnapshotUnreadable: a snapshot with today's fingerprint that doesn't decode.
	errSnapshotUnreadable = errors.New("unreadable snapshot")
)

// The statements start with the event a state was made up to, so that its position proves that state and log belong
// together, and client and type come from the log and never from the snapshot.
const (
	streamColumns = `e.position, e.aggregate_version, e.event_type, e.schema_version, e.occurred_at, e.client_id,
		e.aggregate_type, e.data`

	readAfterSQL = `SELECT ` + streamColumns + `, NULL::json, NULL::timestamptz FROM annals.events e
		WHERE e.aggregate_id = $1 AND e.aggregate_version >= $2 ORDER BY e.aggregate_version`

	readFromSnapshotSQL = `WITH snapshot AS MATERIALIZED (
			SELECT s.version, s.created_at, s.state FROM annals.snapshots s
			JOIN annals.events b ON b.aggregate_id = s.aggregate_id AND b.aggregate_version = s.version
				AND b.position = s.position
			WHERE s.aggregate_id = $1 AND s.fingerprint = $2 AND s.version <= $3
		)
		SELECT ` + streamColumns + `,
			CASE WHEN e.aggregate_version = (SELECT version FROM snapshot) THEN (SELECT state FROM snapshot) END,
			CASE WHEN e.aggregate_version = (SELECT version FROM snapshot) THEN (SELECT created_at FROM snapshot) END
		FROM annals.events e
		WHERE e.aggregate_id = $1 AND e.aggregate_version >= coalesce((SELECT version FROM snapshot), 0)
			AND e.aggregate_version <= $3
		ORDER BY e.aggregate_version`
)

// latest is a version that no stream reaches.
const latest = math.MaxInt64

// read folds a stream up to a version, or to its end when that comes first, from its snapshot or from its first event.
// nil: there is no event with this id.
func (s *States) read(
	ctx context.Context, aggregate domain.AnyAggregate, id domain.ID, upTo int64,
) (*cachedStream, error) {
	fingerprint := s.registry.SnapshotFingerprint(aggregate.AggregateType())
	found, err := s.fold(ctx, id, nil, s.readFromSnapshot, id[:], fingerprint, upTo)
	if errors.Is(err, errSnapshotUnreadable) {
		if _, again := s.warned.LoadOrStore(aggregate.AggregateType(), true); !again {
			s.logger.WarnContext(ctx, "a snapshot can't be read and is ignored; more of this type aren't reported",
				"aggregate_type", aggregate.AggregateType(), "aggregate_id", id.String(), "error", err)
		}
		const none = "" // no snapshot has this fingerprint
		found, err = s.fold(ctx, id, nil, s.readFromSnapshot, id[:], none, upTo)
	}
	return found, err
}

// readAfter folds what came after a state. It gives base itself when nothing did, and errBaseGone when the log doesn't
// hold what the state was made from.
func (s *States) readAfter(ctx context.Context, base *cachedStream) (*cachedStream, error) {
	found, err := s.fold(ctx, base.id, base, s.readTail, base.id[:], base.Version)
	if err == nil && found == nil {
		return nil, errBaseGone
	}
	return found, err
}

// fold runs one of the statements and applies its rows as they come; nil: there were none.
func (s *States) fold(
	ctx context.Context, id domain.ID, base *cachedStream, query *statement, args ...any,
) (_ *cachedStream, err error) {
	rows, err := query.query(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	f := folding{registry: s.registry, id: id, base: base}
	for rows.Next() {
		if err := f.next(rows); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(err)
	}
	if f.stream == nil || f.stream == base {
		return f.stream, nil
	}
	f.stream.size += f.bytes
	s.measure(f.stream)
	return f.stream, nil
}

// folding applies the rows of a stream in the order of versions.
type folding struct {
	registry  *domain.Registry
	id        domain.ID
	base      *cachedStream // what the first row must belong to; nil: the stream starts with it
	aggregate domain.AnyAggregate
	stream    *cachedStream
	bytes     int
	row       streamRow
}

type streamRow struct {
	position, version     int64
	eventType             string
	schemaVersion         int
	occurredAt            time.Time
	client, aggregateType string
	data, state           sql.RawBytes
	createdAt             sql.NullTime
}

func (f *folding) next(rows *sql.Rows) error {
	r := &f.row
	err := rows.Scan(&r.position, &r.version, &r.eventType, &r.schemaVersion, (*scanTime)(&r.occurredAt),
		&r.client, &r.aggregateType, &r.data, &r.state, &r.createdAt)
	if err != nil {
		return fmt.Errorf("scan an event: %w", err)
	}
	if f.stream == nil {
		return f.first()
	}
	return f.apply()
}

// first handles the first row: the event that the base or the snapshot ends with, or the stream's own first event.
func (f *folding) first() error {
	r := &f.row
	if f.base != nil {
		if r.version != f.base.Version || r.position != f.base.Position {
			return errBaseGone
		}
		f.stream = f.base
		return nil
	}
	var ok bool
	if f.aggregate, ok = f.registry.Aggregate(r.aggregateType); !ok {
		return fmt.Errorf("stream %s is of type %s, which this program doesn't know", f.id, r.aggregateType)
	}
	f.stream = &cachedStream{id: f.id, client: r.client, aggregateType: r.aggregateType}
	if r.state == nil {
		f.stream.State, f.stream.CreatedAt = f.aggregate.InitialState(), r.occurredAt
		return f.apply()
	}
	state, err := f.aggregate.UnmarshalState(r.state)
	if err != nil {
		return fmt.Errorf("%w: %w", errSnapshotUnreadable, err)
	}
	f.stream.snapshot = r.version
	f.stream.Loaded = domain.Loaded{
		State: state, Version: r.version, Position: r.position,
		CreatedAt: r.createdAt.Time.UTC(), UpdatedAt: r.occurredAt,
	}
	return nil
}

// apply evolves the state by the row's event.
func (f *folding) apply() error {
	r := &f.row
	if r.version != f.stream.Version+1 {
		return fmt.Errorf("stream %s: version %d follows version %d", f.id, r.version, f.stream.Version)
	}
	if f.stream == f.base { // others hold the base: go on with a copy
		changed := *f.base
		f.stream = &changed
	}
	if f.aggregate == nil {
		var ok bool
		if f.aggregate, ok = f.registry.Aggregate(f.stream.aggregateType); !ok {
			return fmt.Errorf("stream %s is of type %s, which this program doesn't know", f.id, f.stream.aggregateType)
		}
	}
	event, err := f.registry.Decode(r.eventType, r.schemaVersion, r.data)
	if err != nil {
		return fmt.Errorf("event at position %d: %w", r.position, err)
	}
	if f.stream.State, err = f.aggregate.EvolveState(f.stream.State, event); err != nil {
		return fmt.Errorf("event at position %d: %w", r.position, err)
	}
	f.stream.Version, f.stream.Position, f.stream.UpdatedAt = r.version, r.position, r.occurredAt
	f.bytes += len(r.data)
	return nil
}
