package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"annals/domain"
)

// Reader reads the log for clients and auditors. What was acknowledged is there. Its methods fail with ErrUnavailable when
// the database can't be reached.
type Reader struct {
	tenants *Tenants
	log     *sqlx.DB // for what belongs to no client: the head, and the time at a position
	observe func(head int64)
}

// NewReader makes a reader of tenant data over tenants, and of the log's head over a pool that sees every position. It
// opens personal text when tenants do.
func NewReader(tenants *Tenants, log *sqlx.DB) *Reader { return &Reader{tenants: tenants, log: log} }

// AsRecorded gives a reader of the very bytes that were recorded, in which personal text is sealed: what proofs commit to.
func (r *Reader) AsRecorded() *Reader {
	return &Reader{tenants: r.tenants.Showing(nil), log: r.log, observe: r.observe}
}

// open opens the personal text of what is given to somebody, after the transaction that read it.
func (r *Reader) open(ctx context.Context, events []Envelope) error {
	return r.tenants.vault.OpenEvents(ctx, events)
}

// Bounds of one page, so that no request does unbounded work or holds unbounded memory.
const (
	// pageSpan is how many positions a page looks at: with a filter that few events pass, a page ends early and
	// NextAfter leads on.
	pageSpan = 20_000
	// pageBytes is how much data and metadata a page collects, beyond its first event.
	pageBytes = 8 << 20
	// scanPage is how many events Scan holds at a time.
	scanPage = 500
)

// Page is a part of the log in the order of positions.
type Page struct {
	Events []Envelope
	// NextAfter is the position to go on after. It passes what the filter left out, so that a client which polls never
	// looks at the same events twice; it may advance although Events is empty.
	NextAfter int64
	// Head is the log's last position, over all clients. NextAfter = Head: there was nothing more.
	Head int64
}

// Head gives the log's last position over all clients; 0 when the log is empty.
func (r *Reader) Head(ctx context.Context) (int64, error) {
	var head int64
	err := r.log.QueryRowxContext(ctx, `SELECT coalesce(max(position), 0) FROM annals.events`).Scan(&head)
	if err != nil {
		return 0, fmt.Errorf("read the head of the log: %w", unavailable(err))
	}
	if r.observe != nil {
		r.observe(head) // what was shown to a reader must not be written anew
	}
	return head, nil
}

// Page gives at most limit events that the filter selects, after a position.
func (r *Reader) Page(ctx context.Context, f EventFilter, after int64, limit int) (Page, error) {
	// The head first: positions are dense and in commit order, so that a later statement sees all up to it.
	head, err := r.Head(ctx)
	if err != nil {
		return Page{}, err
	}
	return r.page(ctx, f, after, head, head, limit)
}

// page reads one page of the positions in (after, upTo].
func (r *Reader) page(ctx context.Context, f EventFilter, after, upTo, head int64, limit int) (Page, error) {
	page := Page{NextAfter: after, Head: head}
	if after >= upTo || limit <= 0 {
		return page, nil
	}
	end := upTo
	if f.AggregateID == nil { // a stream is found by its index, everything else by looking at positions
		end = min(upTo, after+pageSpan)
	}
	text, args := pageQuery(f, after, end, limit)
	complete := false
	err := r.tenants.read(ctx, f.Client, inOrderOfIndex, func(ctx context.Context, db Querier) error {
		var err error
		page.Events, complete, err = readEnvelopes(ctx, db, text, args)
		return err
	})
	if err == nil {
		err = r.open(ctx, page.Events)
	}
	if err != nil {
		return Page{}, fmt.Errorf("read events after %d: %w", after, err)
	}
	if complete && len(page.Events) < limit {
		page.NextAfter = end
	} else {
		page.NextAfter = page.Events[len(page.Events)-1].Position
	}
	return page, nil
}

// pageQuery selects the events in (after, end]; it runs under inOrderOfIndex.
func pageQuery(f EventFilter, after, end int64, limit int) (text string, args []any) {
	position, order := "position", "position"
	if f.AggregateID != nil {
		// The order of versions is the same, and the one of the stream's index; an expression keeps to that index.
		position, order = "position + 0", "aggregate_version"
	}
	var q where
	q.add(position+" > ?", after)
	q.add(position+" <= ?", end)
	if f.AggregateID != nil && after > 0 {
		q.beyond(*f.AggregateID, after)
	}
	q.filter(f)
	text = "SELECT " + envelopeColumns + " FROM annals.events WHERE " + q.text + " ORDER BY " + order + " LIMIT " +
		q.arg(limit)
	return text, q.args
}

// Scan gives each event that the filter selects, in the order of positions, from after (exclusive) to upTo (inclusive; 0:
// the head at the time of the call). It holds a page in memory at a time, and no transaction while each runs, which may
// therefore be slow. An error of each ends the scan and is returned as it is.
func (r *Reader) Scan(ctx context.Context, f EventFilter, after, upTo int64, each func(Envelope) error) error {
	head, err := r.Head(ctx)
	if err != nil {
		return err
	}
	if upTo <= 0 || upTo > head {
		upTo = head
	}
	for after < upTo {
		page, err := r.page(ctx, f, after, upTo, head, scanPage)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := each(e); err != nil {
				return err
			}
		}
		after = page.NextAfter
	}
	return nil
}

// Event gives one event of a client, or a not-found refusal.
func (r *Reader) Event(ctx context.Context, client string, position int64) (Envelope, error) {
	var found []Envelope
	err := r.tenants.read(ctx, client, inOrderOfIndex, func(ctx context.Context, db Querier) error {
		var q where
		q.add("position = ?", position)
		q.filter(EventFilter{Client: client})
		var err error
		found, _, err = readEnvelopes(ctx, db, "SELECT "+envelopeColumns+" FROM annals.events WHERE "+q.text, q.args)
		return err
	})
	if err == nil {
		err = r.open(ctx, found)
	}
	switch {
	case err != nil:
		return Envelope{}, fmt.Errorf("read the event at %d: %w", position, err)
	case len(found) == 0:
		return Envelope{}, domain.Refuse(domain.CodeNotFound, "there is no event at position %d", position)
	}
	return found[0], nil
}

// StreamPage is a part of one stream in the order of versions.
type StreamPage struct {
	Events []Envelope
	More   bool // there are events after the last one
}

// Stream gives at most limit events of one stream after a version. A stream that doesn't exist for the client, or is of
// another type, is a not-found refusal.
func (r *Reader) Stream(
	ctx context.Context, client, aggregateType string, id domain.ID, afterVersion int64, limit int,
) (StreamPage, error) {
	var page StreamPage
	err := r.tenants.read(ctx, client, inOrderOfIndex, func(ctx context.Context, db Querier) error {
		var q where
		q.add("aggregate_version > ?", afterVersion)
		q.filter(EventFilter{Client: client, AggregateType: aggregateType, AggregateID: &id})
		text := "SELECT " + envelopeColumns + " FROM annals.events WHERE " + q.text +
			" ORDER BY aggregate_version LIMIT " + q.arg(limit+1)
		events, complete, err := readEnvelopes(ctx, db, text, q.args)
		if err != nil {
			return err
		}
		page.Events, page.More = events[:min(limit, len(events))], !complete || len(events) > limit
		if len(events) > 0 || afterVersion <= 0 {
			return nil
		}
		return r.mustExist(ctx, db, client, aggregateType, id)
	})
	if err == nil && len(page.Events) == 0 && afterVersion <= 0 && limit > 0 {
		err = domain.NotFound(aggregateType, id)
	}
	if err == nil {
		err = r.open(ctx, page.Events)
	}
	if err != nil {
		return StreamPage{}, fmt.Errorf("read stream %s %s: %w", aggregateType, id, err)
	}
	return page, nil
}

func (r *Reader) mustExist(ctx context.Context, db Querier, client, aggregateType string, id domain.ID) error {
	var q where
	q.add("aggregate_version = ?", 1)
	q.filter(EventFilter{Client: client, AggregateType: aggregateType, AggregateID: &id})
	var one int
	err := db.GetContext(ctx, &one, "SELECT 1 FROM annals.events WHERE "+q.text, q.args...)
	if errors.Is(err, sql.ErrNoRows) {
		return domain.NotFound(aggregateType, id)
	}
	return err
}

// envelopeColumns are the columns of an Envelope, in the order of readEnvelopes.
const envelopeColumns = `position, event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
	client_id, actor_id, occurred_at, recorded_at, correlation_id, causation_id, request_id, data, metadata`

// readEnvelopes reads the rows of a query over envelopeColumns. It stops past pageBytes and then isn't complete.
func readEnvelopes(ctx context.Context, db Querier, query string, args []any) (events []Envelope, complete bool, err error) {
	rows, err := db.QueryxContext(ctx, query, args...)
	if err != nil {
		return nil, false, unavailable(err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var e Envelope
		err := rows.Scan(&e.Position, (*scanID)(&e.EventID), &e.EventType, &e.SchemaVersion, &e.AggregateType,
			(*scanID)(&e.AggregateID), &e.AggregateVersion, &e.ClientID, &e.ActorID, (*scanTime)(&e.OccurredAt),
			(*scanTime)(&e.RecordedAt), &e.CorrelationID, &e.CausationID, &e.RequestID,
			(*[]byte)(&e.Data), (*[]byte)(&e.Metadata))
		if err != nil {
			return nil, false, fmt.Errorf("scan an event: %w", err)
		}
		events = append(events, e)
		if size += len(e.Data) + len(e.Metadata); size > pageBytes {
			return events, false, nil
		}
	}
	if err := rows.Err(); err != nil {
		return nil, false, unavailable(err)
	}
	return events, true, nil
}

// where collects conditions and their arguments.
type where struct {
	text string
	args []any
}

// arg binds a value and gives its placeholder.
func (w *where) arg(value any) string {
	w.args = append(w.args, value)
	return fmt.Sprintf("$%d", len(w.args))
}

// add appends a condition with one question mark for its value.
func (w *where) add(condition string, value any) {
	if w.text != "" {
		w.text += " AND "
	}
	for i := range len(condition) {
		if condition[i] == '?' {
			w.text += condition[:i] + w.arg(value) + condition[i+1:]
			return
		}
	}
}

// beyond appends that an event comes after the last of its stream at or before a position. By the positions alone, the
// index of streams would be read from a stream's beginning.
//
// Positions rise with versions, so that the last one's version is found bit by bit, from the highest that it can have: a
// stream of n events needs n positions. A version that isn't there, or that the client doesn't see, is beyond.
func (w *where) beyond(stream domain.ID, after int64) {
	highest := int64(1) << (bits.Len64(uint64(after)) - 1)
	w.add("aggregate_version > ("+`
		WITH RECURSIVE last (version, step) AS (
			SELECT 0::bigint, ?::bigint
			UNION ALL
			SELECT version + CASE WHEN (
				SELECT e.position FROM annals.events e
				WHERE e.aggregate_id = `+w.arg(stream[:])+` AND e.aggregate_version = version + step
			) <= `+w.arg(after)+` THEN step ELSE 0 END, step / 2
			FROM last WHERE step > 0
		) SELECT max(version) FROM last)`, highest)
}

// filter appends a filter's conditions. The client is named here although row-level security does so too: the two don't
// depend on each other.
func (w *where) filter(f EventFilter) {
	if f.Client != AllClients {
		w.add("client_id = ?", f.Client)
	}
	if f.AggregateID != nil {
		w.add("aggregate_id = ?", f.AggregateID[:])
	}
	if f.AggregateType != "" {
		w.add("aggregate_type = ?", f.AggregateType)
	}
	if len(f.EventTypes) > 0 {
		w.add("event_type = ANY(?)", pq.Array(f.EventTypes))
	}
	if f.ActorID != "" {
		w.add("actor_id = ?", f.ActorID)
	}
	if !f.From.IsZero() {
		w.add("occurred_at >= ?", f.From)
	}
	if !f.To.IsZero() {
		w.add("occurred_at < ?", f.To)
	}
}

// scanID reads a uuid column, which lib/pq hands over as text.
type scanID domain.ID

// Scan implements sql.Scanner.
func (id *scanID) Scan(src any) error {
	switch v := src.(type) {
	case []byte:
		return (*domain.ID)(id).UnmarshalText(v)
	case string:
		return (*domain.ID)(id).UnmarshalText([]byte(v))
	default:
		return fmt.Errorf("a uuid can't be read from %T", src)
	}
}

// scanTime reads a timestamptz column in UTC.
type scanTime time.Time

// Scan implements sql.Scanner.
func (t *scanTime) Scan(src any) error {
	v, ok := src.(time.Time)
	if !ok {
		return fmt.Errorf("a time can't be read from %T", src)
	}
	*t = scanTime(v.UTC())
	return nil
}
