package eventstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// link is the sequencer's one connection. It is used through the driver itself: database/sql would send a statement
// again by its own judgement when a connection breaks, and only this package can judge that.
type link struct {
	conn    driver.Conn
	socket  net.Conn
	limit   time.Duration // how long an answer may take
	margin  time.Duration // by how much it may be exceeded, for not setting the deadline each time
	backend backend
	batch   driver.StmtQueryContext
	one     driver.StmtQueryContext
	oids    [5]uint32 // of the composites in the order of the batch statement's parameters
	params  [5][]byte // reused buffers
	unwatch func() bool
	renewed time.Time // when the socket's deadline was last set
}

// backend identifies a server process: pids are used again.
type backend struct {
	pid     int64
	started string
}

// linkConfig is what a link needs to connect.
type linkConfig struct {
	dsn, appName     string
	role             Role
	statementTimeout time.Duration
	lockTimeout      time.Duration
	margin           time.Duration // for what the statement's timeout doesn't cover: the commit's wait and the network
	dial             func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	batchStatement = `SELECT head, verdicts FROM annals.append_v2($1, $2, $3, $4, $5, $6, $7)`
	oneStatement   = `SELECT head, verdicts FROM annals.append_one_v2($1, $2)`
)

// socketDialer dials for lib/pq and keeps the socket, whose deadlines lib/pq doesn't expose.
type socketDialer struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	socket net.Conn
}

func (d *socketDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err == nil {
		d.socket = conn
	}
	return conn, err
}

func (d *socketDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *socketDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// connect opens a link. Before it takes its role, it ends the backend of a link that was lost, if there is one, and
// waits until that backend is gone: what it still did is then visible, and nothing of it comes later.
func connect(ctx context.Context, cfg linkConfig, lost backend) (_ *link, err error) {
	connector, err := newConnector(cfg.dsn, cfg.appName)
	if err != nil {
		return nil, err
	}
	dialer := &socketDialer{dial: cfg.dial}
	connector.Dialer(dialer)
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l := &link{conn: conn, socket: dialer.socket, limit: cfg.statementTimeout + cfg.margin, margin: cfg.margin}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if err := l.socket.SetDeadline(time.Now().Add(connectTimeout + backendTimeout)); err != nil {
		return nil, err
	}
	if err := l.end(lost); err != nil {
		return nil, fmt.Errorf("end the lost connection's backend: %w", err)
	}
	if err := l.setUp(ctx, cfg); err != nil {
		return nil, fmt.Errorf("set up the session: %w", err)
	}
	return l, nil
}

// abort breaks off what is going on on the connection. It may be called at any time.
func (l *link) abort() { l.socket.SetDeadline(time.Unix(1, 0)) }

// close drops the connection.
func (l *link) close() {
	if l.unwatch != nil {
		l.unwatch()
	}
	l.socket.SetDeadline(time.Now().Add(time.Second)) // for the farewell
	l.conn.Close()
	l.socket.Close()
}

// backendTimeout is how long the server may take to end a backend.
const backendTimeout = 3 * time.Second

func (l *link) end(lost backend) error {
	if lost.pid == 0 {
		return nil
	}
	row, err := l.row(`SELECT pg_terminate_backend(pid::int, `+fmt.Sprint(backendTimeout.Milliseconds())+`)::int::bigint
		FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2::timestamptz`, 1, lost.pid, lost.started)
	if errors.Is(err, io.EOF) {
		return nil // gone
	}
	if err != nil {
		return err
	}
	if string(row[0]) != "1" {
		return fmt.Errorf("backend %d goes on", lost.pid)
	}
	return nil
}

func (l *link) setUp(ctx context.Context, cfg linkConfig) error {
	row, err := l.row(`SELECT pid::text, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()
		AND $1::text IS NOT NULL`, 2, "")
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(row[0]), &l.backend.pid); err != nil {
		return err
	}
	l.backend.started = string(row[1])
	if err := assumeRole(ctx, l.conn, cfg.role); err != nil {
		return err
	}
	// The plans are made once and must be those that probe by index, also on a log that was empty when they were made.
	settings := fmt.Sprintf(`SET statement_timeout = %d; SET lock_timeout = %d; SET synchronous_commit = on;
		SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
		SET idle_in_transaction_session_timeout = 0; SET plan_cache_mode = force_generic_plan;
		SET enable_seqscan = off; SET jit = off`,
		cfg.statementTimeout.Milliseconds(), cfg.lockTimeout.Milliseconds())
	if _, err := l.conn.(driver.ExecerContext).ExecContext(ctx, settings, nil); err != nil {
		return err
	}
	names := [5]string{"stream_v1", "event_v2", "key_v1", "claim_v1", "claim_v1"}
	for i, name := range names {
		row, err := l.row(`SELECT ($1::text)::regtype::oid::bigint::text`, 1, "annals.append_"+name)
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(row[0]), &l.oids[i]); err != nil {
			return err
		}
	}
	if l.batch, err = l.prepare(batchStatement); err != nil {
		return err
	}
	l.one, err = l.prepare(oneStatement)
	return err
}

func (l *link) prepare(query string) (driver.StmtQueryContext, error) {
	stmt, err := l.conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	return stmt.(driver.StmtQueryContext), nil
}

// row runs a query that gives one row, as text. Its error is io.EOF when there is none.
func (l *link) row(query string, columns int, args ...any) ([][]byte, error) {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	rows, err := l.conn.(driver.QueryerContext).QueryContext(context.Background(), query, named)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	values := make([]driver.Value, columns)
	if err := rows.Next(values); err != nil {
		return nil, err
	}
	texts := make([][]byte, columns)
	for i, v := range values {
		texts[i] = fmt.Append(nil, v)
		if b, ok := v.([]byte); ok {
			texts[i] = append([]byte(nil), b...)
		}
	}
	return texts, nil
}

// head reads the log's highest position.
func (l *link) head() (int64, error) {
	row, err := l.row(`SELECT coalesce(max(position), 0)::text FROM annals.events WHERE $1::text IS NOT NULL`, 1, "")
	if err != nil {
		return 0, err
	}
	var head int64
	_, err = fmt.Sscan(string(row[0]), &head)
	return head, err
}

// call is one execution of a prepared statement: the head and the verdicts, null when every request won.
func (l *link) call(stmt driver.StmtQueryContext, args []driver.NamedValue) (head int64, verdicts []byte, err error) {
	if now := time.Now(); now.Sub(l.renewed) > l.margin {
		l.renewed = now
		if err := l.socket.SetDeadline(now.Add(l.limit + l.margin)); err != nil {
			return 0, nil, err
		}
	}
	rows, err := stmt.QueryContext(context.Background(), args)
	if err != nil {
		return 0, nil, l.survived(err)
	}
	var values [2]driver.Value
	if err := rows.Next(values[:]); err != nil {
		rows.Close()
		return 0, nil, l.survived(err)
	}
	head, ok := values[0].(int64)
	if !ok {
		rows.Close()
		return 0, nil, fmt.Errorf("append_v2 gave %v as the head", values[0])
	}
	if b, ok := values[1].([]byte); ok {
		verdicts = append([]byte(nil), b...)
	}
	// Only the end of the answer says that the statement was committed.
	if err := rows.Close(); err != nil {
		return 0, nil, l.survived(err)
	}
	return head, verdicts, nil
}

// survived settles what kind of error the server sent when its word for it is in another language (lc_messages): a
// session that still answers had an ERROR.
func (l *link) survived(err error) error {
	e, ok := errors.AsType[*pq.Error](err)
	if !ok || e.Severity == severityError || e.Severity == pqerror.SeverityFatal || e.Severity == pqerror.SeverityPanic {
		return err
	}
	if _, probe := l.row(`SELECT $1::text`, 1, "alive"); probe != nil {
		return driver.ErrBadConn
	}
	e.Severity = severityError
	return e
}

const severityError = "ERROR"

// appendBatch sends a batch with its distinct types, parted by spaces; nil: not told.
func (l *link) appendBatch(knownHead int64, types []byte, p *parts) (head int64, verdicts []byte, err error) {
	args := make([]driver.NamedValue, 7)
	args[0] = driver.NamedValue{Ordinal: 1, Value: knownHead}
	args[1] = driver.NamedValue{Ordinal: 2, Value: types}
	for i, a := range [...]*wireArray{&p.streams, &p.events, &p.keys, &p.releases, &p.claims} {
		l.params[i] = append(appendHeader(l.params[i][:0], l.oids[i], a.n), a.b...)
		args[i+2] = driver.NamedValue{Ordinal: i + 3, Value: l.params[i]}
	}
	return l.call(l.batch, args)
}

// appendOne sends the one event of a lone request.
func (l *link) appendOne(knownHead int64, p *parts) (head int64, verdicts []byte, err error) {
	const elementLength = 4
	return l.call(l.one, []driver.NamedValue{
		{Ordinal: 1, Value: knownHead}, {Ordinal: 2, Value: p.events.b[elementLength:]},
	})
}

// failure says what an error of a call means for the batch.
type failure int

const (
	failedRefused   failure = iota // not committed, because of what the batch holds
	failedTransient                // not committed; the connection is fine
	failedSession                  // not committed; another connection may do better
	failedBehind                   // not committed: the log's tail is lost
	failedFull                     // not committed: the disk is full, which won't pass in a moment
	failedUnknown                  // the connection is gone, and with it the answer
)

// SQLSTATEs that are looked at by themselves.
const (
	codeLogBehind = "AN001" // append_v2 raises it for a lost tail
	codeDiskFull  = "53100"
)

// judge reads an error. Only the server's own ERROR says that nothing was committed; lib/pq turns a FATAL into
// driver.ErrBadConn, as it does with a connection that ended.
func judge(err error) failure {
	e, ok := errors.AsType[*pq.Error](err)
	if !ok || e.Severity != severityError {
		return failedUnknown
	}
	if e.Code == codeLogBehind {
		return failedBehind
	}
	if e.Code == codeDiskFull {
		return failedFull
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "22", "23", "54":
		if e.Routine == "PreCommit_Notify" {
			return failedTransient // the server's NOTIFY queue is full: nothing that the batch could help
		}
		return failedRefused
	case "40", "53", "55", "57":
		return failedTransient
	}
	return failedSession
}
