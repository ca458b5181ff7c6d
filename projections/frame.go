package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A page travels as one framed message, so that a subscriber doesn't depend on where pages come from:
//
//	version byte, From and To in 8 bytes each, the number of events in 4, then each event's record with its length, an
//	unsigned varint, before it.

const frameVersion = 3

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

// appendFrame adds one event's record to a frame.
func appendFrame(frame, record []byte) []byte {
	return append(binary.AppendUvarint(frame, uint64(len(record))), record...)
}

// readFrame gives the page in a frame, payloads not yet decoded. Data, Metadata and the salts share the frame's memory; the
// events are written over those in the slice.
func readFrame(frame []byte, events []Event) (Page, error) {
	if len(frame) < headerSize || frame[0] != frameVersion {
		return Page{}, fmt.Errorf("%w: no header of version %d", errFrame, frameVersion)
	}
	rest, shared := frame[headerSize:], make(Names)
	count := int(binary.BigEndian.Uint32(frame[17:]))
	page := Page{
		From: int64(binary.BigEndian.Uint64(frame[1:])), To: int64(binary.BigEndian.Uint64(frame[9:])),
		Events: slices.Grow(events[:0], min(count, len(rest)/leastEvent+1)),
	}
	for len(rest) > 0 {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return Page{}, errFrame
		}
		page.Events = append(page.Events, Event{})
		if err := ReadRecord(rest[n:n+int(size)], &page.Events[len(page.Events)-1], shared); err != nil {
			return Page{}, fmt.Errorf("%w: %w", errFrame, err)
		}
		rest = rest[n+int(size):]
	}
	if len(page.Events) != count {
		return Page{}, errFrame
	}
	return page, nil
}

// leastEvent is the least that an event takes: the length, the number of fields, and the heads of a lean subscriber's.
const leastEvent = 1 + 4 + 8*leanColumns
