package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"annals/eventstore"
	"annals/migrations"
	"annals/projections"
)

// finding is one thing the doctor looked at.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Limits past which the doctor calls something wrong.
const (
	doctorClockSkew       = 2 * time.Second
	doctorTransactionAge  = time.Minute
	doctorProjectionLag   = 100_000
	doctorMinServer       = 140000
	doctorConnectionShare = 0.9
)

func (c *cli) doctorCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong, and who blocks whom",
		Long: `Looks at the database, its version and roles, the clocks, the migrations, the log, every projection and what blocks it,
and transactions that have been open for long. Exits with 1 when something is wrong.`,
		Example: "  annals doctor\n  annals doctor --database-url postgres://localhost/annals --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			findings := c.examine(cmd)
			if err := list(c.stdout, output, findings, "\tCHECK\tDETAIL", func(f finding) string {
				mark := "ok"
				if !f.OK {
					mark = "WRONG"
				}
				return fmt.Sprintf("%s\t%s\t%s", mark, f.Check, f.Detail)
			}); err != nil {
				return err
			}
			for _, f := range findings {
				if !f.OK {
					return &exitError{code: exitFailed}
				}
			}
			return nil
		},
	}
	output.register(cmd)
	return cmd
}

// examination collects findings on one database.
type examination struct {
	db       *sql.DB
	findings []finding
}

func (x *examination) add(check string, ok bool, format string, args ...any) {
	x.findings = append(x.findings, finding{Check: check, OK: ok, Detail: fmt.Sprintf(format, args...)})
}

// failed notes a check that couldn't be made.
func (x *examination) failed(check string, err error) {
	x.add(check, false, "can't be checked: %v", err)
}

func (c *cli) examine(cmd *cobra.Command) []finding {
	ctx := cmd.Context()
	x := &examination{}
	d, err := c.openDatabase(ctx, quietLogger(c.stderr), false)
	if err != nil {
		x.add("database", false, "%v", err)
		return x.findings
	}
	defer func() {
		if err := d.close(); err != nil {
			fmt.Fprintf(c.stderr, "annals: %v\n", err)
		}
	}()
	owner, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, 2, "annals doctor")
	if err != nil {
		x.add("database", false, "%v", err)
		return x.findings
	}
	defer owner.Close()
	x.db = owner.DB
	if err := owner.PingContext(ctx); err != nil {
		x.add("database", false, "can't reach %s: %v", maskSecrets(d.dsn), err)
		return x.findings
	}
	x.add("database", true, "reachable at %s", maskSecrets(d.dsn))
	x.server(ctx)
	x.clock(ctx)
	if !x.migrations(ctx) {
		return x.findings
	}
	x.roles(ctx)
	x.log(ctx)
	x.projections(ctx)
	x.blocked(ctx)
	x.transactions(ctx)
	return x.findings
}

func (x *examination) server(ctx context.Context) {
	var number, connections, limit int
	var version, fsync, commit, full string
	err := x.db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_setting('max_connections')::int`).
		Scan(&number, &version, &fsync, &commit, &full, &connections, &limit)
	if err != nil {
		x.failed("server", err)
		return
	}
	x.add("server", number >= doctorMinServer, "PostgreSQL %s; Annals needs 14 or newer", version)
	durable := fsync == "on" && full == "on" && commit != "off" && commit != "local"
	x.add("durability", durable, "fsync %s, full_page_writes %s, synchronous_commit %s", fsync, full, commit)
	share := float64(connections) / float64(limit)
	x.add("connections", share < doctorConnectionShare, "%d of %d in use", connections, limit)
}

func (x *examination) clock(ctx context.Context) {
	var theirs time.Time
	before := time.Now()
	if err := x.db.QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&theirs); err != nil {
		x.failed("clock", err)
		return
	}
	after := time.Now()
	skew := theirs.Sub(before.Add(after.Sub(before) / 2))
	x.add("clock", math.Abs(float64(skew)) < float64(doctorClockSkew), "the database's clock is %s off this machine's",
		skew.Abs().Round(time.Millisecond))
}

func (x *examination) migrations(ctx context.Context) bool {
	all, err := migrations.Status(ctx, x.db)
	if err != nil {
		x.failed("migrations", err)
		return false
	}
	applied := 0
	for _, m := range all {
		if m.Applied {
			applied++
		}
	}
	x.add("migrations", applied == len(all), "%d of %d applied", applied, len(all))
	if err := migrations.CheckCompatible(ctx, x.db); err != nil {
		x.add("program", false, "%v", err)
	}
	return applied == len(all)
}

func (x *examination) roles(ctx context.Context) {
	var found int
	err := x.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_roles WHERE rolname IN ('annals_app', 'annals_query')
		AND pg_has_role(current_user, oid, 'MEMBER')`).Scan(&found)
	switch {
	case err != nil:
		x.failed("roles", err)
	case found == 2:
		x.add("roles", true, "annals_app and annals_query fence off history and clients")
	default:
		x.add("roles", false, "annals_app or annals_query is missing or not granted: the program works as the owner, "+
			"without the second fence between clients")
	}
}

func (x *examination) log(ctx context.Context) {
	var head, events int64
	err := x.db.QueryRowContext(ctx, `SELECT coalesce(max(position), 0), coalesce(max(position) - min(position) + 1, 0)
		FROM annals.events`).Scan(&head, &events)
	if err != nil {
		x.failed("log", err)
		return
	}
	x.add("log", head == events, "the head is at position %d", head)
	var enabled bool
	err = x.db.QueryRowContext(ctx, `SELECT coalesce(bool_and(tgenabled IN ('O', 'A')), false) FROM pg_trigger
		WHERE tgrelid = 'annals.events'::regclass AND tgname = 'events_append_only'`).Scan(&enabled)
	switch {
	case err != nil:
		x.failed("append-only", err)
	case !enabled:
		x.add("append-only", false, "the trigger events_append_only on annals.events is missing or disabled: history can be changed")
	default:
		x.add("append-only", true, "changes of recorded events are refused")
	}
}

func (x *examination) projections(ctx context.Context) {
	rows, err := x.db.QueryContext(ctx, `SELECT s.name, s.version, s.kind, s.status, s.position, h.head - s.position, coalesce(s.failure_position, 0), coalesce(s.failure_error, '')
		FROM annals.subscribers s, (SELECT coalesce(max(position), 0) AS head FROM annals.events) h ORDER BY s.name, s.version`)
	if err != nil {
		x.failed("projections", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var name, kind, status, failure string
		var version int
		var position, lag, failedAt int64
		if err := rows.Scan(&name, &version, &kind, &status, &position, &lag, &failedAt, &failure); err != nil {
			x.failed("projections", err)
			return
		}
		check := fmt.Sprintf("%s v%d", name, version)
		switch {
		case lag < 0:
			x.add(check, false, "at position %d, %d above the head: the log lost its tail", position, -lag)
		case status == string(projections.StatusFailed):
			x.add(check, false, "failed at position %d: %s; see 'annals projections failures %s'", failedAt, failure, name)
		case status == string(projections.StatusRunning) && kind == string(projections.KindReadModel) && lag > doctorProjectionLag:
			x.add(check, false, "running, %d events behind: is a server running?", lag)
		default:
			x.add(check, true, "%s at position %d, %d behind", status, position, lag)
		}
	}
	if err := rows.Err(); err != nil {
		x.failed("projections", err)
	}
}

// blocked names sessions that wait for a lock, and who holds it.
func (x *examination) blocked(ctx context.Context) {
	const query = `SELECT a.pid, a.application_name, b.pid, b.application_name, b.state,
		coalesce(extract(epoch FROM clock_timestamp() - b.xact_start), 0)
		FROM pg_stat_activity a, unnest(pg_blocking_pids(a.pid)) AS blocker(pid) JOIN pg_stat_activity b USING (pid)
		WHERE a.datname = current_database() ORDER BY 6 DESC LIMIT 20`
	rows, err := x.db.QueryContext(ctx, query)
	if err != nil {
		x.failed("locks", err)
		return
	}
	defer rows.Close()
	found := false
	for rows.Next() {
		var pid, blocker int
		var app, blockerApp, state string
		var age float64
		if err := rows.Scan(&pid, &app, &blocker, &blockerApp, &state, &age); err != nil {
			x.failed("locks", err)
			return
		}
		// A wait of less than a second is how sequencers of two nodes take turns.
		if age < 1 {
			continue
		}
		found = true
		x.add("locks", false, "%q (pid %d) waits for %q (pid %d, %s), whose transaction is %s old",
			app, pid, blockerApp, blocker, state, seconds(age))
	}
	if err := rows.Err(); err != nil {
		x.failed("locks", err)
	} else if !found {
		x.add("locks", true, "nobody waits for a lock")
	}
}

// transactions names those that have been open for long. They stall nothing here, but keep PostgreSQL from cleaning up.
func (x *examination) transactions(ctx context.Context) {
	var pid int
	var app, state string
	var age float64
	err := x.db.QueryRowContext(ctx, `SELECT pid, application_name, state, extract(epoch FROM clock_timestamp() - xact_start)
		FROM pg_stat_activity WHERE xact_start IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
		ORDER BY xact_start LIMIT 1`).Scan(&pid, &app, &state, &age)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		x.add("transactions", true, "none is open")
	case err != nil:
		x.failed("transactions", err)
	default:
		x.add("transactions", age < doctorTransactionAge.Seconds(), "the oldest is %s old: %q (pid %d, %s)", seconds(age), app, pid, state)
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond)
}
