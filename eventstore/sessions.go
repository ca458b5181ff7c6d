package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrNoSessions: a pooler between this program and PostgreSQL gives a connection another session for each transaction. Roles,
// locks, prepared statements and LISTEN don't work through it.
var ErrNoSessions = errors.New("the database is reached through a pooler that keeps no sessions, such as PgBouncer with " +
	"pool_mode = transaction: set pool_mode = session for this database, or connect to PostgreSQL itself")

const (
	sessionRounds  = 3 // a pooler may give the same session twice by chance
	sessionTimeout = 10 * time.Second
)

// CheckSessions fails with ErrNoSessions when connections don't keep their sessions. It can't tell while a pooler happens to
// give both of its connections the same sessions each time, which needs a pool that nobody else uses and that goes round.
func CheckSessions(ctx context.Context, dsn, appName string) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	db, err := OpenDB(dsn, RoleOwner, 2, appName)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", MaskSecrets(dsn), err)
	}
	idle, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("look for a pooler: %w", err)
	}
	defer idle.Close()
	busy, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("look for a pooler: %w", err)
	}
	defer busy.Close()
	for range sessionRounds {
		if err := probeSessions(ctx, idle, busy); err != nil {
			return err
		}
	}
	return nil
}

// probeSessions looks whether a transaction gets the session of an idle connection, or the idle connection another one meanwhile.
func probeSessions(ctx context.Context, idle, busy *sql.Conn) error {
	const backend = `SELECT pg_backend_pid()`
	var before, between, after int
	if err := idle.QueryRowContext(ctx, backend).Scan(&before); err != nil {
		return fmt.Errorf("look for a pooler: %w", err)
	}
	tx, err := busy.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction, which a pooler with pool_mode = statement refuses: %w", err)
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, backend).Scan(&between); err != nil {
		return fmt.Errorf("look for a pooler: %w", err)
	}
	if between == before {
		return ErrNoSessions
	}
	if err := idle.QueryRowContext(ctx, backend).Scan(&after); err != nil {
		return fmt.Errorf("look for a pooler: %w", err)
	}
	if after != before {
		return ErrNoSessions
	}
	return nil
}
