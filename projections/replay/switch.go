package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/lib/pq"

	"annals/projections"
)

// Waiting for locks. The live projector and all queries wait while the switch does, so that it gives up soon; between
// attempts they have the tables for themselves.
const (
	switchLockTimeout = 200 * time.Millisecond
	minPause          = 50 * time.Millisecond
	maxPause          = 2 * time.Second
	// vacuumLockTimeout is for a lock that neither reads nor writes wait for, only maintenance. It is longer than
	// PostgreSQL's deadlock_timeout, after which an autovacuum that is in the way is cancelled.
	vacuumLockTimeout = 5 * time.Second
)

// switchOver switches as soon as the locks can be had. It tries until ctx ends.
func (b *builder) switchOver(ctx context.Context) error {
	b.report(PhaseSwitch)
	b.opts.observe(signalSwitch)
	for attempt := 0; ; attempt++ {
		err := b.trySwitch(ctx)
		b.release(ctx)
		switch {
		case err == nil:
			b.result.Switched, b.result.Position = true, b.state.position
			b.logger.Info("switched to the rebuilt tables", "position", b.state.position, "attempts", attempt+1)
			b.tidy(ctx)
			return nil
		case lockRefused(err):
			b.logger.Info("the tables are in use, the switch is tried again", "attempt", attempt+1)
			b.opts.observe(signalRefused)
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		case !errors.Is(err, errGap):
			return err
		}
		if err := b.advance(ctx, PhaseCatchUp, byPage{b.projector}); err != nil {
			return err
		}
		b.report(PhaseSwitch)
	}
}

// release tells the live projector, which may have looked while an attempt held its checkpoint, to look again.
func (b *builder) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := projections.Nudge(ctx, b.session.conn, b.spec.Name, b.spec.Version); err != nil {
		b.logger.Debug("the live projector wasn't told that its checkpoint is free", "error", err) // it looks by itself
	}
}

// pause waits a random time that grows with the attempts.
func pause(ctx context.Context, attempt int) error {
	limit := min(maxPause, minPause<<min(attempt+1, 8))
	timer := time.NewTimer(minPause + rand.N(limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// trySwitch is one attempt: all of it happens or nothing.
func (b *builder) trySwitch(ctx context.Context) error {
	if err := b.dropTrash(ctx); err != nil {
		return err
	}
	var next state
	var events int64
	err := b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
		live, err := tables(ctx, tx, b.spec.Schema())
		if err != nil {
			return err
		}
		built, err := tables(ctx, tx, b.spec.BuildSchema())
		if err != nil {
			return err
		}
		if err := keepVacuumOff(ctx, tx, append(b.live(live), b.built(built)...)); err != nil {
			return err
		}
		if next, events, err = b.closeGap(ctx, tx); err != nil {
			return err
		}
		if err := b.exchange(ctx, tx, live, built); err != nil {
			return err
		}
		return moveCheckpoint(ctx, tx, b.spec, next.position)
	})
	if err != nil {
		return err
	}
	b.result.Events += events
	b.state = next
	return nil
}

// keepVacuumOff takes the tables' maintenance locks first. An exclusive lock asked for only briefly would never make an
// autovacuum of a large table give way.
func keepVacuumOff(ctx context.Context, tx *sql.Tx, names []string) error {
	statement := fmt.Sprintf(`SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = %d;
		LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE; SET LOCAL lock_timeout = %d`,
		vacuumLockTimeout.Milliseconds(), strings.Join(names, ", "), switchLockTimeout.Milliseconds())
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("lock the tables against maintenance: %w", err)
	}
	return nil
}

// closeGap stops the live projector by taking its checkpoint and brings the built tables to the head of the log. Queries
// go on meanwhile. It fails with errGap when that would take more than a page.
func (b *builder) closeGap(ctx context.Context, tx *sql.Tx) (next state, events int64, err error) {
	live, err := lockCheckpoint(ctx, tx, b.spec)
	if err != nil {
		return state{}, 0, err
	}
	head, err := readHead(ctx, tx)
	if err != nil {
		return state{}, 0, err
	}
	if live.position > head {
		b.logger.Warn("the live checkpoint is beyond the end of the log, whose tail was lost; the switch corrects it",
			"checkpoint", live.position, "head", head)
	}
	if head-b.state.position > b.slack() {
		return state{}, 0, errGap
	}
	next, events, err = b.applyRest(ctx, tx, head)
	if err != nil {
		return state{}, 0, err
	}
	return next, events, checkSkips(ctx, tx, b.spec, next)
}

// exchange moves the live tables away and the built ones in. From the first statement on queries wait.
func (b *builder) exchange(ctx context.Context, tx *sql.Tx, live, built []string) error {
	trash := pq.QuoteIdentifier(b.trashSchema())
	var statements []string
	if len(live) > 0 {
		statements = append(statements, `LOCK TABLE `+strings.Join(b.live(live), ", ")+` IN ACCESS EXCLUSIVE MODE`)
	}
	statements = append(statements, `CREATE SCHEMA `+trash)
	for _, t := range b.live(live) {
		statements = append(statements, `ALTER TABLE `+t+` SET SCHEMA `+trash)
	}
	for _, t := range b.built(built) {
		statements = append(statements, `ALTER TABLE `+t+` SET SCHEMA `+pq.QuoteIdentifier(b.spec.Schema()))
	}
	statements = append(statements, `DROP SCHEMA `+pq.QuoteIdentifier(b.spec.BuildSchema()))
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("exchange the tables: %w", err)
		}
	}
	return b.forget(ctx, tx)
}

// forget deletes the builds row: there is nothing to resume.
func (b *builder) forget(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM annals.builds WHERE name = $1 AND version = $2`, b.spec.Name, b.spec.Version)
	if err != nil {
		return fmt.Errorf("delete the build's state: %w", err)
	}
	return nil
}

func (b *builder) live(tables []string) []string  { return qualifiedAll(b.spec.Schema(), tables) }
func (b *builder) built(tables []string) []string { return qualifiedAll(b.spec.BuildSchema(), tables) }

func qualifiedAll(schema string, tables []string) []string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = qualified(schema, t)
	}
	return names
}

// trashSchema is where the tables that were live go. One that exists is left from a run that ended before it could drop
// it.
func (b *builder) trashSchema() string {
	return fmt.Sprintf("trash_%s_v%d", b.spec.Name, b.spec.Version)
}

// dropTrash drops the tables of an earlier switch.
func (b *builder) dropTrash(ctx context.Context) error {
	return b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
		return dropSchema(ctx, tx, b.trashSchema())
	})
}

// tidy drops the tables that were live. The switch is done: if it can't be now, the next rebuild does it.
func (b *builder) tidy(ctx context.Context) {
	var err error
	for attempt := range 5 {
		if err = b.dropTrash(ctx); err == nil {
			return
		}
		if !lockRefused(err) || pause(ctx, attempt) != nil {
			break
		}
	}
	b.logger.Warn("the tables that were live are still there; the next rebuild drops them", "schema", b.trashSchema(),
		"error", err)
}

// dropSchema drops a schema with all its tables unless something holds on to one of them.
func dropSchema(ctx context.Context, tx *sql.Tx, schema string) error {
	statement := fmt.Sprintf(`SET LOCAL lock_timeout = %d; DROP SCHEMA IF EXISTS %s CASCADE`,
		switchLockTimeout.Milliseconds(), pq.QuoteIdentifier(schema))
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("drop schema %s: %w", schema, err)
	}
	return nil
}
