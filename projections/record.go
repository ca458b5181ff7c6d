package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"annals/domain"
)

// An event leaves the database as one value, a record in PostgreSQL's binary format: the number of fields, then for each
// its type, its length and its bytes. Through database/sql each column would cost two or three allocations, and times
// would be parsed from text: for a page that is most of the work.

// eventColumns are the fields in their order. A lean subscriber gets the first of them.
var eventColumns = [...]string{
	"position", "aggregate_version", "aggregate_id", "schema_version", "occurred_at", "event_type", "aggregate_type",
	"client_id", "data",
	"event_id", "recorded_at", "actor_id", "correlation_id", "causation_id", "request_id", "metadata",
	"leaf_version", "data_salt", "metadata_salt",
}

// How many columns subscribers get: a lean one, one that isn't the sealer.
const (
	leanColumns = 9
	fullColumns = 16
)

func columnCount(spec Spec) int {
	switch {
	case spec.Lean:
		return leanColumns
	case spec.Kind == KindSealer:
		return len(eventColumns)
	default:
		return fullColumns
	}
}

// RecordOf is the SQL of what a subscriber is given of an event of annals.events, called e: a value for ReadRecord.
func RecordOf(spec Spec) string {
	return `record_send(ROW(e.` + strings.Join(eventColumns[:columnCount(spec)], ", e.") + `))`
}

var errRecord = errors.New("the record isn't an event's")

// postgresEpoch is 2000-01-01 in microseconds of Unix time: times count from there.
const postgresEpoch = 946_684_800_000_000

// Names holds texts that many events share, so that each is in memory once.
type Names map[string]string

const maxNames = 10_000

func (n Names) of(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	if len(n) >= maxNames {
		clear(n)
	}
	s := string(b)
	n[s] = s
	return s
}

// ReadRecord fills e, which is empty, from a value of RecordOf. Data, Metadata and the salts share the value's memory. It
// fails, with e half filled, on bytes that aren't such a value.
func ReadRecord(raw []byte, e *Event, shared Names) error {
	columns := 0
	if len(raw) >= 4 {
		columns = int(binary.BigEndian.Uint32(raw))
	}
	if columns != leanColumns && columns != fullColumns && columns != len(eventColumns) {
		return errRecord
	}
	r := record{rest: raw[4:]}
	e.Position, e.AggregateVersion, e.AggregateID = r.int64(), r.int64(), r.id()
	e.SchemaVersion = int(int32(r.fixed(4)))
	e.OccurredAt = r.time()
	e.EventType, e.AggregateType, e.ClientID = shared.of(r.field()), shared.of(r.field()), shared.of(r.field())
	e.Data = r.field()
	if columns >= fullColumns {
		e.EventID, e.RecordedAt, e.ActorID = r.id(), r.time(), shared.of(r.field())
		e.CorrelationID, e.CausationID, e.RequestID = oneString(r.field(), r.field(), r.field())
		e.Metadata = r.field()
	}
	if columns == len(eventColumns) {
		e.Seal.LeafVersion = int(int16(r.fixed(2)))
		e.Seal.DataSalt, e.Seal.MetadataSalt = r.field(), r.field()
	}
	if r.bad || len(r.rest) != 0 {
		return fmt.Errorf("position %d: %w", e.Position, errRecord)
	}
	return nil
}

// oneString copies three texts into one piece of memory.
func oneString(a, b, c []byte) (string, string, string) {
	var space [192]byte
	all := append(append(append(space[:0], a...), b...), c...)
	s := string(all)
	return s[:len(a)], s[len(a) : len(a)+len(b)], s[len(a)+len(b):]
}

// record reads fields from the front of rest.
type record struct {
	rest []byte
	bad  bool
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
	field := r.rest[:size:size]
	r.rest = r.rest[size:]
	return field
}

// fixed reads an integer of so many bytes, 8 at most.
func (r *record) fixed(size int) (n uint64) {
	field := r.field()
	if len(field) != size {
		r.bad = true
		return 0
	}
	for _, b := range field {
		n = n<<8 | uint64(b)
	}
	return n
}

func (r *record) int64() int64 { return int64(r.fixed(8)) }

func (r *record) id() (id domain.ID) {
	if field := r.field(); len(field) == len(id) {
		return domain.ID(field)
	}
	r.bad = true
	return id
}

func (r *record) time() time.Time { return time.UnixMicro(r.int64() + postgresEpoch).UTC() }

// recordPosition gives an event's position: the first field.
func recordPosition(raw []byte) (int64, error) {
	if len(raw) < 4 {
		return 0, errRecord
	}
	r := record{rest: raw[4:]}
	position := r.int64()
	if r.bad {
		return 0, errRecord
	}
	return position, nil
}

// readBounds reads a record of two positions.
func readBounds(raw []byte) (low, high int64, err error) {
	if len(raw) < 4 {
		return 0, 0, errRecord
	}
	r := record{rest: raw[4:]}
	low, high = r.int64(), r.int64()
	if r.bad || len(r.rest) != 0 {
		return 0, 0, errRecord
	}
	return low, high, nil
}

// appendRecord writes the record of an event that the database wasn't asked for, with the columns a subscriber gets. The
// fields' types are left out: nobody reads them.
func appendRecord(buf []byte, e *Event, columns int) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(columns))
	buf = appendInt64(appendInt64(buf, e.Position), e.AggregateVersion)
	buf = appendField(buf, e.AggregateID[:])
	buf = binary.BigEndian.AppendUint32(appendLength(buf, 4), uint32(e.SchemaVersion))
	buf = appendInt64(buf, e.OccurredAt.UnixMicro()-postgresEpoch)
	buf = appendField(appendField(appendField(buf, e.EventType), e.AggregateType), e.ClientID)
	buf = appendField(buf, e.Data)
	if columns >= fullColumns {
		buf = appendInt64(appendField(buf, e.EventID[:]), e.RecordedAt.UnixMicro()-postgresEpoch)
		buf = appendField(appendField(appendField(appendField(buf, e.ActorID), e.CorrelationID), e.CausationID), e.RequestID)
		buf = appendField(buf, e.Metadata)
	}
	if columns == len(eventColumns) {
		buf = binary.BigEndian.AppendUint16(appendLength(buf, 2), uint16(e.Seal.LeafVersion))
		buf = appendField(appendField(buf, e.Seal.DataSalt), e.Seal.MetadataSalt)
	}
	return buf
}

func appendLength(buf []byte, size int) []byte {
	return binary.BigEndian.AppendUint64(buf, uint64(size)) // no type, and the length
}

func appendInt64(buf []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(appendLength(buf, 8), uint64(n))
}

func appendField[T ~string | ~[]byte](buf []byte, value T) []byte {
	return append(appendLength(buf, len(value)), value...)
}
