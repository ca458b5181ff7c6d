package replay

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"

	"annals/domain"
	"annals/projections"
)

// Bounds of a chunk, the unit that is decoded and applied at once. A chunk ends at whichever comes first; a single event
// has at most 256 KiB.
const (
	chunkEvents = 2_000
	chunkBytes  = 1 << 20
)

// chunk is a page with what couldn't be decoded in it: that matters only if the event isn't skipped.
type chunk struct {
	projections.Page
	bytes       int             // of data and metadata
	undecodable map[int64]error // by position; nil when there is none
}

// log reads and decodes the events one projection wants.
type log struct {
	registry *domain.Registry
	types    []string // nil: all
	raw      bool     // payloads aren't wanted
}

const eventColumns = `SELECT position, event_id, event_type, schema_version, aggregate_type, aggregate_id,
	aggregate_version, client_id, actor_id, occurred_at, recorded_at, correlation_id, causation_id, request_id,
	data, metadata FROM annals.events WHERE position > $1 AND position <= $2`

func (l log) query() string {
	if l.types == nil {
		return eventColumns + ` ORDER BY position`
	}
	return eventColumns + ` AND event_type = ANY($3) ORDER BY position`
}

func (l log) args(from, to int64) []any {
	if l.types == nil {
		return []any{from, to}
	}
	return []any{from, to, pq.Array(l.types)}
}

// first reads the first chunk of a range, in q's transaction. The rest of the range begins at the chunk's To.
func (l log) first(ctx context.Context, q projections.Executor, from, to int64) (chunk, error) {
	rows, err := q.QueryContext(ctx, l.query(), l.args(from, to)...)
	if err != nil {
		return chunk{}, fmt.Errorf("read events after %d: %w", from, err)
	}
	defer rows.Close()
	var found *chunk
	err = l.drain(rows, from, to, newNames(), func(c chunk) (more bool) {
		found = &c
		return false
	})
	if err != nil {
		return chunk{}, err
	}
	return *found, nil
}

// drain cuts rows into chunks that together cover the whole range. It ends early when give wants no more.
func (l log) drain(rows *sql.Rows, from, to int64, shared names, give func(chunk) bool) error {
	c := newChunk(from, 0)
	row := newEventRow(shared)
	for rows.Next() {
		if len(c.Events) >= chunkEvents || c.bytes >= chunkBytes {
			c.To = c.Events[len(c.Events)-1].Position
			if !give(c) {
				return nil
			}
			c = newChunk(c.To, len(c.Events))
		}
		if err := row.read(rows, l, &c); err != nil {
			return fmt.Errorf("read events after %d: %w", from, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read events after %d: %w", from, err)
	}
	c.To = to
	give(c)
	return nil
}

func newChunk(from int64, events int) chunk {
	return chunk{Page: projections.Page{From: from, Events: make([]projections.Event, 0, events)}}
}

// names holds texts that many events share, so that each is in memory once.
type names map[string]string

func newNames() names { return make(names) }

const maxNames = 10_000

func (t names) of(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	if len(t) >= maxNames {
		clear(t)
	}
	s := string(b)
	t[s] = s
	return s
}

// eventRow scans rows of events without copying a column before it is known what becomes of it.
type eventRow struct {
	names                                     names
	eventID, aggregateID                      sql.RawBytes
	eventType, aggregateType, client, actor   sql.RawBytes
	correlation, causation, request           sql.RawBytes
	data, metadata                            sql.RawBytes
	position, aggregateVersion, schemaVersion int64
	occurred, recorded                        time.Time
	into                                      []any
}

func newEventRow(shared names) *eventRow {
	r := &eventRow{names: shared}
	r.into = []any{&r.position, &r.eventID, &r.eventType, &r.schemaVersion, &r.aggregateType, &r.aggregateID,
		&r.aggregateVersion, &r.client, &r.actor, &r.occurred, &r.recorded, &r.correlation, &r.causation, &r.request,
		&r.data, &r.metadata}
	return r
}

func (r *eventRow) read(rows *sql.Rows, l log, c *chunk) error {
	if err := rows.Scan(r.into...); err != nil {
		return err
	}
	c.Events = append(c.Events, projections.Event{})
	e := &c.Events[len(c.Events)-1]
	var err error
	if e.EventID, err = parseID(r.eventID); err != nil {
		return err
	}
	if e.AggregateID, err = parseID(r.aggregateID); err != nil {
		return err
	}
	e.Position, e.AggregateVersion, e.SchemaVersion = r.position, r.aggregateVersion, int(r.schemaVersion)
	e.EventType, e.AggregateType = r.names.of(r.eventType), r.names.of(r.aggregateType)
	e.ClientID, e.ActorID = r.names.of(r.client), r.names.of(r.actor)
	e.OccurredAt, e.RecordedAt = r.occurred.UTC(), r.recorded.UTC()
	e.CorrelationID, e.CausationID, e.RequestID = string(r.correlation), string(r.causation), string(r.request)
	raw := make([]byte, len(r.data)+len(r.metadata))
	n := copy(raw, r.data)
	copy(raw[n:], r.metadata)
	e.Data, e.Metadata = raw[:n:n], raw[n:]
	c.bytes += len(raw)
	if l.raw {
		return nil
	}
	if e.Payload, err = l.registry.Decode(e.EventType, e.SchemaVersion, e.Data); err != nil {
		if c.undecodable == nil {
			c.undecodable = make(map[int64]error)
		}
		c.undecodable[e.Position] = err
	}
	return nil
}

// parseID reads a uuid as text or as 16 bytes, whichever the protocol brings.
func parseID(b []byte) (domain.ID, error) {
	if len(b) == len(domain.ID{}) {
		return domain.ID(b), nil
	}
	return domain.ParseID(string(b))
}
