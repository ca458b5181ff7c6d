package replay

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"

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
	decoder *projections.Decoder
	spec    projections.Spec
	rests   bool // a reader rests as long as it works
}

func (l log) query() string {
	wanted := ""
	if l.spec.EventTypes != nil {
		wanted = ` AND e.event_type = ANY($3)`
	}
	return `SELECT ` + projections.RecordOf(l.spec) + ` FROM annals.events e WHERE e.position > $1 AND e.position <= $2` + wanted +
		` ORDER BY e.position`
}

func (l log) args(from, to int64) []any {
	if l.spec.EventTypes == nil {
		return []any{from, to}
	}
	return []any{from, to, pq.Array(l.spec.EventTypes)}
}

// first reads the first chunk of a range, in q's transaction. The rest of the range begins at the chunk's To.
func (l log) first(ctx context.Context, q projections.Executor, from, to int64) (chunk, error) {
	rows, err := q.QueryContext(ctx, l.query(), l.args(from, to)...)
	if err != nil {
		return chunk{}, fmt.Errorf("read events after %d: %w", from, err)
	}
	defer rows.Close()
	var found *chunk
	err = l.drain(rows, from, to, make(projections.Names), func(c chunk) (more bool) {
		found = &c
		return false
	})
	if err != nil {
		return chunk{}, err
	}
	return *found, nil
}

// drain cuts rows into chunks that together cover the whole range. It ends early when give wants no more.
func (l log) drain(rows *sql.Rows, from, to int64, shared projections.Names, give func(chunk) bool) error {
	c := newChunk(from, 0)
	var raw sql.RawBytes
	for rows.Next() {
		if len(c.Events) >= chunkEvents || c.bytes >= chunkBytes {
			c.To = c.Events[len(c.Events)-1].Position
			if !give(c) {
				return nil
			}
			c = newChunk(c.To, len(c.Events))
		}
		err := rows.Scan(&raw)
		if err == nil {
			err = l.add(&c, raw, shared)
		}
		if err != nil {
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

// add decodes one event into a chunk. That a payload can't be decoded is noted, not an error.
func (l log) add(c *chunk, raw []byte, shared projections.Names) error {
	c.Events = append(c.Events, projections.Event{})
	e := &c.Events[len(c.Events)-1]
	if err := projections.ReadRecord(raw, e, shared); err != nil {
		return err
	}
	own := make([]byte, len(e.Data)+len(e.Metadata)) // raw is the driver's
	n := copy(own, e.Data)
	copy(own[n:], e.Metadata)
	e.Data, e.Metadata = own[:n:n], own[n:]
	c.bytes += len(own)
	if l.spec.Raw {
		return nil
	}
	var err error
	if e.Payload, err = l.decoder.DecodeEvent(e); err != nil {
		if c.undecodable == nil {
			c.undecodable = make(map[int64]error)
		}
		c.undecodable[e.Position] = err
	}
	return nil
}
