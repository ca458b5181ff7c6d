package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"annals/projections"
)

var ownSchema = regexp.MustCompile(`^(?:rm|build|trash)_([a-z][a-z0-9_]*)_v([1-9][0-9]*)$`)

// Prune drops the schemas, checkpoints and builds of versions below those of keep, which are the ones this program knows.
// Versions above belong to a newer program, and projections that keep doesn't name to another one: both stay. What an
// operator skipped stays on record. A server that still runs an old version fails from then on, so that this is for the
// operator to ask for. It gives the schemas it dropped, in order, and fails with ErrAlreadyBuilding when an old version is
// being rebuilt; what was dropped until then stays dropped.
func Prune(ctx context.Context, db *sql.DB, keep []projections.Spec) (dropped []string, err error) {
	versions := make(map[string]int, len(keep))
	for _, spec := range keep {
		versions[spec.Name] = spec.Version
	}
	names, err := texts(ctx, db, `SELECT nspname FROM pg_namespace WHERE nspname ~ '^(rm|build|trash)_' ORDER BY nspname`)
	if err != nil {
		return nil, err
	}
	for _, schema := range names {
		spec, ok := parseSchema(schema)
		if kept, known := versions[spec.Name]; !ok || !known || spec.Version >= kept {
			continue
		}
		if err := pruneSchema(ctx, db, spec, schema); err != nil {
			return dropped, fmt.Errorf("prune %s: %w", schema, err)
		}
		dropped = append(dropped, schema)
	}
	return dropped, nil
}

func parseSchema(name string) (projections.Spec, bool) {
	m := ownSchema.FindStringSubmatch(name)
	if m == nil {
		return projections.Spec{}, false
	}
	version, err := strconv.Atoi(m[2])
	return projections.Spec{Name: m[1], Version: version, Kind: projections.KindReadModel}, err == nil
}

func pruneSchema(ctx context.Context, db *sql.DB, spec projections.Spec, schema string) (err error) {
	s, err := openSession(ctx, db, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
		for _, table := range []string{"annals.builds", "annals.subscribers"} {
			_, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE name = $1 AND version = $2`, spec.Name, spec.Version)
			if err != nil {
				return fmt.Errorf("delete from %s: %w", table, err)
			}
		}
		return dropSchema(ctx, tx, schema)
	})
}
