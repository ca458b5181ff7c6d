package eventstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// OpenPreparedDB is OpenDB for a pool that runs few statements often, such as the subscribers': each connection prepares
// every statement with parameters once. Plans are then made once as well, perhaps while a table was empty, so that they
// are kept to those that probe by index. The sessions are for clients that read their answers at once: see VanishedTimeout.
func OpenPreparedDB(dsn string, role Role, max int, appName string) (*sqlx.DB, error) {
	c, err := newConnector(dsn, appName)
	if err != nil {
		return nil, err
	}
	return newPool(preparingConnector{roleConnector{Connector: c, role: role}}, max), nil
}

// VanishedTimeout is after what time without a sign of life the server ends a session of OpenPreparedDB, with its
// transaction and its locks. A process that is killed has its connections closed by its kernel, which the server sees at once;
// this is for a machine or a network that goes away. With the systems' defaults the locks would stay for two hours. It doesn't
// act on a unix socket, whose other end can't vanish.
const VanishedTimeout = 3 * time.Second

func newPool(c driver.Connector, max int) *sqlx.DB {
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(max)
	db.SetMaxIdleConns(max)
	db.SetConnMaxIdleTime(10 * time.Minute)
	return sqlx.NewDb(db, "postgres")
}

type preparingConnector struct{ roleConnector }

// Connect implements driver.Connector.
func (c preparingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.roleConnector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(pqConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("a %T can't prepare statements", conn)
	}
	// A statement that is a transaction by itself takes the defaults. An idle connection is probed each second, and unacknowledged
	// data waits as long as the probes.
	settings := fmt.Sprintf(`SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
		SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;
		SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = %d; SET tcp_user_timeout = %d`,
		VanishedTimeout/time.Second-1, VanishedTimeout.Milliseconds())
	if _, err := full.ExecContext(ctx, settings, nil); err != nil {
		conn.Close()
		return nil, fmt.Errorf("set up the session: %w", err)
	}
	return &preparingConn{pqConn: full, statements: make(map[string]driver.Stmt)}, nil
}

// pqConn is what lib/pq's connections can do.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// maxPrepared bounds the statements that a connection keeps; any more are run without being prepared.
const maxPrepared = 256

// preparingConn runs statements with parameters as prepared ones. It isn't safe for concurrent use, as no connection is.
type preparingConn struct {
	pqConn
	statements map[string]driver.Stmt
}

// ExecContext implements driver.ExecerContext.
func (c *preparingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.prepared(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.pqConn.ExecContext(ctx, query, args)
	}
	result, err := s.(driver.StmtExecContext).ExecContext(ctx, args)
	return result, outdated(err)
}

// QueryContext implements driver.QueryerContext.
func (c *preparingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.prepared(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.pqConn.QueryContext(ctx, query, args)
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, args)
	return rows, outdated(err)
}

// prepared gives the prepared statement of a query, nil for one that isn't to be prepared.
func (c *preparingConn) prepared(ctx context.Context, query string, args []driver.NamedValue) (driver.Stmt, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if s, ok := c.statements[query]; ok {
		return s, nil
	}
	if len(c.statements) == maxPrepared {
		return nil, nil
	}
	s, err := c.pqConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = s
	return s, nil
}

// outdated turns what is wrong with the preparation, not with the statement, into the loss of the connection: the next one
// prepares anew. PostgreSQL itself follows changed tables, unless a result's columns change.
func outdated(err error) error {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		switch e.Code {
		case "0A000", // cached plan must not change result type
			"26000": // the prepared statement doesn't exist
			return driver.ErrBadConn
		}
	}
	return err
}
