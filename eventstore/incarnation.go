package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Incarnation names the server and the history that the log lives on. A restore, a promotion or a copy makes another one.
type Incarnation struct {
	SystemIdentifier int64 // of the database cluster
	Timeline         int64 // of its write-ahead log
}

// IncarnationChange is what a start found out.
type IncarnationChange struct {
	Before, Now Incarnation
	Head        int64 // of the log at the start
}

// Progress is how far something that follows the log has come, such as a subscriber's checkpoint or the sealed size.
type Progress struct {
	Name     string // for people
	Position int64  // the last one it has taken in
}

// CheckIncarnation makes certain at start that the log is the one this database's readers have followed. A log that ends
// before one of them is ErrLogBehind: its tail was lost, and its positions would be used again. A changed server or
// timeline is handed to record, which writes it into the log; the new one is taken down only after that, so that a crash
// between the two leads to record being called again. Where the server doesn't let us ask for its identity, the change
// can't be noticed, which is logged.
func CheckIncarnation(
	ctx context.Context, db *sqlx.DB, logger *slog.Logger, followers []Progress,
	record func(context.Context, IncarnationChange) error,
) error {
	change := IncarnationChange{}
	err := db.QueryRowxContext(ctx, `SELECT coalesce(max(position), 0) FROM annals.events`).Scan(&change.Head)
	if err != nil {
		return fmt.Errorf("check the log's incarnation: %w", unavailable(err))
	}
	for _, f := range followers {
		if f.Position > change.Head {
			return fmt.Errorf("%w: it ends at %d, and %s has reached %d; restore the missing events, or rebuild what "+
				"follows the log once its loss is accepted", ErrLogBehind, change.Head, f.Name, f.Position)
		}
	}
	change.Now, err = currentIncarnation(ctx, db)
	var refused *pq.Error
	switch {
	case errors.As(err, &refused) && refused.Code == "42501": // insufficient_privilege
		logger.WarnContext(ctx, "the server doesn't tell its identity: a change of server won't be noticed", "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("check the log's incarnation: %w", unavailable(err))
	}
	if change.Before, err = noteFirst(ctx, db, change.Now); err != nil {
		return fmt.Errorf("check the log's incarnation: %w", unavailable(err))
	}
	if change.Before == change.Now {
		return nil
	}
	logger.WarnContext(ctx, "the log lives on another server or timeline than before",
		"system_identifier_before", change.Before.SystemIdentifier, "timeline_before", change.Before.Timeline,
		"system_identifier", change.Now.SystemIdentifier, "timeline", change.Now.Timeline, "head", change.Head)
	if err := record(ctx, change); err != nil {
		return fmt.Errorf("record the log's incarnation: %w", err)
	}
	_, err = db.ExecContext(ctx, `UPDATE annals.incarnation SET system_identifier = $1, timeline = $2`,
		change.Now.SystemIdentifier, change.Now.Timeline)
	if err != nil {
		return fmt.Errorf("take down the log's incarnation: %w", unavailable(err))
	}
	return nil
}

// currentIncarnation asks the server who it is. The name of the present WAL file starts with its timeline, eight
// hexadecimal digits; the control file would tell the one of the last checkpoint.
func currentIncarnation(ctx context.Context, db *sqlx.DB) (Incarnation, error) {
	var now Incarnation
	err := db.QueryRowxContext(ctx, `
		SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
		FROM pg_control_system()`).Scan(&now.SystemIdentifier, &now.Timeline)
	return now, err
}

// noteFirst gives the incarnation taken down last. The first start takes down the present one.
func noteFirst(ctx context.Context, db *sqlx.DB, now Incarnation) (Incarnation, error) {
	_, err := db.ExecContext(ctx, `INSERT INTO annals.incarnation (system_identifier, timeline) VALUES ($1, $2)
		ON CONFLICT DO NOTHING`, now.SystemIdentifier, now.Timeline)
	if err != nil {
		return Incarnation{}, err
	}
	var before Incarnation
	err = db.QueryRowxContext(ctx, `SELECT system_identifier, timeline FROM annals.incarnation`).
		Scan(&before.SystemIdentifier, &before.Timeline)
	if errors.Is(err, sql.ErrNoRows) {
		return now, nil
	}
	return before, err
}
