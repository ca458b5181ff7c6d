package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"

	"annals/eventstore"
	"annals/migrations"
)

// minServer is the oldest PostgreSQL that the program works on, as server_version_num counts.
const minServer = 140000

func supportedServer(number int) bool { return number >= minServer }

// requireServer refuses a PostgreSQL that is too old, before anything is made in it.
func requireServer(ctx context.Context, db *sql.DB) error {
	var number int
	var version string
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version')`).
		Scan(&number, &version)
	if err != nil {
		return fmt.Errorf("ask the database for its version: %w", err)
	}
	if !supportedServer(number) {
		return fmt.Errorf("the database is PostgreSQL %s: Annals needs 14 or newer", version)
	}
	return nil
}

// requireRoles refuses a database whose tables belong to roles that this login doesn't have, as after a restore: a dump
// holds no roles. A login that owns everything itself needs none.
func requireRoles(ctx context.Context, db *sql.DB) error {
	var user, closed string
	var missing, foreign []string
	err := db.QueryRowContext(ctx, `
		SELECT current_user,
		       array(SELECT r FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)),
		       array(SELECT r.rolname::text FROM pg_roles r WHERE r.rolname = ANY ($1) AND NOT pg_has_role(current_user, r.oid, 'MEMBER')),
		       coalesce((SELECT min(n.nspname) FROM pg_namespace n
		                 WHERE (n.nspname = 'annals' OR n.nspname LIKE 'rm\_%')
		                   AND NOT has_schema_privilege(n.oid, 'USAGE, CREATE')), '')`,
		pq.Array([]string{string(eventstore.RoleApp), string(eventstore.RoleQuery)})).
		Scan(&user, pq.Array(&missing), pq.Array(&foreign), &closed)
	if err != nil {
		return fmt.Errorf("look at the database's roles: %w", err)
	}
	if closed == "" || len(missing)+len(foreign) == 0 {
		return nil
	}
	name := pq.QuoteIdentifier(user)
	var what, statements []string
	if len(missing) > 0 {
		what = append(what, fmt.Sprintf("this server lacks the roles %s", strings.Join(missing, " and ")))
		for _, role := range missing {
			statements = append(statements, "CREATE ROLE "+role+" NOLOGIN;")
		}
	}
	if len(foreign) > 0 {
		what = append(what, fmt.Sprintf("%s isn't a member of %s", user, strings.Join(foreign, " and ")))
	}
	statements = append(statements, fmt.Sprintf("GRANT %s TO %s;", strings.Join(append(missing, foreign...), ", "), name))
	remedy := "let an administrator run: " + strings.Join(statements, " ")
	if len(missing) > 0 {
		remedy += " Then restore the dump again, so that it can grant them their rights"
	}
	return fmt.Errorf("the schema %s is closed to %s: %s, as after a restore, since a dump holds no roles; %s",
		closed, user, strings.Join(what, ", and "), remedy)
}

// compatibilityInterval is how often a server looks whether it is still new enough.
const compatibilityInterval = 2 * time.Second

// watchCompatibility gives an error once the schema has left this program behind. It ends with ctx.
func (n *node) watchCompatibility(ctx context.Context, db *sql.DB) {
	ticker := time.NewTicker(compatibilityInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var behind *migrations.IncompatibleError
		if err := migrations.CheckCompatible(ctx, db); errors.As(err, &behind) {
			n.outdated <- err
			return
		}
	}
}
