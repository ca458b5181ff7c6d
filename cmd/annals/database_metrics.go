package main

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"annals/eventstore"
)

func versionLabel(version int) string { return strconv.Itoa(version) }

var (
	descBatchRequests = describe("append_batch_requests", "Appends in a batch, which is one statement and one commit.")
	descBatchEvents   = describe("append_batch_events", "Events in a batch.")
	descGather        = describe("append_gather_seconds", "Time that a batch waited for callers who were expected back.")
	descWait          = describe("append_wait_seconds", "Time that an append stood in the queue until a batch took it.")
	descStatement     = describe("append_statement_seconds", "Time of an attempt to write a batch, commit included.")
	descFailures      = describe("append_failures_total", "Attempts to write a batch that failed, by what that meant for it.", "kind")
	descOverloaded    = describe("append_overloaded_total", "Appends refused because the queue was full.")
	descReconnects    = describe("append_reconnects_total", "Times that a lost connection of the sequencer was replaced.")
	descWaiting       = describe("append_queue", "Appends that wait now.")

	descDatabaseSize = describe("database_bytes", "Size of the database on its disk.")
	descDiskFree     = describe("database_disk_free_bytes", "Free space of the database's disk, when it is on this machine.")
	descDiskTotal    = describe("database_disk_bytes", "Size of the database's disk, when it is on this machine.")
	descStandbys     = describe("replication_standbys", "Standby servers and backups that receive the write-ahead log.")
	descStandbyLag   = describe("replication_lag_bytes", "Write-ahead log that the furthest standby hasn't applied; 0 without the right to see it.")
	descSynchronous  = describe("replication_synchronous", "1 when commits wait for a synchronous standby.")
)

func describeAppends(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBatchRequests, descBatchEvents, descGather, descWait, descStatement, descFailures, descOverloaded, descReconnects,
		descWaiting,
	} {
		descs <- d
	}
}

func describeDatabase(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descDatabaseSize, descDiskFree, descDiskTotal, descStandbys, descStandbyLag, descSynchronous,
	} {
		descs <- d
	}
}

func collectAppends(s eventstore.SequencerStats, out sink) {
	out.distribution(descBatchRequests, s.Requests)
	out.distribution(descBatchEvents, s.Events)
	out.distribution(descGather, s.Gather)
	out.distribution(descWait, s.Wait)
	out.distribution(descStatement, s.Statement)
	for kind, n := range s.Failures {
		out.counter(descFailures, float64(n), kind)
	}
	out.counter(descOverloaded, float64(s.Overloaded))
	out.counter(descReconnects, float64(s.Reconnects))
	out.gauge(descWaiting, float64(s.Queued))
}

// distribution gives a histogram. Prometheus' buckets are cumulative.
func (s sink) distribution(d *prometheus.Desc, seen eventstore.Distribution) {
	buckets, total := make(map[float64]uint64, len(seen.Bounds)), uint64(0)
	for i, n := range seen.Counts {
		total += uint64(n)
		if i < len(seen.Bounds) {
			buckets[seen.Bounds[i]] = total
		}
	}
	s <- prometheus.MustNewConstHistogram(d, total, seen.Sum, buckets)
}

// collectDatabase looks at the database's size, disk and standbys. What it may not see is left out.
func collectDatabase(ctx context.Context, db *sql.DB, out sink) {
	var size, standbys, lag float64
	var synchronous bool
	err := db.QueryRowContext(ctx, `SELECT pg_database_size(current_database()), count(r.pid),
		coalesce(max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, r.replay_lsn)), 0),
		current_setting('synchronous_standby_names') <> ''
		FROM (SELECT) one LEFT JOIN pg_stat_replication r ON true`).Scan(&size, &standbys, &lag, &synchronous)
	if err != nil {
		return
	}
	out.gauge(descDatabaseSize, size)
	out.gauge(descStandbys, standbys)
	out.gauge(descStandbyLag, max(lag, 0))
	waits := 0.0
	if synchronous {
		waits = 1
	}
	out.gauge(descSynchronous, waits)
	if d, ok, err := diskOf(ctx, db); err == nil && ok {
		out.gauge(descDiskFree, float64(d.free))
		out.gauge(descDiskTotal, float64(d.total))
	}
}
