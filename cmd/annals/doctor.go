package main

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/spf13/cobra"

	"annals/eventstore"
	"annals/migrations"
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
	doctorConnectionShare = 0.9
	doctorFreeShare       = 0.1
	doctorUnsigned        = 100_000
	doctorRotation        = time.Minute // that a rotation of the signing key may take
	doctorLogSpan         = 10_000_000  // positions, from the head back, that are looked through for holes
)

func (c *cli) doctorCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong, and who blocks whom",
		Long: `Looks at the database, its version, durability, disk and roles, the secret of the subject keys, the clocks, the
migrations, the log and its seals, every projection and what blocks it, and transactions that have been open for long.
Exits with 1 when something is wrong.`,
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
	d, err := c.openExisting(ctx)
	if err != nil {
		x.add("database", false, "%v", err)
		return x.findings
	}
	defer func() {
		if err := d.close(); err != nil {
			fmt.Fprintf(c.stderr, "annals: %v\n", err)
		}
	}()
	owner, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, 1, "annals doctor")
	if err != nil {
		x.add("database", false, "%v", err)
		return x.findings
	}
	defer owner.Close()
	x.db = owner.DB
	if err := owner.PingContext(ctx); err != nil {
		x.add("database", false, "can't reach %s: %v", eventstore.MaskSecrets(d.dsn), err)
		return x.findings
	}
	// It is one connection: who holds a lock that the doctor wants is named, rather than waited for.
	if _, err := owner.ExecContext(ctx, `SET lock_timeout = '2s'`); err != nil {
		x.failed("database", err)
		return x.findings
	}
	x.add("database", true, "reachable at %s", eventstore.MaskSecrets(d.dsn))
	x.server(ctx)
	if err := eventstore.CheckSessions(ctx, d.dsn, "annals doctor"); err != nil {
		x.add("sessions", false, "%v", err)
	} else {
		x.add("sessions", true, "each connection has a session of its own")
	}
	x.clock(ctx)
	if !x.migrations(ctx) {
		return x.findings
	}
	x.roles(ctx)
	x.subjectKeys(ctx, c.keySource(d.dsn))
	x.log(ctx)
	x.appendOnly(ctx)
	x.sealing(ctx)
	x.projections(ctx)
	x.blocked(ctx)
	x.transactions(ctx)
	x.disk(ctx)
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
	x.add("server", supportedServer(number), "PostgreSQL %s; Annals needs 14 or newer", version)
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
	var missing []string
	err := x.db.QueryRowContext(ctx, `SELECT array(SELECT w FROM unnest($1::text[]) w WHERE NOT EXISTS (SELECT FROM pg_roles
			WHERE rolname = w AND pg_has_role(current_user, oid, 'MEMBER')) ORDER BY w)`,
		pq.Array([]string{string(eventstore.RoleApp), string(eventstore.RoleQuery)})).Scan(pq.Array(&missing))
	switch {
	case err != nil:
		x.failed("roles", err)
	case len(missing) == 0:
		x.add("roles", true, "annals_app and annals_query fence off history and clients")
	default:
		x.add("roles", false, "missing or not granted: %s; the program works as the owner, without the second fence between clients",
			strings.Join(missing, ", "))
	}
}
