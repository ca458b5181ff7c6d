package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/lib/pq"
)

// topic is the table that subscribers read.
const topic = "events"

// typedSpan is how many pages' worth of positions a page spans for a subscriber that wants only some event types.
const typedSpan = 10

// pageRows reads the page in bounds (low, high]: a header row with the bounds, and the events, less those an operator
// skipped. Positions are dense: the bounds are known without looking at the events, and those a subscriber doesn't want
// never leave the server. $1 name, $2 version, $3 event types or null, $4 the most rows.
func pageRows(spec Spec) string {
	wanted := `e.event_type = ANY ($3::text[])`
	if spec.EventTypes == nil {
		wanted = `$3::text[] IS NULL` // true
	}
	return `
	SELECT record_send(ROW(low, high)) FROM bounds
	UNION ALL (
	SELECT ` + RecordOf(spec) + ` FROM annals.events e
	WHERE e.position > (SELECT low FROM bounds) AND e.position <= (SELECT high FROM bounds)
	  AND ` + wanted + `
	  AND e.position NOT IN (SELECT s.position FROM annals.skipped_events s WHERE s.projection = $1 AND s.version = $2)
	ORDER BY e.position LIMIT $4)`
}

// takeCheckpoint locks the checkpoint, unless another node has it or the subscriber isn't to run.
const takeCheckpoint = `
WITH checkpoint AS MATERIALIZED (
	SELECT position FROM annals.subscribers
	WHERE name = $1 AND version = $2
	  AND (status IN ('running', 'rebuilding') OR status = 'failed' AND ` + retryDue + `)
	FOR UPDATE SKIP LOCKED
)`

// durability is a page's synchronous_commit.
func durability(spec Spec) string {
	if spec.Kind == KindReadModel {
		return "off"
	}
	return "on"
}

// headBeyond is the log's head. It is looked for beyond a position first, where there is little to look through, and then
// anywhere: a log may end before it.
func headBeyond(position string) string {
	const head, last = `(SELECT e.position FROM annals.events e`, ` ORDER BY e.position DESC LIMIT 1)`
	return `coalesce(` + head + ` WHERE e.position > ` + position + last + `, ` + head + last + `, 0)`
}

// livePage takes the checkpoint, unless another node has it or the subscriber isn't to run, and reads the page after it.
// $5 is the span of positions. Commits of read models needn't wait for the disk ($6): rows and checkpoint go together,
// and the log has the events.
func livePage(spec Spec) string {
	return takeCheckpoint + `, bounds AS MATERIALIZED (
	SELECT c.position AS low,
		least(c.position + $5, ` + headBeyond(`c.position`) + `) AS high,
		set_config('synchronous_commit', $6, true) AS durability
	FROM checkpoint c
)` + pageRows(spec)
}

// policyPage reads the page after $5, of at most $6 positions.
func policyPage(spec Spec) string {
	return `
WITH bounds AS MATERIALIZED (
	SELECT $5::bigint AS low, least($5::bigint + $6, ` + headBeyond(`$5::bigint`) + `) AS high
)` + pageRows(spec)
}

// pageSchema adapts the log to watermill-sql: the table events is the topic, and a message is a page.
type pageSchema struct{ feed *feed }

// SelectQuery implements wsql.SchemaAdapter.
func (s pageSchema) SelectQuery(wsql.SelectQueryParams) (wsql.Query, error) {
	f := s.feed
	f.tail = nil
	if f.copying {
		return wsql.Query{}, nil // pageTx doesn't ask
	}
	f.mu.Lock()
	position := f.position
	f.mu.Unlock()
	if f.tail = f.fromTail(position); f.tail != nil {
		return wsql.Query{Query: takeCheckpoint + tailRows, Args: f.tail.args(f.spec)}, nil
	}
	var types any
	if f.spec.EventTypes != nil {
		types = pq.Array(f.spec.EventTypes)
	}
	return wsql.Query{
		Query: f.query,
		Args:  []any{f.spec.Name, f.spec.Version, types, f.pageSize, f.span(), durability(f.spec)},
	}, nil
}

// UnmarshalMessage implements wsql.SchemaAdapter: it is handed the result at its first row and drains it into one message.
func (s pageSchema) UnmarshalMessage(params wsql.UnmarshalMessageParams) (wsql.Row, error) {
	if order, ok := params.Row.(*copyOrder); ok {
		return order.message(s.feed.spec), nil
	}
	rows, ok := params.Row.(*trackedRows)
	if !ok {
		return wsql.Row{}, fmt.Errorf("a page can't be read from %T", params.Row)
	}
	drain := s.feed.drain
	if page := s.feed.tail; page != nil {
		drain = func(rows *sql.Rows) (bounds, []byte, string, error) { return s.feed.drainTail(rows, page) }
	}
	b, frame, correlation, err := drain(rows.Rows)
	if err != nil {
		return wsql.Row{}, rows.tx.broken(err)
	}
	rows.tx.bounds = b
	if b.to <= b.from {
		return wsql.Row{}, sql.ErrNoRows
	}
	id := s.feed.spec.Name + "/" + strconv.FormatInt(b.from, 10) + "-" + strconv.FormatInt(b.to, 10)
	msg := message.NewMessage(id, frame)
	middleware.SetCorrelationID(correlation, msg)
	return wsql.Row{Offset: b.to, UUID: []byte(id), Payload: frame, Msg: msg}, nil
}

// SubscribeIsolationLevel implements wsql.SchemaAdapter. In REPEATABLE READ a second node would get serialization errors.
func (pageSchema) SubscribeIsolationLevel() sql.IsolationLevel { return sql.LevelReadCommitted }

// InsertQuery implements wsql.SchemaAdapter. The log has one writer, and it isn't Watermill.
func (pageSchema) InsertQuery(wsql.InsertQueryParams) (wsql.Query, error) {
	return wsql.Query{}, errors.New("events are appended by the event store")
}

// SchemaInitializingQueries implements wsql.SchemaAdapter: migrations make the tables.
func (pageSchema) SchemaInitializingQueries(wsql.SchemaInitializingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

// checkpointOffsets is watermill-sql's OffsetsAdapter. The handler's wrapper writes the checkpoint itself, as the last
// statement of the transaction; the library's own acknowledgement is swallowed by pageTx.
type checkpointOffsets struct{}

// AckMessageQuery implements wsql.OffsetsAdapter.
func (checkpointOffsets) AckMessageQuery(wsql.AckMessageQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

// ConsumedMessageQuery implements wsql.OffsetsAdapter.
func (checkpointOffsets) ConsumedMessageQuery(wsql.ConsumedMessageQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

// NextOffsetQuery implements wsql.OffsetsAdapter.
func (checkpointOffsets) NextOffsetQuery(wsql.NextOffsetQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

// SchemaInitializingQueries implements wsql.OffsetsAdapter.
func (checkpointOffsets) SchemaInitializingQueries(
	wsql.OffsetsSchemaInitializingQueriesParams,
) ([]wsql.Query, error) {
	return nil, nil
}

// BeforeSubscribingQueries implements wsql.OffsetsAdapter.
func (checkpointOffsets) BeforeSubscribingQueries(wsql.BeforeSubscribingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

// bounds are what a page's result says of itself.
type bounds struct {
	taken    bool  // the checkpoint was ours
	from, to int64 // of the page; to <= from: nothing new
	full     bool  // there may be more at once
	again    bool  // the tail's page isn't the log's: look again, at the log itself
}

// drain reads a page's result, which stands at its header, into a frame.
func (f *feed) drain(rows *sql.Rows) (b bounds, frame []byte, correlation string, err error) {
	var raw sql.RawBytes
	if err = rows.Scan(&raw); err == nil {
		b.from, b.to, err = readBounds(raw)
	}
	if err != nil {
		return bounds{}, nil, "", fmt.Errorf("scan a page's header: %w", err)
	}
	b.taken = true
	if b.to <= b.from {
		return b, nil, "", endedWith(rows)
	}
	high, count, last := b.to, 0, b.from
	frame = beginFrame(f.frameSize)
	for rows.Next() {
		var position int64
		if err = rows.Scan(&raw); err == nil {
			position, err = recordPosition(raw)
		}
		if err != nil {
			return b, nil, "", fmt.Errorf("scan an event after %d: %w", last, err)
		}
		if position <= last || position > high {
			return b, nil, "", fmt.Errorf("the page after %d holds position %d after %d", b.from, position, last)
		}
		if count == 0 {
			var first Event
			if err := ReadRecord(raw, &first, make(Names)); err != nil {
				return b, nil, "", err
			}
			correlation = first.CorrelationID
		}
		last = position
		count++
		frame = appendFrame(frame, raw)
	}
	if err := rows.Err(); err != nil {
		return b, nil, "", fmt.Errorf("read a page: %w", err)
	}
	b.full = high == b.from+f.span()
	if count == f.pageSize { // the rows ended the page, not the bounds: it reaches to the last of them
		b.full, b.to = true, last
	}
	endFrame(frame, b.from, b.to, count)
	f.frameSize = len(frame)
	return b, frame, correlation, nil
}

// endedWith gives the error of rows of which no more are wanted, after a Scan of RawBytes. Such a Scan holds a lock until the next
// row is asked for; Err would wait for it forever if the context ended meanwhile.
func endedWith(rows *sql.Rows) error {
	rows.Next()
	return rows.Err()
}

// readPage reads a page outside a transaction, for policies.
func readPage(ctx context.Context, db Executor, f *feed, from int64) (bounds, []byte, string, error) {
	if page := f.fromTail(from); page != nil {
		if b, frame, correlation, err := f.readTail(ctx, db, page); err != nil || !b.again {
			return b, frame, correlation, err
		}
	}
	var types any
	if f.spec.EventTypes != nil {
		types = pq.Array(f.spec.EventTypes)
	}
	rows, err := db.QueryContext(ctx, f.query, f.spec.Name, f.spec.Version, types, f.pageSize, from, f.span())
	if err != nil {
		return bounds{}, nil, "", err
	}
	defer rows.Close()
	if !rows.Next() {
		return bounds{}, nil, "", errors.Join(errors.New("a page without a header"), rows.Err())
	}
	return f.drain(rows)
}
