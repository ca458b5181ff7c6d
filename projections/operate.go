package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Operation is what an operator did with a subscriber.
type Operation struct {
	Name     string // the subscriber's
	Version  int    // of it that this program runs
	Action   Action
	Position int64  // of the event; 0 unless Retry or Skip
	Reason   string // of a Skip
	Actor    string // who asked for it
}

// Action names an operation.
type Action string

// The operations on subscribers.
const (
	ActionPause  Action = "pause"
	ActionResume Action = "resume"
	ActionRetry  Action = "retry"
	ActionSkip   Action = "skip"
)

// Reasons for refusing an operation.
var (
	// ErrNoFailure: the subscriber has not stopped at that position.
	ErrNoFailure = errors.New("the subscriber has not failed at that position")
	// ErrReasonNeeded: an event is skipped for a reason that is recorded.
	ErrReasonNeeded = errors.New("skipping an event needs a reason")
	// ErrNoEvents: timers read no events, so that there is nothing to skip.
	ErrNoEvents = errors.New("the subscriber reads no events")
	// ErrNotSkipped: the sealer goes on with the event that it stopped at, or not at all.
	ErrNotSkipped = errors.New("the sealer leaves out no event")
)

// Pause stops a subscriber, on every node, until Resume. When it returns, no page of a read model is being applied. To pause
// again changes nothing. As all operations, it fails with ErrUnknownSubscriber, and changes nothing when Config.Audit fails.
func (g *Group) Pause(ctx context.Context, name, actor string) error {
	return g.operate(ctx, Operation{Name: name, Action: ActionPause, Actor: actor}, `status = 'paused', retry_at = NULL`)
}

// Resume lets a paused or failed subscriber go on at once. One that runs isn't changed.
func (g *Group) Resume(ctx context.Context, name, actor string) error {
	return g.operate(ctx, Operation{Name: name, Action: ActionResume, Actor: actor}, `status = 'running', retry_at = NULL`)
}

// Failures lists the events that a subscriber has stopped at: one, or none. A subscriber never goes past a failure.
func (g *Group) Failures(ctx context.Context, name string) ([]Failure, error) {
	if _, ok := g.spec(name); !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownSubscriber, name)
	}
	states, err := g.states(ctx)
	if err != nil {
		return nil, err
	}
	if f := states[name].Failure; f != nil {
		return []Failure{*f}, nil
	}
	return []Failure{}, nil
}

// Retry lets a subscriber that stopped at an event try it again at once, or when it is resumed if it is paused. It fails
// with ErrNoFailure when that isn't the event.
func (g *Group) Retry(ctx context.Context, name string, position int64, actor string) error {
	return g.operate(ctx, Operation{Name: name, Action: ActionRetry, Position: position, Actor: actor},
		unlessPaused+`, retry_at = NULL`)
}

// unlessPaused lets a subscriber go on, but for what only Resume ends.
const unlessPaused = `status = CASE status WHEN 'paused' THEN 'paused' ELSE 'running' END`

// Skip makes a subscriber leave out the event that it stopped at, now and in every rebuild of this version. The reason is
// kept with the event's position and the actor. It fails with ErrReasonNeeded without one, with ErrNoFailure when the
// subscriber didn't stop there, with ErrNoEvents for a timer, and with ErrNotSkipped for the sealer.
func (g *Group) Skip(ctx context.Context, name string, position int64, reason, actor string) error {
	if reason == "" {
		return ErrReasonNeeded
	}
	if g.isTimer(name) {
		return ErrNoEvents
	}
	if spec, ok := g.spec(name); ok && spec.Kind == KindSealer {
		return ErrNotSkipped
	}
	return g.operate(ctx, Operation{Name: name, Action: ActionSkip, Position: position, Reason: reason, Actor: actor},
		unlessPaused+`, retry_at = NULL, failure_position = NULL, failure_event_id = NULL,
		failure_event_type = NULL, failure_error = NULL, failure_attempts = 0, failed_at = NULL`)
}

func (g *Group) spec(name string) (Spec, bool) {
	for _, s := range g.Specs() {
		if s.Name == name {
			return s, true
		}
	}
	return Spec{}, false
}

// changes reports whether the operation changes a subscriber of a status.
func (op Operation) changes(status Status) bool {
	switch op.Action {
	case ActionPause:
		return status != StatusPaused
	case ActionResume:
		return status == StatusPaused || status == StatusFailed
	default:
		return true
	}
}

// operate changes a subscriber's row, once the audit has recorded that it will.
func (g *Group) operate(ctx context.Context, op Operation, change string) error {
	spec, ok := g.spec(op.Name)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknownSubscriber, op.Name)
	}
	op.Version = spec.Version
	tx, err := g.cfg.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("%s %s: %w", op.Action, op.Name, err)
	}
	defer g.letGo(spec)
	defer tx.Rollback()
	var failed sql.NullInt64
	var status Status
	err = tx.QueryRowContext(ctx, `
		SELECT failure_position, status FROM annals.subscribers WHERE name = $1 AND version = $2 FOR UPDATE`,
		op.Name, op.Version).Scan(&failed, &status)
	if err != nil {
		return fmt.Errorf("%s %s: %w", op.Action, op.Name, err)
	}
	ofFailure := op.Action == ActionRetry || op.Action == ActionSkip
	if ofFailure && (!failed.Valid || failed.Int64 != op.Position) {
		return fmt.Errorf("%s %s: %w: %d", op.Action, op.Name, ErrNoFailure, op.Position)
	}
	if !op.changes(status) {
		return nil
	}
	if g.cfg.Audit != nil {
		if err := g.cfg.Audit(ctx, op); err != nil {
			return fmt.Errorf("record that %s is to %s: %w", op.Name, op.Action, err)
		}
	}
	if err := g.change(ctx, tx, op, change); err != nil {
		return fmt.Errorf("%s %s: %w", op.Action, op.Name, err)
	}
	g.lookSoon()
	return nil
}

func (g *Group) change(ctx context.Context, tx *sql.Tx, op Operation, change string) error {
	if op.Action == ActionSkip {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO annals.skipped_events (projection, version, position, reason, actor) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (projection, version, position) DO NOTHING`,
			op.Name, op.Version, op.Position, op.Reason, op.Actor)
		if err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE annals.subscribers SET `+change+`, updated_at = now()
		WHERE name = $1 AND version = $2`, op.Name, op.Version)
	if err != nil {
		return err
	}
	return tx.Commit()
}
