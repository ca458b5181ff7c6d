package replay

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"

	"annals/projections"
)

// InsertOnly is implemented by a projections.Build that only inserts rows, and reads none. Primary keys and unique
// indexes of its tables are then made after the bulk, like the other indexes.
type InsertOnly interface {
	InsertOnly() bool
}

// deferral says which indexes a build goes without until the bulk is over.
type deferral int

const (
	deferNone  deferral = iota // projectors that may look rows up by any index
	deferPlain                 // those that read and write by unique keys only
	deferAll                   // those that only insert
)

func deferralOf(p projections.Projector) deferral {
	bulk, ok := p.(projections.Bulk)
	if !ok {
		return deferNone
	}
	if b, ok := bulk.NewBuild().(InsertOnly); ok && b.InsertOnly() {
		return deferAll
	}
	return deferPlain
}

// createTables makes an empty build schema with the read model's tables, without the deferred indexes, and gives the
// statements that make those. Running the whole DDL first and asking the catalogue for definitions keeps every name.
func createTables(ctx context.Context, tx *sql.Tx, spec projections.Spec, deferred deferral) ([]string, error) {
	schema := spec.BuildSchema()
	if _, err := tx.ExecContext(ctx, `DROP SCHEMA IF EXISTS `+pq.QuoteIdentifier(schema)+` CASCADE`); err != nil {
		return nil, fmt.Errorf("drop the earlier %s: %w", schema, err)
	}
	if err := projections.CreateTables(ctx, tx, spec, schema); err != nil {
		return nil, err
	}
	if err := checkTables(ctx, tx, schema); err != nil {
		return nil, err
	}
	indexes, err := readIndexes(ctx, tx, schema)
	if err != nil {
		return nil, err
	}
	statements := []string{}
	for _, ix := range indexes {
		if deferred == deferNone || deferred == deferPlain && ix.unique {
			continue
		}
		if _, err := tx.ExecContext(ctx, ix.drop); err != nil {
			return nil, fmt.Errorf("defer an index of %s: %w", schema, err)
		}
		statements = append(statements, ix.create)
	}
	return statements, nil
}

// checkTables refuses what can't be moved to another schema, or would tie it to another.
func checkTables(ctx context.Context, tx *sql.Tx, schema string) error {
	var name, kind string
	err := tx.QueryRowContext(ctx, `SELECT relname, relkind::text FROM pg_class
		WHERE relnamespace = $1::text::regnamespace AND relkind NOT IN ('r', 'i', 't')
		UNION ALL SELECT conname, 'f' FROM pg_constraint WHERE connamespace = $1::text::regnamespace AND contype = 'f'
		LIMIT 1`, schema).Scan(&name, &kind)
	if err == sql.ErrNoRows {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check the tables in %s: %w", schema, err)
	}
	return fmt.Errorf("the DDL makes %s (%s): only tables, indexes, row-level security and grants can be rebuilt", name, kind)
}

type index struct {
	unique       bool
	drop, create string
}

func readIndexes(ctx context.Context, tx *sql.Tx, schema string) ([]index, error) {
	rows, err := tx.QueryContext(ctx, `SELECT i.indisunique OR i.indisexclusion,
			CASE WHEN con.oid IS NULL THEN format('DROP INDEX %I.%I', $1::text, c.relname)
				ELSE format('ALTER TABLE %I.%I DROP CONSTRAINT %I', $1::text, t.relname, con.conname) END,
			CASE WHEN con.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
				ELSE format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', $1::text, t.relname, con.conname,
					pg_get_constraintdef(con.oid)) END
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
		LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
		WHERE t.relnamespace = $1::text::regnamespace AND t.relkind = 'r'
		ORDER BY t.relname, i.indisprimary DESC, c.relname`, schema)
	if err != nil {
		return nil, fmt.Errorf("read the indexes of %s: %w", schema, err)
	}
	defer rows.Close()
	var list []index
	for rows.Next() {
		var ix index
		if err := rows.Scan(&ix.unique, &ix.drop, &ix.create); err != nil {
			return nil, fmt.Errorf("read the indexes of %s: %w", schema, err)
		}
		list = append(list, ix)
	}
	return list, rows.Err()
}

// tables lists the tables of a schema in order; none when there is no such schema.
func tables(ctx context.Context, q projections.Executor, schema string) ([]string, error) {
	return texts(ctx, q, `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname`, schema)
}

func texts(ctx context.Context, q projections.Executor, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("read the catalogue: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

func qualified(schema, table string) string {
	return pq.QuoteIdentifier(schema) + "." + pq.QuoteIdentifier(table)
}
