package replay

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"annals/projections"
)

// lockClass is the first key of the advisory locks of builds; migration 00004 names it too.
const lockClass = 1095650898

// session is the connection that holds a build's advisory lock. All that the build writes goes through this connection:
// a build that has lost its lock can't write.
type session struct {
	db      *sql.DB
	conn    *sql.Conn
	lockKey int64
	pid     int
	started string // backend_start, so that a reused pid is not mistaken for ours
}

// sessionSettings keep limits meant for short statements away from a build, make PostgreSQL notice a client that died in
// the middle of a long statement, and spare flushes: what a build loses in a crash it makes again.
const sessionSettings = `SELECT set_config(s.name, v.setting, false) FROM (VALUES
	('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
	('transaction_timeout', '0'), ('client_connection_check_interval', '1s'), ('synchronous_commit', 'off'),
	('jit', 'off')) AS v(name, setting) JOIN pg_settings s USING (name)`

// openSession takes the lock of one version of a projection, or fails with ErrAlreadyBuilding.
func openSession(ctx context.Context, db *sql.DB, spec projections.Spec) (*session, error) {
	if limit := db.Stats().MaxOpenConnections; limit == 1 {
		return nil, ErrPoolTooSmall
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect for the build: %w", err)
	}
	s := &session{db: db, conn: conn}
	if err := s.lock(ctx, spec); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *session) lock(ctx context.Context, spec projections.Spec) error {
	err := s.conn.QueryRowContext(ctx, `SELECT pid, backend_start::text, hashtext($1) & 2147483647
		FROM pg_stat_activity WHERE pid = pg_backend_pid()`, spec.Schema()).Scan(&s.pid, &s.started, &s.lockKey)
	if err != nil {
		return fmt.Errorf("identify the build's session: %w", err)
	}
	var got bool
	err = s.conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1::int, $2::int)`, lockClass, s.lockKey).Scan(&got)
	if err != nil {
		return fmt.Errorf("take the build's lock: %w", err)
	}
	if !got {
		return fmt.Errorf("%s version %d: %w", spec.Name, spec.Version, ErrAlreadyBuilding)
	}
	if _, err := s.conn.ExecContext(ctx, sessionSettings); err != nil {
		return fmt.Errorf("set up the build's session: %w", err)
	}
	return nil
}

// close releases the lock, also when the context or the connection has ended. The connection isn't used again: its
// settings are the build's.
func (s *session) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, unlockErr := s.conn.ExecContext(ctx, `SELECT pg_advisory_unlock_all()`)
	err := s.conn.Raw(func(any) error { return driver.ErrBadConn })
	if err != nil && !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, sql.ErrConnDone) {
		return fmt.Errorf("close the build's session: %w", err)
	}
	if unlockErr != nil && s.pid != 0 {
		return s.end(ctx)
	}
	return nil
}

// end waits until a backend that was cut off in the middle of a statement is gone, and its lock with it.
func (s *session) end(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
		WHERE pid = $1 AND backend_start::text = $2`, s.pid, s.started)
	if err != nil {
		return fmt.Errorf("end the build's session: %w", err)
	}
	return nil
}

// inTx runs fn in a transaction on the session's connection.
func (s *session) inTx(ctx context.Context, level sql.IsolationLevel, fn func(*sql.Tx) error) error {
	tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(tx); err != nil {
		if back := tx.Rollback(); back != nil && !errors.Is(back, sql.ErrTxDone) {
			return errors.Join(err, fmt.Errorf("roll back: %w", back))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
