package eventstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"annals/domain"
)

// The log has no index on event ids, causes or correlations: each would cost every append more than these rare questions
// are worth. Searches are bounded instead, by what is known of where an event can be.
const (
	// lineageSpan is how many positions a search looks at: events are caused within moments, so that they are close.
	lineageSpan = 50_000
	// lineageDepth is how many causes are followed upwards.
	lineageDepth = 32
	// lineageLimit is how many events are given.
	lineageLimit = 500
	// relatedLimit is how many events of one request are looked at.
	relatedLimit = 4 * lineageLimit
)

// Lineage is what caused an event and what it caused.
type Lineage struct {
	Event Envelope
	// Causes starts with the event that caused it, then that one's cause, and so on. It is empty when a command did.
	Causes []Envelope
	// Effects are the events it caused, and those that they caused, in the order of positions.
	Effects []Envelope
	// SearchedTo is the position up to which effects were looked for; the log may go on.
	SearchedTo int64
	Head       int64
}

// Lineage gives what caused the event at a position and what it caused, as far as the client sees. An event that doesn't
// exist for the client is a not-found refusal.
func (r *Reader) Lineage(ctx context.Context, client string, position int64) (Lineage, error) {
	event, err := r.Event(ctx, client, position)
	if err != nil {
		return Lineage{}, err
	}
	l := Lineage{Event: event}
	for at := event; len(l.Causes) < lineageDepth; {
		id, err := domain.ParseID(at.CausationID)
		if err != nil || at.CausationID == at.RequestID {
			break // a command's own id
		}
		cause, err := r.ByEventID(ctx, client, id)
		if domain.CodeOf(err) == domain.CodeNotFound || err == nil && cause.Position >= at.Position {
			break
		}
		if err != nil {
			return Lineage{}, err
		}
		l.Causes = append(l.Causes, cause)
		at = cause
	}
	if l.Head, err = r.Head(ctx); err != nil {
		return Lineage{}, err
	}
	related, searchedTo, err := r.related(ctx, client, event, min(l.Head, position+lineageSpan))
	if err != nil {
		return Lineage{}, err
	}
	l.SearchedTo = searchedTo
	caused := map[string]bool{event.EventID.String(): true}
	for _, e := range related {
		if !caused[e.CausationID] {
			continue
		}
		if len(l.Effects) == lineageLimit {
			l.SearchedTo = e.Position - 1
			break
		}
		caused[e.EventID.String()] = true
		l.Effects = append(l.Effects, e)
	}
	return l, nil
}

// related gives the events after one that have its root request in common and that an event caused, and the position up to
// which it has looked: upTo, unless there are too many.
func (r *Reader) related(ctx context.Context, client string, event Envelope, upTo int64) (found []Envelope, searchedTo int64, err error) {
	var q where
	q.add("position > ?", event.Position)
	q.add("position <= ?", upTo)
	q.add("correlation_id = ? AND causation_id <> request_id", event.CorrelationID) // not its commands', but what they led to
	q.filter(EventFilter{Client: client})
	text := "SELECT " + envelopeColumns + " FROM annals.events WHERE " + q.text + " ORDER BY position LIMIT " +
		q.arg(relatedLimit)
	var complete bool
	err = r.tenants.read(ctx, client, inOrderOfIndex, func(ctx context.Context, db Querier) error {
		found, complete, err = readEnvelopes(ctx, db, text, q.args)
		return err
	})
	if err == nil {
		err = r.open(ctx, found)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the events related to position %d: %w", event.Position, err)
	}
	if len(found) > 0 && (!complete || len(found) == relatedLimit) {
		upTo = found[len(found)-1].Position
	}
	return found, upTo, nil
}

// ByEventID gives the event with an id, or a not-found refusal. The id, a UUID of version 7, tells when the event was
// made, and so about where in the log it is; the event is looked for there.
func (r *Reader) ByEventID(ctx context.Context, client string, id domain.ID) (Envelope, error) {
	missing := domain.Refuse(domain.CodeNotFound, "there is no event %s", id)
	if id[6]>>4 != 7 {
		return Envelope{}, missing
	}
	at, err := r.positionAt(ctx, time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8])>>16)))
	if err != nil {
		return Envelope{}, err
	}
	// Near first: the event was recorded moments after its id was made. Far for clocks that disagree.
	for _, span := range []int64{1_000, lineageSpan} {
		var q where
		q.add("position >= ?", at-span)
		q.add("position <= ?", at+span)
		q.add("event_id = ?", id[:])
		q.filter(EventFilter{Client: client})
		var found []Envelope
		err := r.tenants.read(ctx, client, inOrderOfIndex, func(ctx context.Context, db Querier) (err error) {
			found, _, err = readEnvelopes(ctx, db, "SELECT "+envelopeColumns+" FROM annals.events WHERE "+q.text, q.args)
			return err
		})
		if err == nil {
			err = r.open(ctx, found)
		}
		if err != nil {
			return Envelope{}, fmt.Errorf("read event %s: %w", id, err)
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return Envelope{}, missing
}

// positionAt gives the first position recorded at or after a time, or the one after the head. recorded_at grows with the
// position, but for steps of the database's clock.
func (r *Reader) positionAt(ctx context.Context, at time.Time) (int64, error) {
	head, err := r.Head(ctx)
	if err != nil {
		return 0, err
	}
	low, high := int64(1), head+1
	for low < high {
		middle := low + (high-low)/2
		var recorded time.Time
		err := r.log.QueryRowxContext(ctx, `SELECT recorded_at FROM annals.events WHERE position = $1`, middle).Scan(&recorded)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return 0, fmt.Errorf("the log has no position %d below its head %d", middle, head)
		case err != nil:
			return 0, fmt.Errorf("find the position of a time: %w", unavailable(err))
		case recorded.Before(at):
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, nil
}
