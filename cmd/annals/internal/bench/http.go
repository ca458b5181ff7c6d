package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jmoiron/sqlx"
)

// httpInsert is the narrow row of the comparison: an event's payload and stream, in a transaction of its own.
const (
	httpTable = `CREATE TABLE bench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
	stream text NOT NULL, version bigint NOT NULL, data json NOT NULL)`
	httpInsert = `INSERT INTO bench_rows (stream, version, data) VALUES ($1, $2, $3)`
)

// runHTTP sends whole commands to servers of their own processes: JSON in, decide, append with fsync, audit log applied,
// JSON out.
func runHTTP(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	if err := d.fill(ctx, o.Log); err != nil {
		return Report{}, err
	}
	if _, err := d.owner.ExecContext(ctx, httpTable+`; `+plainTable); err != nil {
		return Report{}, err
	}
	n := o.Callers[len(o.Callers)-1]
	servers, stop, err := startServers(ctx, o, d.dsn, roomy(n), nil)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return Report{}, err
	}
	sizes := *o
	sizes.Callers = []int{n}
	connections, hangUp, err := connect(ctx, servers, o.Tenants, n)
	if err != nil {
		return Report{}, err
	}
	defer hangUp()
	calls := make([]func() error, len(connections))
	for i, c := range connections {
		calls[i] = c.command
	}
	ways := []way{
		{name: waySequencer, each: 1, start: func(context.Context, int) ([]func() error, func() error, error) {
			return calls, nil, nil
		}},
		plainInserts(d),
	}
	notes := []string{fmt.Sprintf("%d server(s) with every subscriber; program CPU is the servers', generator CPU this process's", o.Servers)}
	if program, err := pgbenchProgram(ctx, d); err != nil {
		notes = append(notes, fmt.Sprintf("pgbench is left out: %v", err))
	} else {
		ways = append(ways, inserters(d, program))
	}
	t, err := compare(ctx, &sizes, newMeter(ctx, d.owner, servers...), ways)
	if err != nil {
		return Report{}, err
	}
	rows := t.rows()
	for i := range rows {
		rows[i].DatabaseBy = t.tallies[t.order[i]].databaseBy()
	}
	return Report{Unit: "commands", Rows: rows, Ratios: httpRatios(t, n), Notes: notes}, nil
}

// httpRatios compares commands with inserts of a narrow row, and with pgbench's of a row like an event's; the aim is for
// those, at 128.
func httpRatios(t *table, n int) []Ratio {
	commands, aim := t.rate(waySequencer, n), 0.0
	if n == 128 {
		aim = 1
	}
	narrow := ratio(fmt.Sprintf("%d connections: commands ÷ inserts of a narrow row", n), commands/t.rate(wayInsert, n), 0)
	if n == 128 {
		narrow = narrow.notBelow(0.2)
	}
	inserts := t.rate(wayPgbench, n)
	if inserts == 0 {
		return []Ratio{narrow}
	}
	return []Ratio{narrow, ratio(fmt.Sprintf("%d connections: commands ÷ pgbench's single-row INSERTs", n), commands/inserts, aim)}
}

func plainInserts(d *database) way {
	return way{name: wayInsert, each: 1, start: func(ctx context.Context, callers int) ([]func() error, func() error, error) {
		return onConnections(ctx, d, callers, func(_ int, conn *sqlx.Conn) (func() error, error) {
			stmt, err := conn.PreparexContext(ctx, httpInsert)
			if err != nil {
				return nil, err
			}
			stream, version := newID().String(), int64(0)
			data := []byte(`{"quantity":1,"available_after":2,"reason":"delivery 7"}`)
			return func() error {
				version++
				_, err := stmt.ExecContext(ctx, stream, version, data)
				return err
			}, nil
		})
	}}
}

// command is a call that fails unless its answer is a 200 that waited for the audit log, or one that says to come back later.
func (c *connection) command() error {
	switch r, err := c.call(); {
	case err != nil:
		return err
	case r.status == http.StatusServiceUnavailable, r.status == http.StatusTooManyRequests:
		return errLater
	case r.status != http.StatusOK:
		return fmt.Errorf("a command was answered with status %d", r.status)
	case r.pending:
		return errors.New("an answer didn't wait for the audit log")
	default:
		return nil
	}
}
