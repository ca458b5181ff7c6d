package eventstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Role is the database role that a pool works under.
type Role string

// The roles of the schema. A pool stays with the login role where the server doesn't have the role or the login role
// isn't a member of it: the owner of a database without the right to create roles works alone.
const (
	RoleOwner Role = ""             // the login role: migrations
	RoleApp   Role = "annals_app"   // the program: can't change history
	RoleQuery Role = "annals_query" // reads behind row-level security
)

// connectTimeout bounds dialling and the server's greeting.
const connectTimeout = 5 * time.Second

// OpenDB makes a pool of at most max connections. It doesn't connect: the first statement does. appName is what
// pg_stat_activity shows.
func OpenDB(dsn string, role Role, max int, appName string) (*sqlx.DB, error) {
	c, err := newConnector(dsn, appName)
	if err != nil {
		return nil, err
	}
	return newPool(roleConnector{Connector: c, role: role}, max), nil
}

// newConnector prepares connections with the settings that all of them share.
func newConnector(dsn, appName string) (*pq.Connector, error) {
	pairs, err := NormalizeDSN(dsn)
	if err != nil {
		return nil, err
	}
	cfg, err := pq.NewConfig(pairs)
	if err != nil {
		return nil, fmt.Errorf("read the connection string: %w", redact(err))
	}
	if appName != "" {
		cfg.ApplicationName = appName
	}
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	return pq.NewConnectorConfig(cfg)
}

// roleConnector switches each new connection to a role.
type roleConnector struct {
	driver.Connector
	role Role
}

// Connect implements driver.Connector.
func (c roleConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := assumeRole(ctx, conn, c.role); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// assumeRole switches a connection to a role if the server has it and the login role may.
func assumeRole(ctx context.Context, conn driver.Conn, role Role) error {
	if role == RoleOwner {
		return nil
	}
	query := `SELECT set_config('role', rolname, false) FROM pg_catalog.pg_roles
	           WHERE rolname = ` + pq.QuoteLiteral(string(role)) + ` AND pg_has_role(session_user, oid, 'MEMBER')`
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, query, nil); err != nil {
		return fmt.Errorf("switch to the role %s: %w", role, err)
	}
	return nil
}
