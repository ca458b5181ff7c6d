package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/lib/pq"
)

// topic is the table that subscribers read.
const topic = "events"

// typedSpan is how many pages' worth of positions a page spans for a subscriber that wants only some event types.
const typedSpan = 10

// eventColumns are an event's columns in the order of eventScanner, each with what the header row has in its place. A
// lean subscriber gets the first of them.
var eventColumns = [...]struct{ name, header string }{
	{"position", "low"}, {"aggregate_version", "high"}, {"aggregate_id", "NULL::uuid"}, {"schema_version", "0"},
	{"occurred_at", "timestamptz 'epoch'"}, {"event_type", "''"}, {"aggregate_type", "''"}, {"client_id", "''"},
	{"data", "NULL::json"},
	{"event_id", "NULL::uuid"}, {"recorded_at", "timestamptz 'epoch'"}, {"actor_id", "''"}, {"correlation_id", "''"},
	{"causation_id", "''"}, {"request_id", "''"}, {"metadata", "NULL::json"},
	{"leaf_version", "0"}, {"data_salt", "''::bytea"}, {"metadata_salt", "''::bytea"},
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

// pageRows reads the page in bounds (low, high]: a header row with the bounds, and the events, less those an operator
// skipped. Positions are dense: the bounds are known without looking at the events, and those a subscriber doesn't want
// never leave the server. $1 name, $2 version, $3 event types or null, $4 the most rows.
func pageRows(spec Spec) string {
	var header, events []string
	for _, c := range eventColumns[:columnCount(spec)] {
		header, events = append(header, c.header), append(events, "e."+c.name)
	}
	wanted := `e.event_type = ANY ($3::text[])`
	if spec.EventTypes == nil {
		wanted = `$3::text[] IS NULL` // true
	}
	return `
	SELECT ` + strings.Join(header, ", ") + ` FROM bounds
	UNION ALL (
	SELECT ` + strings.Join(events, ", ") + ` FROM annals.events e
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

// livePage takes the checkpoint, unless another node has it or the subscriber isn't to run, and reads the page after it.
// $5 is the span of positions. Commits of read models needn't wait for the disk ($6): rows and checkpoint go together,
// and the log has the events.
func livePage(spec Spec) string {
	return takeCheckpoint + `, bounds AS MATERIALIZED (
	SELECT c.position AS low,
		least(c.position + $5, coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0)) AS high,
		set_config('synchronous_commit', $6, true) AS durability
	FROM checkpoint c
)` + pageRows(spec)
}

// policyPage reads the page after $5, of at most $6 positions.
func policyPage(spec Spec) string {
	return `
WITH bounds AS MATERIALIZED (
	SELECT $5::bigint AS low, least($5::bigint + $6, coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0)) AS high
)` + pageRows(spec)
}

// pageSchema adapts the log to watermill-sql: the table events is the topic, and a message is a page.
type pageSchema struct{ feed *feed }

// SelectQuery implements wsql.SchemaAdapter.
func (s pageSchema) SelectQuery(wsql.SelectQueryParams) (wsql.Query, error) {
	f := s.feed
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
	scan := newEventScanner(f.spec)
	if err := rows.Scan(scan.dest...); err != nil {
		return b, nil, "", fmt.Errorf("scan a page's header: %w", err)
	}
	b = bounds{taken: true, from: scan.e.Position, to: scan.e.AggregateVersion}
	if b.to <= b.from {
		return b, nil, "", rows.Err()
	}
	high, count, last := b.to, 0, b.from
	frame = beginFrame(f.frameSize)
	for rows.Next() {
		if err := rows.Scan(scan.dest...); err != nil {
			return b, nil, "", fmt.Errorf("scan an event: %w", err)
		}
		e, err := scan.event()
		if err != nil {
			return b, nil, "", err
		}
		if e.Position <= last || e.Position > high {
			return b, nil, "", fmt.Errorf("the page after %d holds position %d after %d", b.from, e.Position, last)
		}
		if count == 0 {
			correlation = e.CorrelationID
		}
		last = e.Position
		count++
		frame = appendFrame(frame, e)
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

// eventScanner scans rows of eventColumns. What it gives is valid until the next row.
type eventScanner struct {
	e                             Event
	id, aggregate, data, metadata sql.RawBytes
	dataSalt, metadataSalt        sql.RawBytes
	dest                          []any
}

func newEventScanner(spec Spec) *eventScanner {
	s := new(eventScanner)
	e := &s.e
	s.dest = []any{
		&e.Position, &e.AggregateVersion, &s.aggregate, &e.SchemaVersion, &e.OccurredAt, &e.EventType, &e.AggregateType,
		&e.ClientID, &s.data,
		&s.id, &e.RecordedAt, &e.ActorID, &e.CorrelationID, &e.CausationID, &e.RequestID, &s.metadata,
		&e.Seal.LeafVersion, &s.dataSalt, &s.metadataSalt,
	}[:columnCount(spec)]
	return s
}

// event gives the row that was scanned.
func (s *eventScanner) event() (*Event, error) {
	if err := s.e.AggregateID.UnmarshalText(s.aggregate); err != nil {
		return nil, fmt.Errorf("position %d: aggregate %q: %w", s.e.Position, s.aggregate, err)
	}
	if len(s.dest) > leanColumns {
		if err := s.e.EventID.UnmarshalText(s.id); err != nil {
			return nil, fmt.Errorf("position %d: event %q: %w", s.e.Position, s.id, err)
		}
	}
	s.e.Data, s.e.Metadata = []byte(s.data), []byte(s.metadata)
	s.e.Seal.DataSalt, s.e.Seal.MetadataSalt = s.dataSalt, s.metadataSalt
	return &s.e, nil
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
