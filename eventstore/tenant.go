package eventstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Querier reads rows within a transaction that sees one client's data. It must not be kept beyond the transaction.
type Querier interface {
	sqlx.QueryerContext
	GetContext(ctx context.Context, dest any, query string, args ...any) error
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
}

// Tenants is the one path on which queries reach the data of clients: a transaction of the query role that names its
// client, behind row-level security. A transaction that names none sees no rows.
type Tenants struct {
	db    *sqlx.DB
	vault *Vault
}

// NewTenants makes the path over a pool whose sessions have the role annals_query.
func NewTenants(queries *sqlx.DB) *Tenants { return &Tenants{db: queries} }

// Showing gives the same path with a vault that opens personal text for whoever asks. Without one it is shown sealed.
func (t *Tenants) Showing(vault *Vault) *Tenants { return &Tenants{db: t.db, vault: vault} }

// Vault opens personal text; nil: nothing is opened.
func (t *Tenants) Vault() *Vault { return t.vault }

// endTimeout bounds COMMIT and ROLLBACK, which run whatever became of the caller's context.
const endTimeout = 5 * time.Second

// Read runs a query in a read-only READ COMMITTED transaction that sees the rows of one client, or of every client when
// client is AllClients. In READ COMMITTED each statement sees what was committed before it began.
func (t *Tenants) Read(ctx context.Context, client string, query func(ctx context.Context, q Querier) error) error {
	return t.read(ctx, client, "", query)
}

// ReadInOrder is Read for a page that is wanted in the order of an index: the planner follows that index whatever it knows of
// the table.
func (t *Tenants) ReadInOrder(ctx context.Context, client string, query func(ctx context.Context, q Querier) error) error {
	return t.read(ctx, client, inOrderOfIndex, query)
}

// inOrderOfIndex makes the planner follow an index where its order is wanted, also while statistics are missing or old:
// sorting all that a page might look at costs a hundred pages.
const inOrderOfIndex = "; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off"

// read is Read with settings of the transaction, which travel with its beginning.
func (t *Tenants) read(
	ctx context.Context, client, settings string, query func(ctx context.Context, q Querier) error,
) (err error) {
	if client == "" || strings.IndexByte(client, 0) >= 0 {
		return fmt.Errorf("read tenant data: %q is not a client", client)
	}
	conn, err := t.begin(ctx, client, settings)
	if err != nil {
		return fmt.Errorf("read tenant data: %w", unavailable(err))
	}
	defer conn.Close()
	end := "ROLLBACK" // also when query panics
	defer func() {
		endCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if _, endErr := conn.ExecContext(endCtx, end); endErr != nil {
			discard(conn)
			if err == nil {
				err = fmt.Errorf("read tenant data: %w", unavailable(endErr))
			}
		}
	}()
	if err := query(ctx, conn); err != nil {
		if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
			return fmt.Errorf("%w: %w", ended, err) // what the server says of a cancelled statement doesn't tell why
		}
		return err
	}
	end = "COMMIT"
	return nil
}

// statementBound ends a statement that looks at more than a caller should wait for, unless the sessions have a bound of
// their own. What is fast takes milliseconds, and exports read page by page.
const statementBound = `; SELECT CASE current_setting('statement_timeout') WHEN '0' THEN set_config('statement_timeout', '30s', true) END`

// begin opens the transaction. Connections that broke while they were idle, as all do when the database restarts, are
// left behind: nothing has been read on them yet.
func (t *Tenants) begin(ctx context.Context, client, settings string) (*sqlx.Conn, error) {
	// One message and so one round trip; a bound parameter would need a second one.
	begin := "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SELECT set_config('annals.client', " +
		pq.QuoteLiteral(client) + ", true)" + statementBound + settings
	for stale := t.db.Stats().Idle; ; stale-- {
		conn, err := t.db.Connx(ctx)
		if err != nil {
			return nil, err
		}
		if _, err = conn.ExecContext(ctx, begin); err == nil {
			return conn, nil
		}
		discard(conn)
		conn.Close()
		if stale <= 0 || !errors.Is(unavailable(err), ErrUnavailable) {
			return nil, err
		}
	}
}

// discard keeps a connection in an unknown state from being used again.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// Unavailable adds ErrUnavailable to errors of statements that mean that the database couldn't be reached, as opposed to
// one that answered with an error.
func Unavailable(err error) error {
	var answered *pq.Error
	switch {
	case err == nil, errors.Is(err, sql.ErrNoRows), errors.Is(err, ErrUnavailable),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &answered):
		class := string(answered.Code.Class())
		// 08 connection, 53 resources, 57P server shutting down or starting, 58 the system below.
		if answered.Code == "57014" { // query_canceled: the caller's deadline or a statement_timeout
			return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		if answered.Code == codeDiskFull {
			return fmt.Errorf("%w: %w", ErrDiskFull, err)
		}
		if class == "08" || class == "53" || class == "58" || strings.HasPrefix(string(answered.Code), "57P") {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

func unavailable(err error) error { return Unavailable(err) }
