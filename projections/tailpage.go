package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"

	"annals/eventstore"
)

// Tail is the end of the log in this process's memory: *eventstore.Tail. It saves reading what the process has just
// written; correctness never depends on it, because the database is asked whether its events are the log's.
type Tail interface {
	// After gives at most limit events that follow a position without a gap, none when it doesn't have the next one.
	After(position int64, limit int) []*eventstore.TailEvent
}

// tailPage is a page that the tail has. It counts once the database has confirmed it.
type tailPage struct {
	from, to int64
	full     bool
	events   []*eventstore.TailEvent // that the subscriber wants
	batches  []*eventstore.TailEvent // the page's first of each batch
}

// tailRows takes the checkpoint as a page's query does and asks only for what memory can't know: whether the checkpoint is
// where the page begins ($3), whether an operator skipped something up to its end ($4), and of one event of each batch
// ($5) its id, which must be the tail's, and what the database added to it, which holds for the batch.
const tailRows = `, header AS MATERIALIZED (
	SELECT c.position AS low, set_config('synchronous_commit', $6, true) AS durability,
		EXISTS (SELECT FROM annals.skipped_events s
			WHERE s.projection = $1 AND s.version = $2 AND s.position > $3 AND s.position <= $4) AS skips
	FROM checkpoint c
)
SELECT low, skips, NULL::uuid AS event_id, timestamptz 'epoch' AS recorded_at, 0::smallint AS leaf_version FROM header
UNION ALL
SELECT e.position, false, e.event_id, e.recorded_at, e.leaf_version FROM annals.events e
WHERE e.position = ANY ($5::bigint[]) AND (SELECT low FROM header) = $3::bigint`

// policyTail is tailRows without a transaction: the lease has given the checkpoint.
const policyTail = `WITH checkpoint AS MATERIALIZED (SELECT $3::bigint AS position)` + tailRows

// fromTail gives the page after a position when the tail has it, else nil.
func (f *feed) fromTail(position int64) *tailPage {
	f.mu.Lock()
	plain := f.plain || f.bisect
	f.plain = false
	f.mu.Unlock()
	tail := f.group.cfg.Tail
	if tail == nil || plain {
		return nil
	}
	limit := int(f.span())
	run := tail.After(position, limit)
	if len(run) == 0 {
		return nil
	}
	page := &tailPage{from: position, full: len(run) == limit}
	batch := int64(0)
	for _, e := range run {
		page.to = e.Position
		if e.Batch != batch {
			batch = e.Batch
			page.batches = append(page.batches, e)
		}
		if f.wanted == nil || f.wanted[e.EventType] {
			page.events = append(page.events, e)
		}
		if len(page.events) == f.pageSize {
			page.full = true
			break
		}
	}
	return page
}

// recordedBatch is what the database adds to the events of a batch.
type recordedBatch struct {
	at          time.Time
	leafVersion int
}

func (p *tailPage) args(spec Spec) []any {
	positions := make([]int64, len(p.batches))
	for i, e := range p.batches {
		positions[i] = e.Position
	}
	return []any{spec.Name, spec.Version, p.from, p.to, pq.Array(positions), durability(spec)}
}

// drainTail reads what the database says of a page, whose result stands at its header, and makes the page's frame. A page
// that the database doesn't confirm must be read from the log itself.
func (f *feed) drainTail(rows *sql.Rows, page *tailPage) (b bounds, frame []byte, correlation string, err error) {
	var position int64
	var skips bool
	var id sql.RawBytes
	var batch recordedBatch
	if err := rows.Scan(&position, &skips, &id, &batch.at, &batch.leafVersion); err != nil {
		return b, nil, "", fmt.Errorf("scan a page's header: %w", err)
	}
	refused := bounds{taken: true, from: position, to: position, again: true}
	if position != page.from || skips {
		return refused, nil, "", endedWith(rows)
	}
	ids := make(map[int64]*eventstore.TailEvent, len(page.batches))
	for _, e := range page.batches {
		ids[e.Position] = e
	}
	batches := make(map[int64]recordedBatch, len(page.batches))
	for rows.Next() {
		if err := rows.Scan(&position, &skips, &id, &batch.at, &batch.leafVersion); err != nil {
			return b, nil, "", fmt.Errorf("scan a batch: %w", err)
		}
		if e := ids[position]; e != nil && e.EventID.String() == string(id) {
			batches[e.Batch] = batch
		}
	}
	if err := rows.Err(); err != nil {
		return b, nil, "", fmt.Errorf("read a page: %w", err)
	}
	if len(batches) != len(page.batches) {
		f.log.Warn("the log isn't what this process has written; reading it", "from", page.from, "to", page.to)
		return refused, nil, "", nil
	}
	frame, correlation = f.frameTail(page, batches)
	if f.group.cfg.tailed != nil {
		f.group.cfg.tailed(f.spec.Name)
	}
	return bounds{taken: true, from: page.from, to: page.to, full: page.full}, frame, correlation, nil
}

// frameTail frames a page's events, each as the log would give it to the subscriber.
func (f *feed) frameTail(page *tailPage, recorded map[int64]recordedBatch) (frame []byte, correlation string) {
	frame = beginFrame(f.frameSize)
	columns := columnCount(f.spec)
	for i, e := range page.events {
		event := Event{Envelope: e.Envelope, Seal: Seal{DataSalt: e.DataSalt, MetadataSalt: e.MetadataSalt}}
		batch := recorded[e.Batch]
		event.RecordedAt, event.Seal.LeafVersion = batch.at, batch.leafVersion
		if i == 0 && !f.spec.Lean {
			correlation = event.CorrelationID
		}
		f.record = appendRecord(f.record[:0], &event, columns)
		frame = appendFrame(frame, f.record)
	}
	endFrame(frame, page.from, page.to, len(page.events))
	f.frameSize = len(frame)
	return frame, correlation
}

// readTail reads a policy's page that the tail has.
func (f *feed) readTail(ctx context.Context, db Executor, page *tailPage) (bounds, []byte, string, error) {
	rows, err := db.QueryContext(ctx, policyTail, page.args(f.spec)...)
	if err != nil {
		return bounds{}, nil, "", err
	}
	defer rows.Close()
	if !rows.Next() {
		return bounds{}, nil, "", errors.Join(errors.New("a page without a header"), rows.Err())
	}
	return f.drainTail(rows, page)
}
