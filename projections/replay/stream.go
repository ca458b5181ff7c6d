package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"annals/projections"
)

const (
	// rangePositions is how much of the log one reader takes at a time: enough to make a query worth its round trip
	// also when the projection wants few of the events.
	rangePositions = 4 * chunkEvents
	// rangeChunks is how many decoded chunks of one range wait for their turn. With the ranges in flight it bounds the
	// memory: 2 × workers × rangeChunks chunks of at most ~1 MiB of events.
	rangeChunks = 4
)

// errStopped ends a reader whose chunks nobody wants any more.
var errStopped = errors.New("stopped")

// span is a piece of the log on its way: a reader fills chunks while the ranges before it are still being applied.
type span struct {
	from, to int64
	chunks   chan chunk
}

// stream reads after < position <= to with several readers and hands the chunks to apply in order. Positions are dense,
// so that the bounds of the ranges are known ahead.
func (l log) stream(ctx context.Context, db *sql.DB, workers int, from, to int64, apply func(chunk) error) error {
	g, ctx := errgroup.WithContext(ctx)
	ordered := make(chan span, workers) // as they are to be applied
	pending := make(chan span)          // as they are to be read
	g.Go(func() error {
		defer close(pending)
		defer close(ordered)
		for ; from < to; from += rangePositions {
			s := span{from, min(from+rangePositions, to), make(chan chunk, rangeChunks)}
			for _, queue := range []chan span{ordered, pending} {
				select {
				case queue <- s:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error { return l.readSpans(ctx, db, pending) })
	}
	g.Go(func() error { return consume(ctx, ordered, apply) })
	return g.Wait()
}

// consume applies on one goroutine: the fold is one and ordered.
func consume(ctx context.Context, ordered <-chan span, apply func(chunk) error) error {
	for s := range ordered {
		for at := s.from; at < s.to; {
			select {
			case c := <-s.chunks:
				if err := apply(c); err != nil {
					return err
				}
				at = c.To
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// readSpans is one reader: a connection, a prepared statement, and one range after the other.
func (l log) readSpans(ctx context.Context, db *sql.DB, pending <-chan span) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect a reader: %w", err)
	}
	defer conn.Close()
	statement, err := conn.PrepareContext(ctx, l.query())
	if err != nil {
		return fmt.Errorf("prepare a reader: %w", err)
	}
	defer statement.Close()
	shared := make(projections.Names)
	for s := range pending {
		if err := l.readSpan(ctx, statement, s, shared); err != nil {
			return err
		}
	}
	return nil
}

func (l log) readSpan(ctx context.Context, statement *sql.Stmt, s span, shared projections.Names) error {
	rows, err := statement.QueryContext(ctx, l.args(s.from, s.to)...)
	if err != nil {
		return fmt.Errorf("read events after %d: %w", s.from, err)
	}
	defer rows.Close()
	stopped, began := false, time.Now()
	err = l.drain(rows, s.from, s.to, shared, func(c chunk) bool {
		worked := time.Since(began)
		select {
		case s.chunks <- c:
		case <-ctx.Done():
			stopped = true
			return false
		}
		if l.rests {
			rest(ctx, worked)
			began = time.Now()
		}
		return true
	})
	if err == nil && stopped {
		return errStopped
	}
	return err
}

// rest leaves the processors and PostgreSQL's to others, for a while or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
