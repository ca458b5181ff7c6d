package projections

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// WantsError says that a subscriber reads other events than the same version of it did before. Programs that disagree about
// that must not share a checkpoint: beside each other, one would move it past events that the other waits for, and the rows
// lack what went by before.
type WantsError struct {
	Name    string
	Version int
	Added   []string // event types that the version didn't read before
	Dropped []string // those that it read
}

// Error implements error.
func (e *WantsError) Error() string {
	var changes []string
	if len(e.Added) > 0 {
		changes = append(changes, "now reads "+strings.Join(e.Added, ", "))
	}
	if len(e.Dropped) > 0 {
		changes = append(changes, "no longer reads "+strings.Join(e.Dropped, ", "))
	}
	return fmt.Sprintf("%s %s, and yet is version %d as before: other events need another version, which gets tables of its own "+
		"beside the old ones (or run the program that this database knows)", e.Name, strings.Join(changes, " and "), e.Version)
}

// everyType stands for every event type.
const everyType = "*"

// wants gives the event types that the subscriber reads, as they are kept.
func (s Spec) wants() []string {
	if s.EventTypes == nil {
		return []string{everyType}
	}
	types := slices.Clone(s.EventTypes)
	slices.Sort(types)
	return slices.Compact(types)
}

// ensureWants compares what a subscriber reads with what its version read before, or writes it down.
func ensureWants(ctx context.Context, tx *sql.Tx, spec Spec) error {
	var before []string
	err := tx.QueryRowContext(ctx, `SELECT wants FROM annals.subscribers WHERE name = $1 AND version = $2`,
		spec.Name, spec.Version).Scan(pq.Array(&before))
	if err != nil {
		return err
	}
	now := spec.wants()
	if before == nil {
		_, err := tx.ExecContext(ctx, `UPDATE annals.subscribers SET wants = $3 WHERE name = $1 AND version = $2`,
			spec.Name, spec.Version, pq.Array(now))
		return err
	}
	among := func(in []string) func(string) bool {
		return func(t string) bool { return slices.Contains(in, t) }
	}
	changed := &WantsError{
		Name: spec.Name, Version: spec.Version,
		Added: slices.DeleteFunc(slices.Clone(now), among(before)), Dropped: slices.DeleteFunc(before, among(now)),
	}
	if len(changed.Added)+len(changed.Dropped) > 0 {
		return changed
	}
	return nil
}
