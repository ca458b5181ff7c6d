package eventstore

import (
	"crypto/rand"
	"encoding/binary"

	"annals/domain"
)

// Type OIDs of PostgreSQL's built-in types, which never change.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt4        = 23
	oidText        = 25
	oidJSON        = 114
	oidTimestamptz = 1184
	oidUUID        = 2950
)

// Where the numbers that depend on the batch sit in an encoded composite, counted from the length that array elements
// start with: length, number of columns, then per column its type, its length and its value.
const (
	requestAt    = 16
	ordinalAt    = 28 // of an event
	firstEventAt = 28 // of a key
)

const saltBytes = 16

// parts are the encoded pieces of a request or of a batch: elements of the arrays that append_v2 takes.
type parts struct {
	streams, events, keys, releases, claims wireArray

	salts []byte // of the events, as they are in events: each event's of its data, and of its metadata
}

// wireArray is a sequence of array elements in PostgreSQL's binary format.
type wireArray struct {
	b []byte
	n int
}

func (p *parts) reset() {
	for _, a := range [...]*wireArray{&p.streams, &p.events, &p.keys, &p.releases, &p.claims} {
		a.b, a.n = a.b[:0], 0
	}
	p.salts = p.salts[:0]
}

func (p *parts) size() int {
	return len(p.streams.b) + len(p.events.b) + len(p.keys.b) + len(p.releases.b) + len(p.claims.b)
}

// encode writes a request. It is done by the caller's goroutine, once: a repeated append carries the same salts.
func (p *parts) encode(r *AppendRequest, salts *saltSource) {
	for i := range r.Streams {
		s := &r.Streams[i]
		a := p.streams.begin(4)
		p.streams.int4(0)
		p.streams.uuid(s.AggregateID)
		p.streams.text(r.Client)
		p.streams.int8(s.Expected)
		p.streams.end(a)
	}
	for i := range r.Events {
		p.encodeEvent(r.Client, &r.Events[i], salts)
	}
	if k := r.Idempotency; k != nil {
		a := p.keys.begin(7)
		p.keys.int4(0)
		p.keys.int4(0)
		p.keys.text(r.Client)
		p.keys.text(k.Scope)
		p.keys.text(k.Key)
		p.keys.bytes(oidBytea, k.Fingerprint)
		p.keys.bytes(oidJSON, k.Result)
		p.keys.end(a)
	}
	for i := range r.Releases {
		p.releases.claim(r.Client, i, &r.Releases[i], false)
	}
	for i := range r.Claims {
		p.claims.claim(r.Client, i, &r.Claims[i], clashes(r.Claims[:i], &r.Claims[i]))
	}
}

func (p *parts) encodeEvent(client string, e *NewEvent, salts *saltSource) {
	w := &p.events
	a := w.begin(18)
	w.int4(0)
	w.int4(0)
	w.uuid(e.EventID)
	w.uuid(e.AggregateID)
	w.int8(e.AggregateVersion)
	w.head(oidTimestamptz, 8)
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(e.OccurredAt.UnixMicro()-postgresEpoch))
	w.int4(e.SchemaVersion)
	w.text(e.EventType)
	w.text(e.AggregateType)
	w.text(client)
	w.text(e.ActorID)
	w.text(e.CorrelationID)
	w.text(e.CausationID)
	w.text(e.RequestID)
	w.bytes(oidJSON, e.Data)
	w.bytes(oidJSON, e.Metadata)
	for range 2 {
		salt := salts.take()
		p.salts = append(p.salts, salt...)
		w.bytes(oidBytea, salt)
	}
	w.end(a)
}

// postgresEpoch is 2000-01-01 in microseconds since 1970.
const postgresEpoch = 946_684_800_000_000

func clashes(earlier []ClaimChange, c *ClaimChange) bool {
	for i := range earlier {
		if e := &earlier[i]; e.Value == c.Value && e.Kind == c.Kind && e.Owner != c.Owner {
			return true
		}
	}
	return false
}

// add joins a request to a batch as its request number n.
func (p *parts) add(q *parts, n int) {
	base := p.events.n
	p.streams.add(&q.streams, n)
	at := len(p.events.b)
	p.events.add(&q.events, n)
	for ordinal := base + 1; at < len(p.events.b); ordinal++ {
		binary.BigEndian.PutUint32(p.events.b[at+ordinalAt:], uint32(ordinal))
		at = p.events.next(at)
	}
	p.releases.add(&q.releases, n)
	p.claims.add(&q.claims, n)
	if q.keys.n > 0 {
		at := len(p.keys.b)
		p.keys.add(&q.keys, n)
		if q.events.n > 0 {
			binary.BigEndian.PutUint32(p.keys.b[at+firstEventAt:], uint32(base+1))
		}
	}
}

func (w *wireArray) add(q *wireArray, request int) {
	at := len(w.b)
	w.b = append(w.b, q.b...)
	w.n += q.n
	for at < len(w.b) {
		binary.BigEndian.PutUint32(w.b[at+requestAt:], uint32(request))
		at = w.next(at)
	}
}

// next is where the element after the one at at starts.
func (w *wireArray) next(at int) int { return at + 4 + int(binary.BigEndian.Uint32(w.b[at:])) }

// appendHeader writes what precedes the elements of a one-dimensional array that counts from 1.
func appendHeader(b []byte, elementType uint32, n int) []byte {
	if n == 0 {
		b = append(b, make([]byte, 8)...) // no dimensions, no nulls
		return binary.BigEndian.AppendUint32(b, elementType)
	}
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, elementType)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return binary.BigEndian.AppendUint32(b, 1)
}

// begin opens a composite of some columns as an element; end, given its result, closes it.
func (w *wireArray) begin(columns int) int {
	at := len(w.b)
	w.b = append(w.b, 0, 0, 0, 0)
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(columns))
	w.n++
	return at
}

func (w *wireArray) end(at int) {
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
}

func (w *wireArray) head(oid, length int) {
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(oid)<<32|uint64(length))
}

func (w *wireArray) int4(v int) {
	w.head(oidInt4, 4)
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(v))
}

func (w *wireArray) int8(v int64) {
	w.head(oidInt8, 8)
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(v))
}

func (w *wireArray) uuid(id domain.ID) {
	w.head(oidUUID, len(id))
	w.b = append(w.b, id[:]...)
}

func (w *wireArray) text(s string) {
	w.head(oidText, len(s))
	w.b = append(w.b, s...)
}

func (w *wireArray) bytes(oid int, v []byte) {
	w.head(oid, len(v))
	w.b = append(w.b, v...)
}

func (w *wireArray) claim(client string, ordinal int, c *ClaimChange, clash bool) {
	a := w.begin(7)
	w.int4(0)
	w.int4(ordinal)
	w.text(client)
	w.text(c.Kind)
	w.text(c.Value)
	w.uuid(c.Owner)
	w.head(oidBool, 1)
	if clash {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
	w.end(a)
}

// saltSource hands out salts from the system's random source, a block at a time.
type saltSource struct {
	block [64 * saltBytes]byte
	left  int
}

// take gives a salt that is valid until the next block is read. Each is handed out once.
func (s *saltSource) take() []byte {
	if s.left == 0 {
		rand.Read(s.block[:]) // never fails: it ends the program instead
		s.left = len(s.block)
	}
	salt := s.block[s.left-saltBytes : s.left]
	s.left -= saltBytes
	return salt
}
