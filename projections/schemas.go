package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The roles of migration 00001. Either may be missing where the server doesn't let us create roles.
const (
	appRole   = "annals_app"
	queryRole = "annals_query"
)

// schemaLock is the transaction-level advisory lock under which read-model schemas are made: of several processes that
// start together one makes them and the others find them.
const schemaLock = 7_236_114_003

// EnsureSchemas makes what subscribers need before they run: the schema and tables of each read model that has none, and
// a checkpoint for each subscriber. db connects as the owner of the database's schemas. A read model whose tables or
// checkpoint are missing starts from the beginning of the log; a policy starts where its version before stands. It fails with
// *WantsError for a subscriber that reads other events than its version did before.
func EnsureSchemas(ctx context.Context, db *sqlx.DB, specs ...Spec) error {
	for _, spec := range specs {
		if err := spec.Validate(); err != nil {
			return err
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("make the read models' schemas: %w", err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, schemaLock); err != nil {
		return fmt.Errorf("lock the read models' schemas: %w", err)
	}
	for _, spec := range specs {
		if err := ensure(ctx, tx, spec); err != nil {
			return fmt.Errorf("prepare projection %s version %d: %w", spec.Name, spec.Version, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("make the read models' schemas: %w", err)
	}
	return nil
}

func ensure(ctx context.Context, tx *sql.Tx, spec Spec) error {
	var registered, made bool
	err := tx.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT FROM annals.subscribers WHERE name = $1 AND version = $2),
		       EXISTS (SELECT FROM pg_namespace WHERE nspname = $3)`,
		spec.Name, spec.Version, spec.Schema()).Scan(&registered, &made)
	if err != nil {
		return err
	}
	if spec.DDL == "" {
		made = registered
	}
	if registered && made {
		return ensureWants(ctx, tx, spec)
	}
	if spec.DDL != "" {
		// Rows without a checkpoint, or a checkpoint without rows, say nothing: derived, so made again.
		if _, err := tx.ExecContext(ctx, `DROP SCHEMA IF EXISTS `+spec.Schema()+` CASCADE`); err != nil {
			return err
		}
		if err := CreateTables(ctx, tx, spec, spec.Schema()); err != nil {
			return err
		}
	}
	start := `0`
	if spec.Kind == KindPolicy {
		start = `coalesce((SELECT max(position) FROM annals.subscribers WHERE name = $1 AND version < $2), 0)`
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO annals.subscribers (name, version, kind, wants, position) VALUES ($1, $2, $3, $4, `+start+`)
		ON CONFLICT (name, version) DO UPDATE SET kind = excluded.kind, wants = excluded.wants, position = excluded.position, status = 'running',
			retry_at = NULL, failure_position = NULL, failure_event_id = NULL, failure_event_type = NULL,
			failure_error = NULL, failure_attempts = 0, failed_at = NULL, updated_at = now()`,
		spec.Name, spec.Version, string(spec.Kind), pq.Array(spec.wants()))
	return err
}

// CreateTables makes a schema with a read model's tables from its one DDL, the same for serving and for a rebuild: tables,
// indexes, row-level security on every table with a client_id, and the grants. The application's role owns them where it
// exists. The schema must not exist. It must run in a transaction, whose role and search path are as before afterwards.
func CreateTables(ctx context.Context, tx Executor, spec Spec, schema string) error {
	roles, err := existingRoles(ctx, tx)
	if err != nil {
		return err
	}
	owner, leave := "", ""
	if roles[appRole] {
		owner = " AUTHORIZATION " + appRole
		leave = "; SET LOCAL ROLE " + appRole
	}
	var before string
	var role, path string
	err = queryRow(ctx, tx, `SELECT current_setting('role'), current_setting('search_path')`, &role, &path)
	if err != nil {
		return err
	}
	before = "SELECT set_config('role', " + pq.QuoteLiteral(role) + ", true), set_config('search_path', " +
		pq.QuoteLiteral(path) + ", true)"
	statements := []string{
		"CREATE SCHEMA " + schema + owner + leave + "; SET LOCAL search_path = " + schema,
		spec.DDL,
	}
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("make schema %s: %w", schema, err)
		}
	}
	if err := secure(ctx, tx, schema, roles[queryRole]); err != nil {
		return fmt.Errorf("secure schema %s: %w", schema, err)
	}
	_, err = tx.ExecContext(ctx, before)
	return err
}

// secure lets the query role read every table of the schema, and of a table with a client_id only the rows of the client
// that the transaction names. No name, no rows.
func secure(ctx context.Context, tx Executor, schema string, grant bool) error {
	rows, err := tx.QueryContext(ctx, `
		SELECT c.relname, EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = c.oid AND a.attname = 'client_id' AND NOT a.attisdropped)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname`, schema)
	if err != nil {
		return err
	}
	defer rows.Close()
	var script strings.Builder
	if grant {
		fmt.Fprintf(&script, "GRANT USAGE ON SCHEMA %s TO %s;\n", schema, queryRole)
	}
	for rows.Next() {
		var table string
		var tenant bool
		if err := rows.Scan(&table, &tenant); err != nil {
			return err
		}
		name := schema + "." + pq.QuoteIdentifier(table)
		if tenant {
			fmt.Fprintf(&script, "ALTER TABLE %s ENABLE ROW LEVEL SECURITY;\n", name)
		}
		if grant {
			fmt.Fprintf(&script, "GRANT SELECT ON %s TO %s;\n", name, queryRole)
		}
		if grant && tenant {
			fmt.Fprintf(&script, `CREATE POLICY client ON %s FOR SELECT TO %s
				USING (client_id = current_setting('annals.client', true) OR current_setting('annals.client', true) = '*');
			`, name, queryRole)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if script.Len() == 0 {
		return nil
	}
	_, err = tx.ExecContext(ctx, script.String())
	return err
}

func existingRoles(ctx context.Context, tx Executor) (map[string]bool, error) {
	rows, err := tx.QueryContext(ctx, `SELECT rolname FROM pg_roles WHERE rolname IN ('`+appRole+`', '`+queryRole+`')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]bool)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		found[name] = true
	}
	return found, rows.Err()
}

// queryRow scans the single row of a query, or gives sql.ErrNoRows.
func queryRow(ctx context.Context, tx Executor, query string, dest ...any) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(sql.ErrNoRows, rows.Err())
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	return errors.Join(rows.Close(), rows.Err())
}
