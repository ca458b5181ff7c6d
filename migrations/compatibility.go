package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Generation is what this program knows of the schema. A release raises it by one when it learns to live without something
// that a contract step of a later release takes away; that step sets annals.compatibility.min_binary to the generation that
// it needs. Expand steps leave both alone: older programs go on beside newer ones.
const Generation = 1

// IncompatibleError says that the schema needs a newer program.
type IncompatibleError struct {
	Binary int // the generation of this program
	Needed int // the oldest one that may work on the database
}

// Error implements error.
func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("this program is of generation %d, and the database needs %d or later: run the release that migrated "+
		"it, or a newer one; nothing was changed", e.Binary, e.Needed)
}

// CheckCompatible fails with *IncompatibleError when the database has been migrated beyond what this program knows. An empty
// database suits every program.
func CheckCompatible(ctx context.Context, db *sql.DB) error {
	var there bool
	err := db.QueryRowContext(ctx, `SELECT to_regclass('annals.compatibility') IS NOT NULL`).Scan(&there)
	if err != nil {
		return fmt.Errorf("read which programs the schema suits: %w", err)
	}
	if !there {
		return nil
	}
	var needed int
	err = db.QueryRowContext(ctx, `SELECT min_binary FROM annals.compatibility`).Scan(&needed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read which programs the schema suits: %w", err)
	case Generation < needed:
		return &IncompatibleError{Binary: Generation, Needed: needed}
	}
	return nil
}
