package integrity

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore"
)

// Selection selects records. Members that are zero select everything.
type Selection struct {
	Client        string // eventstore.AllClients: all
	EventTypes    []string
	AggregateType string
	AggregateID   *domain.ID
	ActorID       string
	From, To      int64     // positions, both inclusive; To 0: to the end
	Since, Before time.Time // of occurred_at: Since inclusive, Before exclusive
}

// condition is the selection in SQL, for positions after the first parameter.
func (s *Selection) condition(after int64) (text string, args []any) {
	parts := []string{"position > $1"}
	args = []any{after}
	add := func(text string, arg any) {
		args = append(args, arg)
		parts = append(parts, strings.ReplaceAll(text, "$", "$"+strconv.Itoa(len(args))))
	}
	if s.To > 0 {
		add("position <= $", s.To)
	}
	if s.Client != eventstore.AllClients {
		add("client_id = $", s.Client)
	}
	if len(s.EventTypes) > 0 {
		add("event_type = ANY ($)", pq.Array(s.EventTypes))
	}
	if s.AggregateType != "" {
		add("aggregate_type = $", s.AggregateType)
	}
	if s.AggregateID != nil {
		add("aggregate_id = $", s.AggregateID.String())
	}
	if s.ActorID != "" {
		add("actor_id = $", s.ActorID)
	}
	if !s.Since.IsZero() {
		add("occurred_at >= $", s.Since)
	}
	if !s.Before.IsZero() {
		add("occurred_at < $", s.Before)
	}
	return strings.Join(parts, " AND "), args
}

// Matches reports whether a leaf is one that the selection selects.
func (s *Selection) Matches(l *Leaf) bool {
	types := len(s.EventTypes) == 0
	for _, t := range s.EventTypes {
		types = types || t == l.EventType
	}
	return types && (s.Client == eventstore.AllClients || s.Client == l.ClientID) &&
		(s.AggregateType == "" || s.AggregateType == l.AggregateType) &&
		(s.AggregateID == nil || *s.AggregateID == l.AggregateID) &&
		(s.ActorID == "" || s.ActorID == l.ActorID) &&
		l.Position >= s.From && (s.To == 0 || l.Position <= s.To) &&
		(s.Since.IsZero() || !l.OccurredAt.Before(s.Since)) && (s.Before.IsZero() || l.OccurredAt.Before(s.Before))
}

// eachPage is how many records one statement of Each reads.
const eachPage = 2000

// Each calls yield with each selected record in the order of positions, one at a time as they come from the database. A
// record's memory may be kept. Records are read by position in statements of their own, so that nothing holds a snapshot
// for long. An error of yield ends the reading and is given back.
func (r *Records) Each(ctx context.Context, s Selection, yield func(Record) error) error {
	for after := s.From - 1; ; {
		condition, args := s.condition(after)
		n, last, err := r.eachOf(ctx, s.Client, condition+fmt.Sprintf(" ORDER BY position LIMIT %d", eachPage), args, yield)
		if err != nil || n < eachPage {
			return err
		}
		after = last
	}
}

// Between calls yield with every record of any client with after < position <= upTo, in order, in one statement.
func (r *Records) Between(ctx context.Context, after, upTo int64, yield func(Record) error) error {
	_, _, err := r.eachOf(ctx, eventstore.AllClients, "position > $1 AND position <= $2 ORDER BY position",
		[]any{after, upTo}, yield)
	return err
}

func (r *Records) eachOf(
	ctx context.Context, client, condition string, args []any, yield func(Record) error,
) (n int, last int64, err error) {
	var failed error // yield's, which must come back as it is
	err = r.tenants.Read(ctx, client, func(ctx context.Context, q eventstore.Querier) error {
		rows, err := q.QueryxContext(ctx, selectRecords+condition, args...)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			record, err := scanRecord(rows)
			if err != nil {
				return err
			}
			n, last = n+1, record.Position
			if failed = yield(record); failed != nil {
				return failed
			}
		}
		return rows.Err()
	})
	if failed != nil {
		err = failed
	}
	return n, last, err
}

func scanRecord(rows interface{ Scan(...any) error }) (e Record, err error) {
	var id, aggregate sql.RawBytes
	err = rows.Scan(&e.Position, &id, &e.EventType, &e.SchemaVersion, &e.AggregateType, &aggregate,
		&e.AggregateVersion, &e.ClientID, &e.ActorID, &e.OccurredAt, &e.RecordedAt, &e.CorrelationID,
		&e.CausationID, &e.RequestID, (*[]byte)(&e.Data), (*[]byte)(&e.Metadata), &e.LeafVersion, &e.DataSalt,
		&e.MetadataSalt)
	if err != nil {
		return e, fmt.Errorf("scan an event: %w", err)
	}
	if err := e.EventID.UnmarshalText(id); err != nil {
		return e, fmt.Errorf("position %d: event %q: %w", e.Position, id, err)
	}
	if err := e.AggregateID.UnmarshalText(aggregate); err != nil {
		return e, fmt.Errorf("position %d: aggregate %q: %w", e.Position, aggregate, err)
	}
	e.OccurredAt, e.RecordedAt = e.OccurredAt.UTC(), e.RecordedAt.UTC()
	return e, nil
}

// Head is the log's last position; 0: it is empty.
func (r *Records) Head(ctx context.Context) (head int64, err error) {
	err = r.tenants.Read(ctx, eventstore.AllClients, func(ctx context.Context, q eventstore.Querier) error {
		return q.GetContext(ctx, &head, `SELECT coalesce(max(position), 0) FROM annals.events`)
	})
	if err != nil {
		return 0, fmt.Errorf("read the log's head: %w", err)
	}
	return head, nil
}

// FirstGap is the first position after the given one that has no event although a later one has; 0: there is none.
func (r *Records) FirstGap(ctx context.Context, after int64) (gap int64, err error) {
	err = r.tenants.Read(ctx, eventstore.AllClients, func(ctx context.Context, q eventstore.Querier) error {
		return q.GetContext(ctx, &gap, `
			SELECT coalesce(min(expected), 0) FROM (
				SELECT position, $1::bigint + row_number() OVER (ORDER BY position) AS expected
				FROM annals.events WHERE position > $1
			) p WHERE position > expected`, after)
	})
	if err != nil {
		return 0, fmt.Errorf("look for a gap after %d: %w", after, err)
	}
	return gap, nil
}

// BrokenStreams gives at most limit streams whose versions aren't 1, 2, 3, ….
func (r *Records) BrokenStreams(ctx context.Context, limit int) (ids []string, err error) {
	err = r.tenants.Read(ctx, eventstore.AllClients, func(ctx context.Context, q eventstore.Querier) error {
		return q.SelectContext(ctx, &ids, `
			SELECT aggregate_id::text FROM annals.events GROUP BY aggregate_id
			HAVING min(aggregate_version) <> 1 OR max(aggregate_version) <> count(*)
				OR sum(aggregate_version) <> count(*) * (count(*) + 1) / 2 ORDER BY aggregate_id LIMIT $1`, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("look for broken streams: %w", err)
	}
	return ids, nil
}
