package replay

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/lib/pq"

	"annals/domain"
	"annals/projections"
)

// state is the builds row: what the tables of the build schema hold.
type state struct {
	fingerprint string
	position    int64
	indexed     bool
	deferred    []string
	skipped     []int64 // ascending, all at or before position
}

// fingerprint changes when a half-built state could not be continued: another program, DDL or codec.
func fingerprint(spec projections.Spec, registry *domain.Registry) (string, error) {
	program, err := programHash()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%x\n%s %d\n%s\n", program, spec.Name, spec.Version, spec.DDL)
	types := spec.EventTypes
	if types == nil {
		types = registry.EventTypes()
	}
	for _, t := range slices.Sorted(slices.Values(types)) {
		definition, _ := registry.EventDefinition(t)
		fmt.Fprintf(h, "%s %d\n", t, definition.SchemaVersion)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// loadState reads the builds row of an earlier run; ok is false when there is none.
func loadState(ctx context.Context, q *sql.Conn, spec projections.Spec) (st state, ok bool, err error) {
	err = q.QueryRowContext(ctx, `SELECT fingerprint, position, indexed, deferred, skipped FROM annals.builds
		WHERE name = $1 AND version = $2`, spec.Name, spec.Version).
		Scan(&st.fingerprint, &st.position, &st.indexed, pq.Array(&st.deferred), pq.Array(&st.skipped))
	if errors.Is(err, sql.ErrNoRows) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, false, fmt.Errorf("read the build's state: %w", err)
	}
	return st, true, nil
}

// save writes the builds row in the transaction that brought the tables to it.
func (b *builder) save(ctx context.Context, tx *sql.Tx, st state) error {
	purpose := "rebuild"
	if b.compares() {
		purpose = "compare"
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO annals.builds AS b (name, version, lock_key, purpose, fingerprint, position,
			target, indexed, deferred, skipped, started_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now(), now())
		ON CONFLICT (name, version) DO UPDATE SET lock_key = excluded.lock_key, purpose = excluded.purpose,
			fingerprint = excluded.fingerprint, position = excluded.position, target = excluded.target,
			indexed = excluded.indexed, deferred = excluded.deferred, skipped = excluded.skipped,
			started_at = CASE WHEN excluded.position = 0 THEN now() ELSE b.started_at END, updated_at = now()`,
		b.spec.Name, b.spec.Version, b.session.lockKey, purpose, st.fingerprint, st.position,
		b.target, st.indexed, pq.Array(st.deferred), pq.Array(st.skipped))
	if err != nil {
		return fmt.Errorf("save the build's state: %w", err)
	}
	return nil
}

// checkpoint is the live row of the projection.
type checkpoint struct {
	position int64
	exists   bool
}

// readCheckpoint reads the live row as the transaction sees it, without a lock.
func readCheckpoint(ctx context.Context, q projections.Executor, spec projections.Spec) (checkpoint, error) {
	return scanCheckpoint(ctx, q, spec, "")
}

// lockCheckpoint takes the live row, which stops the live projector on every node until the transaction ends.
func lockCheckpoint(ctx context.Context, q projections.Executor, spec projections.Spec) (checkpoint, error) {
	cp, err := scanCheckpoint(ctx, q, spec, " FOR UPDATE")
	if err == nil && !cp.exists {
		err = errors.New("the live checkpoint has gone")
	}
	return cp, err
}

func scanCheckpoint(ctx context.Context, q projections.Executor, spec projections.Spec, lock string) (cp checkpoint, err error) {
	rows, err := q.QueryContext(ctx, `SELECT position FROM annals.subscribers WHERE name = $1 AND version = $2`+lock,
		spec.Name, spec.Version)
	if err != nil {
		return cp, fmt.Errorf("read the live checkpoint: %w", err)
	}
	defer rows.Close()
	if cp.exists = rows.Next(); cp.exists {
		if err := rows.Scan(&cp.position); err != nil {
			return cp, fmt.Errorf("read the live checkpoint: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return cp, fmt.Errorf("read the live checkpoint: %w", err)
	}
	return cp, nil
}

// moveCheckpoint makes the live row follow the switch. A failure at an event that the rebuild has applied is over; a
// pause is the operator's and stays.
func moveCheckpoint(ctx context.Context, tx *sql.Tx, spec projections.Spec, position int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE annals.subscribers SET position = $3, updated_at = now(),
			status = CASE WHEN status = 'paused' THEN status ELSE 'running' END, retry_at = NULL,
			failure_position = NULL, failure_event_id = NULL, failure_event_type = NULL, failure_error = NULL,
			failure_attempts = 0, failed_at = NULL
		WHERE name = $1 AND version = $2`, spec.Name, spec.Version, position)
	if err != nil {
		return fmt.Errorf("move the checkpoint: %w", err)
	}
	return nil
}

// readHead gives the highest position of the log.
func readHead(ctx context.Context, q projections.Executor) (int64, error) {
	rows, err := q.QueryContext(ctx, `SELECT coalesce(max(position), 0) FROM annals.events`)
	if err != nil {
		return 0, fmt.Errorf("read the head of the log: %w", err)
	}
	defer rows.Close()
	var head int64
	for rows.Next() {
		if err := rows.Scan(&head); err != nil {
			return 0, fmt.Errorf("read the head of the log: %w", err)
		}
	}
	return head, rows.Err()
}

// readSkips lists the positions that an operator told this version to leave out, after < position <= to, ascending.
func readSkips(ctx context.Context, q projections.Executor, spec projections.Spec, after, to int64) ([]int64, error) {
	rows, err := q.QueryContext(ctx, `SELECT position FROM annals.skipped_events
		WHERE projection = $1 AND version = $2 AND position > $3 AND position <= $4 ORDER BY position`,
		spec.Name, spec.Version, after, to)
	if err != nil {
		return nil, fmt.Errorf("read the skipped events: %w", err)
	}
	defer rows.Close()
	list := []int64{}
	for rows.Next() {
		var p int64
		if err := rows.Scan(&p); err != nil {
			return nil, fmt.Errorf("read the skipped events: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// checkSkips fails with errSkipsChanged unless the build has left out exactly what an operator skipped up to position.
func checkSkips(ctx context.Context, q projections.Executor, spec projections.Spec, st state) error {
	now, err := readSkips(ctx, q, spec, 0, st.position)
	if err != nil {
		return err
	}
	if !slices.Equal(now, st.skipped) {
		return errSkipsChanged
	}
	return nil
}
