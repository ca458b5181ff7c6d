package main

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// subjectKeys looks whether this machine has the secret that opens the keys of personal text, as its servers must.
func (x *examination) subjectKeys(ctx context.Context, source keySource) {
	keys, err := source.open(ctx, false)
	switch {
	case err != nil:
		x.add("subject keys", false, "%v", err)
	case keys == nil:
		x.add("subject keys", true, "there are none yet")
	default:
		x.add("subject keys", true, "the secret here opens them")
		if err := keys.Close(); err != nil {
			x.failed("subject keys", err)
		}
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

func (x *examination) disk(ctx context.Context) {
	d, here, err := diskOf(ctx, x.db)
	switch {
	case err != nil:
		x.failed("disk", err)
	case !here:
		x.add("disk", true, "the database's disk isn't on this machine, or it doesn't tell where: watch it there")
	default:
		x.add("disk", d.roomy(), "%s free of %s at %s", gigabytes(d.free), gigabytes(d.total), d.dir)
	}
}
