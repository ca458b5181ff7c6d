package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"annals/domain"
)

// A page travels as one framed message, so that a subscriber doesn't depend on where pages come from:
//
//	version byte, From and To in 8 bytes each, the number of events in 4, then per event
//	its fields, each number a varint and each text with its length before it.

const frameVersion = 2

var errFrame = errors.New("the page's frame is damaged")

// headerSize is what the version, the bounds and the count take.
const headerSize = 1 + 8 + 8 + 4

// beginFrame starts a frame of about size bytes. The events follow by appendFrame, and endFrame completes it.
func beginFrame(size int) []byte { return make([]byte, headerSize, max(size+size/8, 1024)) }

// endFrame writes the frame's header.
func endFrame(frame []byte, from, to int64, count int) {
	frame[0] = frameVersion
	binary.BigEndian.PutUint64(frame[1:], uint64(from))
	binary.BigEndian.PutUint64(frame[9:], uint64(to))
	binary.BigEndian.PutUint32(frame[17:], uint32(count))
}

// appendFrame adds one event to a frame.
func appendFrame(buf []byte, e *Event) []byte {
	buf = binary.AppendVarint(buf, e.Position)
	buf = append(buf, e.EventID[:]...)
	buf = append(buf, e.AggregateID[:]...)
	buf = binary.AppendVarint(buf, e.AggregateVersion)
	buf = binary.AppendVarint(buf, int64(e.SchemaVersion))
	buf = binary.AppendVarint(buf, e.OccurredAt.UnixMicro())
	buf = binary.AppendVarint(buf, e.RecordedAt.UnixMicro())
	for _, s := range [...]string{
		e.EventType, e.AggregateType, e.ClientID, e.ActorID, e.CorrelationID, e.CausationID, e.RequestID,
	} {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	buf = binary.AppendVarint(buf, int64(e.Seal.LeafVersion))
	for _, b := range [...][]byte{e.Data, e.Metadata, e.Seal.DataSalt, e.Seal.MetadataSalt} {
		buf = binary.AppendUvarint(buf, uint64(len(b)))
		buf = append(buf, b...)
	}
	return buf
}

// readFrame gives the page in a frame, payloads not yet decoded. Data and Metadata share the frame's memory; the events
// are written over those in the slice.
func readFrame(frame []byte, events []Event) (Page, error) {
	r := frameReader{known: make(map[string]string)}
	if len(frame) < headerSize || frame[0] != frameVersion {
		return Page{}, fmt.Errorf("%w: no header of version %d", errFrame, frameVersion)
	}
	r.rest = frame[headerSize:]
	count := int(binary.BigEndian.Uint32(frame[17:]))
	page := Page{
		From: int64(binary.BigEndian.Uint64(frame[1:])), To: int64(binary.BigEndian.Uint64(frame[9:])),
		Events: slices.Grow(events[:0], min(count, len(r.rest)/leastEvent+1)),
	}
	for len(r.rest) > 0 && !r.damaged {
		var e Event
		e.Position = r.varint()
		e.EventID, e.AggregateID = r.id(), r.id()
		e.AggregateVersion = r.varint()
		e.SchemaVersion = int(r.varint())
		e.OccurredAt = time.UnixMicro(r.varint()).UTC()
		e.RecordedAt = time.UnixMicro(r.varint()).UTC()
		for _, s := range [...]*string{&e.EventType, &e.AggregateType, &e.ClientID, &e.ActorID} {
			*s = r.common()
		}
		for _, s := range [...]*string{&e.CorrelationID, &e.CausationID, &e.RequestID} {
			*s = string(r.bytes())
		}
		e.Seal.LeafVersion = int(r.varint())
		e.Data, e.Metadata, e.Seal.DataSalt, e.Seal.MetadataSalt = r.bytes(), r.bytes(), r.bytes(), r.bytes()
		page.Events = append(page.Events, e)
	}
	if r.damaged || len(page.Events) != count {
		return Page{}, errFrame
	}
	return page, nil
}

// leastEvent is the least that an event takes: two ids and a byte for each other field.
const leastEvent = 2*16 + 6 + 11

// frameReader reads from the front of rest.
type frameReader struct {
	rest    []byte
	known   map[string]string // texts that many events have, kept once
	damaged bool
}

func (r *frameReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.damaged = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *frameReader) id() (id domain.ID) {
	if len(r.rest) < len(id) {
		r.damaged = true
		return id
	}
	copy(id[:], r.rest)
	r.rest = r.rest[len(id):]
	return id
}

func (r *frameReader) bytes() []byte {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > uint64(len(r.rest)-n) {
		r.damaged = true
		return nil
	}
	b := r.rest[n : n+int(v) : n+int(v)]
	r.rest = r.rest[n+int(v):]
	return b
}

// common reads a text that is probably the same as another event's.
func (r *frameReader) common() string {
	b := r.bytes()
	if s, ok := r.known[string(b)]; ok {
		return s
	}
	s := string(b)
	r.known[s] = s
	return s
}
