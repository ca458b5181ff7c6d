package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"annals/domain"
	"annals/projections"
)

// eventRecord is an event as one value in PostgreSQL's binary format, the fields in the order of record.event. Through
// database/sql each column costs two or three allocations and times are parsed from text: for a replay that is the most
// of the work.
const eventRecord = `SELECT record_send(ROW(position, aggregate_version, schema_version, event_id, aggregate_id,
	occurred_at, recorded_at, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
	data, metadata)) FROM annals.events WHERE position > $1 AND position <= $2`

const recordFields = 16

var errRecord = errors.New("the record isn't an event's")

// postgresEpoch is 2000-01-01 in microseconds of Unix time: times count from there.
const postgresEpoch = 946_684_800_000_000

// names holds texts that many events share, so that each is in memory once.
type names map[string]string

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

// record reads the fields of an eventRecord in order: a count, then for each field its type, its length and its bytes.
type record struct {
	rest []byte
	bad  bool
}

// event fills e, which shares no memory with the record.
func (r *record) event(e *projections.Event, shared names) error {
	if len(r.rest) < 4 || binary.BigEndian.Uint32(r.rest) != recordFields {
		return errRecord
	}
	r.rest = r.rest[4:]
	e.Position, e.AggregateVersion, e.SchemaVersion = r.int(8), r.int(8), int(r.int(4))
	e.EventID, e.AggregateID = r.id(), r.id()
	e.OccurredAt, e.RecordedAt = r.time(), r.time()
	e.EventType, e.AggregateType = shared.of(r.field()), shared.of(r.field())
	e.ClientID, e.ActorID = shared.of(r.field()), shared.of(r.field())
	correlation, causation, request := r.field(), r.field(), r.field()
	e.CorrelationID, e.CausationID, e.RequestID = oneString(correlation, causation, request)
	data, metadata := r.field(), r.field()
	if r.bad || len(r.rest) != 0 {
		return fmt.Errorf("position %d: %w", e.Position, errRecord)
	}
	raw := make([]byte, len(data)+len(metadata))
	n := copy(raw, data)
	copy(raw[n:], metadata)
	e.Data, e.Metadata = raw[:n:n], raw[n:]
	return nil
}

// oneString copies three texts into one piece of memory.
func oneString(a, b, c []byte) (string, string, string) {
	var space [192]byte
	all := append(append(append(space[:0], a...), b...), c...)
	s := string(all)
	return s[:len(a)], s[len(a) : len(a)+len(b)], s[len(a)+len(b):]
}

func (r *record) field() []byte {
	if len(r.rest) < 8 {
		r.bad = true
		return nil
	}
	size := binary.BigEndian.Uint32(r.rest[4:])
	r.rest = r.rest[8:]
	if uint64(size) > uint64(len(r.rest)) { // null, too: -1
		r.bad = true
		return nil
	}
	field := r.rest[:size]
	r.rest = r.rest[size:]
	return field
}

func (r *record) int(size int) int64 {
	field := r.field()
	switch {
	case len(field) != size:
		r.bad = true
		return 0
	case size == 8:
		return int64(binary.BigEndian.Uint64(field))
	default:
		return int64(int32(binary.BigEndian.Uint32(field)))
	}
}

func (r *record) id() (id domain.ID) {
	if field := r.field(); len(field) == len(id) {
		return domain.ID(field)
	}
	r.bad = true
	return id
}

func (r *record) time() time.Time {
	return time.UnixMicro(r.int(8) + postgresEpoch).UTC()
}
