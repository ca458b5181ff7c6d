package projections

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// checkpointMoves is what changes beside a checkpoint's position when it moves.
const checkpointMoves = `updated_at = now(),
		status = CASE status WHEN 'failed' THEN 'running' ELSE status END,
		retry_at = NULL, failure_position = NULL, failure_event_id = NULL, failure_event_type = NULL,
		failure_error = NULL, failure_attempts = 0, failed_at = NULL`

// advance moves a checkpoint. It is the last statement of a page's transaction, and fails unless the checkpoint is still
// where the page began.
func (g *Group) advance(ctx context.Context, tx Executor, spec Spec, from, to int64) error {
	result, err := tx.ExecContext(ctx, `
		UPDATE annals.subscribers SET position = $4, `+checkpointMoves+`
		WHERE name = $1 AND version = $2 AND position = $3`,
		spec.Name, spec.Version, from, to)
	return movedOne(result, err)
}

func movedOne(result sql.Result, err error) error {
	if err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	if n != 1 {
		return errCheckpointMoved
	}
	return nil
}

// fail stops a subscriber before an event. It takes the place of advance in the page's transaction. A subscriber that an
// operator paused stays paused. The event's id is the log's: a lean subscriber isn't given it.
func (g *Group) fail(
	ctx context.Context, tx Executor, spec Spec, from int64, event Event, cause error,
) (*Failure, error) {
	rows, err := tx.QueryContext(ctx, `
		UPDATE annals.subscribers SET position = $4 - 1, updated_at = now(),
			status = CASE status WHEN 'paused' THEN status ELSE 'failed' END,
			failure_attempts = CASE WHEN failure_position = $4 THEN failure_attempts + 1 ELSE 1 END,
			failed_at = CASE WHEN failure_position = $4 THEN failed_at ELSE now() END,
			retry_at = now() + make_interval(secs => $7::float8 * 2 ^ least(
				CASE WHEN failure_position = $4 THEN failure_attempts ELSE 0 END, 8)),
			failure_position = $4, failure_event_type = $5, failure_error = $6,
			failure_event_id = (SELECT e.event_id FROM annals.events e WHERE e.position = $4)
		WHERE name = $1 AND version = $2 AND position = $3
		RETURNING failure_attempts, failed_at, retry_at, failure_event_id`,
		spec.Name, spec.Version, from, event.Position, event.EventType, errorText(cause), g.cfg.RetryPause.Seconds())
	if err != nil {
		return nil, fmt.Errorf("write the failure: %w", err)
	}
	defer rows.Close()
	failure := &Failure{
		Position: event.Position, EventType: event.EventType, Error: errorText(cause),
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("write the failure: %w", err)
		}
		return nil, errCheckpointMoved
	}
	var retry time.Time
	var id []byte
	if err := rows.Scan(&failure.Attempts, &failure.FailedAt, &retry, &id); err != nil {
		return nil, fmt.Errorf("write the failure: %w", err)
	}
	if err := failure.EventID.UnmarshalText(orZeroID(id)); err != nil {
		return nil, fmt.Errorf("read the failed event's id: %w", err)
	}
	failure.FailedAt, retry = failure.FailedAt.UTC(), retry.UTC()
	failure.RetryAt = &retry
	return failure, rows.Close()
}
