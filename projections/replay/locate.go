package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"annals/projections"
)

// guard makes an error of a panic, so that a faulty projector doesn't end a server that rebuilds in the background.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &projections.PanicError{Value: r}
		}
	}()
	return f()
}

// locate narrows the failure of many events to one of them, by applying the events since the last merge again, as the
// live projector would, in a transaction that is undone. Where that doesn't fail it gives err as it was.
func (b *builder) locate(ctx context.Context, err error) error {
	var failure *EventError
	if !errors.As(err, &failure) || failure.To-failure.From == 1 || ctx.Err() != nil {
		return err
	}
	found := b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
		if at := b.firstFailure(ctx, tx, failure); at != nil {
			return at
		}
		return errUndo
	})
	if single := (*EventError)(nil); errors.As(found, &single) {
		return single
	}
	return err
}

// firstFailure applies page by page, and one by one where a page is part of the failure.
func (b *builder) firstFailure(ctx context.Context, tx *sql.Tx, failure *EventError) *EventError {
	skips, err := readSkips(ctx, tx, b.spec, b.state.position, failure.To)
	if err != nil {
		return nil
	}
	target := projections.Tx{Executor: tx, Schema: b.spec.BuildSchema()}
	for at := b.state.position; at < failure.To; {
		c, err := b.log.first(ctx, tx, at, failure.To)
		if err != nil {
			return nil
		}
		page, err := admit(c, skips)
		if err != nil {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `SAVEPOINT page`); err != nil {
			return nil
		}
		if guard(func() error { return b.projector.Apply(ctx, target, page) }) != nil {
			if _, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT page`); err != nil {
				return nil
			}
			return b.singly(ctx, target, page)
		}
		at = c.To
	}
	return nil
}

func (b *builder) singly(ctx context.Context, target projections.Tx, page projections.Page) *EventError {
	for i, e := range page.Events {
		one := projections.Page{From: e.Position - 1, To: e.Position, Events: page.Events[i : i+1]}
		if err := guard(func() error { return b.projector.Apply(ctx, target, one) }); err != nil {
			return &EventError{From: one.From, To: one.To, Err: fmt.Errorf("%s: %w", e.EventType, err)}
		}
	}
	return nil
}
