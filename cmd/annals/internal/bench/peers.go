package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jmoiron/sqlx"

	"annals/eventstore"
)

// Names of the ways that are other people's programs.
const (
	wayPgbench   = "pgbench"
	wayWatermill = "watermill-sql"
	wayMessageDB = "message-db"
	wayEmmett    = "emmett"
)

// runPeers measures appends beside what others make of the same PostgreSQL: pgbench's single-row INSERTs, which check no
// version, watermill-sql's publisher, which doesn't either, and two event stores, message-db in one category and Emmett.
func runPeers(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	sequencer, closeLog, err := openLog(ctx, d)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	ways := []way{appends(o, sequencer), publishers(d)}
	var notes []string
	if program, err := pgbenchProgram(ctx, d); err != nil {
		notes = append(notes, fmt.Sprintf("pgbench is left out: %v", err))
	} else {
		ways = append(ways, inserters(d, program))
	}
	if o.Peers == "" {
		notes = append(notes, "message-db and Emmett are left out: make bench-peers installs them by npm")
	} else {
		if err := installMessageDB(ctx, d, o.Peers); err != nil {
			return Report{}, err
		}
		emmett, stop, err := startEmmett(ctx, d, o.Peers)
		if err != nil {
			return Report{}, err
		}
		defer stop()
		ways = append(ways, messageWriters(d), emmett.way())
	}
	t, err := compare(ctx, o, newMeter(ctx, d.owner), ways)
	if err != nil {
		return Report{}, err
	}
	return Report{Unit: "events", Rows: t.rows(), Ratios: peerRatios(o, t), Notes: notes}, nil
}

// peerRatios are over the last number of callers; the aims are for 128, and for 32 as pgbench's clients.
func peerRatios(o *Options, t *table) (ratios []Ratio) {
	if insert := t.rate(wayPgbench, 32); insert > 0 {
		ratios = append(ratios, ratio("32 callers: annals ÷ pgbench's single-row INSERTs", t.rate(waySequencer, 32)/insert, 1.8))
	}
	last := o.Callers[len(o.Callers)-1]
	annals := t.rate(waySequencer, last)
	for _, peer := range []struct {
		way, name string
		rate, aim float64
	}{
		{wayPgbench, "pgbench's best rate of single-row INSERTs", t.best(wayPgbench), 3},
		{wayWatermill, "watermill-sql's publisher", t.rate(wayWatermill, last), 4},
		{wayMessageDB, "message-db in one category", t.rate(wayMessageDB, last), 20},
		{wayEmmett, "Emmett", t.rate(wayEmmett, last), 20},
	} {
		if peer.rate == 0 {
			continue
		}
		if last != 128 {
			peer.aim = 0
		}
		ratios = append(ratios, ratio(fmt.Sprintf("%d callers: annals ÷ %s", last, peer.name), annals/peer.rate, peer.aim))
	}
	return ratios
}

// publishers publish one message at a time, each from a goroutine, over as many connections.
func publishers(d *database) way {
	return way{name: wayWatermill, each: 1, start: func(ctx context.Context, callers int) ([]func() error, func() error, error) {
		pool, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, callers, "annals bench")
		if err != nil {
			return nil, nil, err
		}
		stop := pool.Close
		if err := warm(ctx, pool, callers); err != nil {
			return nil, stop, err
		}
		publisher, err := wsql.NewPublisher(wsql.BeginnerFromStdSQL(pool.DB), wsql.PublisherConfig{
			SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, AutoInitializeSchema: true,
		}, nil)
		if err != nil {
			return nil, stop, err
		}
		calls := make([]func() error, callers)
		for i := range calls {
			w := &writer{client: "bench"}
			calls[i] = func() error {
				e := w.request().Events[0]
				msg := message.NewMessage(e.EventID.String(), e.Data)
				for name, value := range metadataOf(w.client, &e) {
					msg.Metadata.Set(name, value)
				}
				return publisher.Publish("peers", msg)
			}
		}
		return calls, stop, nil
	}}
}

// warm opens a pool's connections, which isn't part of the measurement.
func warm(ctx context.Context, pool *sqlx.DB, connections int) (err error) {
	pool.SetMaxIdleConns(connections)
	for range connections {
		conn, failed := pool.Connx(ctx)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
	}
	return nil
}

// metadataOf is what an event's columns hold beside its payload, for stores that have no such columns.
func metadataOf(client string, e *eventstore.NewEvent) map[string]string {
	return map[string]string{
		"type": e.EventType, "stream": e.AggregateID.String(), "version": strconv.FormatInt(e.AggregateVersion, 10), "client": client,
		"actor": e.ActorID, "occurred_at": e.OccurredAt.Format(time.RFC3339Nano), "correlation": e.CorrelationID,
		"causation": e.CausationID, "request": e.RequestID,
	}
}

// foreignURL is the database's URL without what only lib/pq understands.
func (d *database) foreignURL() (string, error) {
	u, err := url.Parse(d.dsn)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Del("binary_parameters")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// installMessageDB creates message-db's schema as its install.sh does, without its role.
func installMessageDB(ctx context.Context, d *database, dir string) error {
	root := filepath.Join(dir, "node_modules", "@eventide", "message-db", "database")
	var files []string
	for _, part := range []string{"schema", "extensions", "tables", "types", "functions", "indexes"} {
		found, err := filepath.Glob(filepath.Join(root, part, "*.sql"))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("message-db isn't installed in %s: run npm ci there (%v)", dir, errors.Join(err, os.ErrNotExist))
		}
		files = append(files, found...)
	}
	conn, err := d.owner.Connx(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := useMessageDB(ctx, conn); err != nil {
		return err
	}
	// Functions name each other, and are created in any order.
	if _, err := conn.ExecContext(ctx, `SET check_function_bodies = off`); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("install message-db: %s: %w", filepath.Base(file), err)
		}
	}
	_, err = conn.ExecContext(ctx, `RESET ALL`)
	return err
}

func useMessageDB(ctx context.Context, conn *sqlx.Conn) error {
	_, err := conn.ExecContext(ctx, `SET search_path = message_store, public`)
	return err
}

// messageWriters call message-db's function, each on a connection of its own.
func messageWriters(d *database) way {
	return way{name: wayMessageDB, each: 1, start: func(ctx context.Context, callers int) ([]func() error, func() error, error) {
		return onConnections(ctx, d, callers, func(i int, conn *sqlx.Conn) (func() error, error) {
			if err := useMessageDB(ctx, conn); err != nil {
				return nil, err
			}
			stmt, err := conn.PreparexContext(ctx,
				`SELECT write_message($1::varchar, $2::varchar, $3::varchar, $4::text::jsonb, $5::text::jsonb, $6::bigint)`)
			if err != nil {
				return nil, err
			}
			w := &writer{client: "bench"}
			return func() error {
				e := w.request().Events[0]
				metadata, err := json.Marshal(metadataOf(w.client, &e))
				if err != nil {
					return err
				}
				const first = 2 // our versions begin at 1, which expects 0; theirs at 0, which expects -1
				_, err = stmt.ExecContext(ctx, e.EventID.String(), "product-"+e.AggregateID.String(), e.EventType, string(e.Data),
					string(metadata), e.AggregateVersion-first)
				return err
			}, nil
		})
	}}
}

// emmett is a process of Node.js in which callers append to Emmett's store.
type emmett struct {
	process *os.Process
	in      io.Writer
	out     *bufio.Scanner
}

// startEmmett runs emmett.mjs in dir, and lets it work for a moment: its code is compiled as it goes.
func startEmmett(ctx context.Context, d *database, dir string) (_ *emmett, stop func(), err error) {
	target, err := d.foreignURL()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "emmett.mjs"), target)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start Emmett: %w", err)
	}
	e := &emmett{process: cmd.Process, in: in, out: bufio.NewScanner(out)}
	e.out.Buffer(nil, 64<<20)
	stop = func() { in.Close(); _ = cmd.Wait() }
	if _, err := e.append(64, 2*time.Second, newHistogramTally()); err != nil {
		stop()
		return nil, nil, err
	}
	return e, stop, nil
}

func newHistogramTally() *tally { return &tally{latency: newHistogram()} }

func (e *emmett) way() way {
	return way{name: wayEmmett, each: 1, run: func(_ context.Context, callers int, span time.Duration, into *tally) (spell, error) {
		return e.append(callers, span, into)
	}}
}

func (e *emmett) append(callers int, span time.Duration, into *tally) (spell, error) {
	before := readStat(e.process.Pid).cpu
	if _, err := fmt.Fprintf(e.in, `{"callers":%d,"milliseconds":%d}`+"\n", callers, span.Milliseconds()); err != nil {
		return spell{}, fmt.Errorf("emmett: %w", err)
	}
	if !e.out.Scan() {
		return spell{}, fmt.Errorf("emmett ended: %w", errors.Join(e.out.Err(), io.ErrUnexpectedEOF))
	}
	var answer struct {
		Took      int64   `json:"took"`
		Latencies []int64 `json:"latencies"`
	}
	if err := json.Unmarshal(e.out.Bytes(), &answer); err != nil {
		return spell{}, fmt.Errorf("emmett: %w", err)
	}
	for _, latency := range answer.Latencies {
		_ = into.latency.RecordValue(min(latency, maxLatency))
	}
	return spell{
		done: int64(len(answer.Latencies)), took: time.Duration(answer.Took) * time.Microsecond,
		cpu: readStat(e.process.Pid).cpu - before,
	}, nil
}
