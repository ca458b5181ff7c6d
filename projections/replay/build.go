package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"annals/projections"
)

// resume takes up what an earlier run has built, or starts over when there is nothing, or nothing that can be used.
func (b *builder) resume(ctx context.Context) error {
	print, err := fingerprint(b.spec, b.registry)
	if err != nil {
		return err
	}
	b.state.fingerprint = print
	if err := b.aim(ctx); err != nil {
		return err
	}
	earlier, ok, err := loadState(ctx, b.session.conn, b.spec)
	if err != nil {
		return err
	}
	built, err := tables(ctx, b.session.conn, b.spec.BuildSchema())
	if err != nil {
		return err
	}
	if ok && earlier.fingerprint == print && earlier.position <= b.target && len(built) > 0 {
		err := checkSkips(ctx, b.session.conn, b.spec, earlier)
		if err == nil {
			b.state, b.result.Resumed = earlier, true
			b.logger.Info("resuming a build", "position", b.state.position, "target", b.target)
			return b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
				return b.save(ctx, tx, b.state) // for its purpose and target
			})
		}
		if !errors.Is(err, errSkipsChanged) {
			return err
		}
	}
	return b.startOver(ctx)
}

// startOver makes empty tables.
func (b *builder) startOver(ctx context.Context) error {
	st := state{fingerprint: b.state.fingerprint, skipped: []int64{}}
	err := b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) (err error) {
		st.deferred, err = createTables(ctx, tx, b.projector)
		if err != nil {
			return err
		}
		return b.save(ctx, tx, st)
	})
	if err != nil {
		return err
	}
	b.state, b.result.Resumed, b.result.Events = st, false, 0
	b.logger.Info("building from the beginning", "target", b.target)
	return nil
}

// aim sets the position the build goes to. Without a fixed end it moves on with the log.
func (b *builder) aim(ctx context.Context) error {
	// The checkpoint first: both grow meanwhile, and only a head that is read later can't be behind it.
	live, err := readCheckpoint(ctx, b.session.conn, b.spec)
	if err != nil {
		return err
	}
	head, err := readHead(ctx, b.session.conn)
	if err != nil {
		return err
	}
	switch {
	case b.opts.Until > head:
		return fmt.Errorf("%w: %d of %d", ErrBeyondHead, b.opts.Until, head)
	case b.opts.Until > 0:
		b.target = b.opts.Until
	case b.opts.DryRun:
		if live.position > head {
			return fmt.Errorf("%w: %d of %d", projections.ErrAheadOfLog, live.position, head)
		}
		b.target = live.position
	default:
		b.target = head
	}
	return nil
}

// slack is how far from its target a build may stop, because the last transaction applies the rest.
func (b *builder) slack() int64 {
	if b.opts.Until > 0 {
		return 0
	}
	return chunkEvents
}

// advance applies the log until at most the slack is missing. Every pass goes to where the log ended when it began.
func (b *builder) advance(ctx context.Context, phase Phase, into applier) error {
	for {
		if err := b.aim(ctx); err != nil {
			return err
		}
		b.report(phase)
		if b.target-b.state.position <= b.slack() {
			return nil
		}
		p := &pass{builder: b, phase: phase, into: into}
		err := p.run(ctx)
		if err == nil {
			err = p.commit(ctx)
		}
		if err != nil {
			p.rollback()
			return b.locate(ctx, err)
		}
	}
}

// index makes the deferred indexes, all or none, and gathers statistics.
func (b *builder) index(ctx context.Context) error {
	b.report(PhaseIndex)
	next := b.state
	next.indexed, next.deferred = true, []string{}
	err := b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
		for _, statement := range b.state.deferred {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("make a deferred index (%s): %w", statement, err)
			}
		}
		built, err := tables(ctx, tx, b.spec.BuildSchema())
		if err != nil {
			return err
		}
		for _, t := range built {
			if _, err := tx.ExecContext(ctx, `ANALYZE `+qualified(b.spec.BuildSchema(), t)); err != nil {
				return fmt.Errorf("analyze %s: %w", t, err)
			}
		}
		return b.save(ctx, tx, next)
	})
	if err != nil {
		return err
	}
	b.state = next
	return nil
}

// applyRest applies the log up to a position within a transaction, as the live projector would, and gives the state the
// tables have then and how many events it applied.
func (b *builder) applyRest(ctx context.Context, tx *sql.Tx, to int64) (next state, events int64, err error) {
	skips, err := readSkips(ctx, tx, b.spec, b.state.position, to)
	if err != nil {
		return state{}, 0, err
	}
	for at := b.state.position; at < to; {
		c, err := b.log.first(ctx, tx, at, to)
		if err != nil {
			return state{}, 0, err
		}
		page, err := admit(c, skips)
		if err != nil {
			return state{}, 0, err
		}
		target := projections.Tx{Executor: tx, Schema: b.spec.BuildSchema()}
		if err := guard(func() error { return b.projector.Apply(ctx, target, page) }); err != nil {
			return state{}, 0, eventFailure(c.From, c.To, err)
		}
		at, events = c.To, events+int64(len(page.Events))
	}
	return b.state.through(to, skips), events, nil
}
