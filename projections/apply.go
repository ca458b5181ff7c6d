package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
)

// PanicError is a panic of a projector or a policy, as the failure of its event.
type PanicError struct{ Value any }

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// handlePage is the Watermill handler of a read model or the sealer. It applies the message's page and writes the
// checkpoint, once for each transaction however often it is called.
func (f *feed) handlePage(msg *message.Message) error {
	tx, ok := pageTxOf(msg)
	if !ok {
		return errors.New("a page arrived without its transaction")
	}
	ctx := msg.Context()
	if !tx.enter(ctx) {
		return tx.outcome()
	}
	to, failure, err := tx.bounds.from, (*Failure)(nil), errNotApplied
	defer func() { // also when the goroutine exits
		err = tx.leave(to, failure, err)
	}()
	if tx.tx == nil {
		to, err = f.copyPage(ctx, tx)
	} else {
		to, failure, err = f.apply(ctx, tx.tx, msg.Payload)
	}
	return err
}

// pageTxOf gives the transaction that watermill-sql put into the message's context.
func pageTxOf(msg *message.Message) (*pageTx, bool) {
	tx, ok := wsql.TxFromContext(msg.Context())
	if !ok {
		return nil, false
	}
	page, ok := tx.(*pageTx)
	return page, ok
}

// settle is the outermost middleware. A message is never given back to watermill-sql, which would send it again in the
// same transaction: an error leaves the transaction unfinished, so that it is rolled back and the page read anew.
func settle(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		_, err := next(msg)
		if tx, ok := pageTxOf(msg); ok {
			if err != nil {
				_ = tx.broken(err)
			}
			return nil, nil
		}
		return nil, err
	}
}

// apply applies a page and writes the checkpoint as the last statement. When an event fails, what precedes it is applied
// and the checkpoint stops before it, together with what failed.
func (f *feed) apply(ctx context.Context, tx *sql.Tx, frame []byte) (to int64, failure *Failure, err error) {
	page, err := readFrame(frame, f.events)
	if err != nil {
		return 0, nil, err
	}
	f.events = page.Events
	missing := f.missing(&page)
	good, failed := f.group.decoder.Decode(f.spec, page.Events)
	part := cut(page, 0, good)
	f.mu.Lock()
	bisect := f.bisect
	f.mu.Unlock()
	target := Tx{Executor: tx, Schema: f.spec.Schema()}
	if !bisect {
		err = f.applyOnce(ctx, target, part)
	} else {
		applied, cause, fatal := f.bisectPage(ctx, tx, target, part)
		if err = fatal; cause != nil {
			good, failed = applied, cause
		}
	}
	if err != nil {
		return 0, nil, err
	}
	var stop Event
	switch {
	case failed != nil:
		stop = page.Events[good]
	case missing > 0:
		stop.Position, failed = missing, fmt.Errorf("position %d is missing from the log", missing)
	default:
		return page.To, nil, f.group.advance(ctx, tx, f.spec, page.From, page.To)
	}
	failure, err = f.group.fail(ctx, tx, f.spec, page.From, stop, failed)
	return stop.Position - 1, failure, err
}

// missing cuts a page of the sealer's before the first position that isn't there, and gives that; 0: none is missing. The
// log has no gaps: where there is one, an event was taken away, and what comes after it must not be sealed.
func (f *feed) missing(page *Page) int64 {
	if f.spec.Kind != KindSealer {
		return 0
	}
	for i, e := range page.Events {
		if want := page.From + int64(i) + 1; e.Position != want {
			page.Events, page.To = page.Events[:i], want-1
			return want
		}
	}
	if last := page.From + int64(len(page.Events)); last < page.To {
		page.To = last
		return last + 1
	}
	return 0
}

// cut gives the events [low, high) of a page as a page.
func cut(page Page, low, high int) Page {
	part := Page{From: page.From, To: page.To, Events: page.Events[low:high]}
	if low > 0 {
		part.From = page.Events[low-1].Position
	}
	if high < len(page.Events) {
		part.To = page.Events[high].Position - 1
	}
	return part
}

// applyOnce applies a part of a page. A panic is an error.
func (f *feed) applyOnce(ctx context.Context, tx Tx, part Page) (err error) {
	if len(part.Events) == 0 {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			f.log.Error("the projector panicked", "panic", r, "stack", string(debug.Stack()))
			err = &PanicError{Value: r}
		}
	}()
	return f.projector.Apply(ctx, tx, part)
}

// bisectPage applies as many events as can be applied in the transaction. It gives how many were applied and why the next
// one failed; fatal is an error that isn't an event's.
func (f *feed) bisectPage(ctx context.Context, tx *sql.Tx, target Tx, page Page) (applied int, cause, fatal error) {
	return bisect(0, len(page.Events), func(low, high int) (cause, fatal error) {
		if _, err := tx.ExecContext(ctx, `SAVEPOINT part`); err != nil {
			return nil, err
		}
		if cause = f.applyOnce(ctx, target, cut(page, low, high)); cause == nil {
			_, err := tx.ExecContext(ctx, `RELEASE SAVEPOINT part`)
			return nil, err
		}
		if transient(cause) {
			return nil, cause
		}
		_, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part`)
		return cause, err
	})
}

// bisect tries the events [low, high) together, and in halves when they fail, until one alone fails. It gives how many
// were done, and why the next one wasn't. A fatal error ends the search.
func bisect(low, high int, try func(low, high int) (cause, fatal error)) (done int, cause, fatal error) {
	if low == high {
		return high, nil, nil
	}
	cause, fatal = try(low, high)
	switch {
	case fatal != nil:
		return low, nil, fatal
	case cause == nil:
		return high, nil, nil
	case high-low == 1:
		return low, cause, nil
	}
	middle := (low + high) / 2
	if done, cause, fatal = bisect(low, middle, try); cause != nil || fatal != nil {
		return done, cause, fatal
	}
	return bisect(middle, high, try)
}
