package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"

	"annals/projections"
)

// deferred reports whether a build goes without an index until the bulk is over. The helpers that build in bulk find rows
// by unique keys alone and write with ON CONFLICT, which needs those keys; other projectors may look rows up by any index.
func (ix index) deferred(p projections.Projector) bool {
	_, bulk := p.(projections.Bulk)
	return bulk && !ix.unique
}

// createTables makes an empty build schema with the read model's tables, without the deferred indexes, and gives the
// statements that make those. Running the whole DDL first and asking the catalogue for definitions keeps every name.
func createTables(ctx context.Context, tx *sql.Tx, p projections.Projector) ([]string, error) {
	spec := p.Spec()
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
		if !ix.deferred(p) {
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
	if errors.Is(err, sql.ErrNoRows) {
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
			format('DROP INDEX %I.%I', $1::text, c.relname), pg_get_indexdef(i.indexrelid)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
		WHERE t.relnamespace = $1::text::regnamespace AND t.relkind = 'r'
		ORDER BY t.relname, c.relname`, schema)
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
