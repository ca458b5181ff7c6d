package main

import (
	"context"
	"database/sql"

	"github.com/prometheus/client_golang/prometheus"

	"annals/eventstore"
	"annals/projections"
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("annals_"+name, help, labels, nil)
}

var (
	descHead       = describe("log_head_position", "Last position of the log.")
	descInfo       = describe("subscriber_info", "1 for each subscriber that this server knows.", "subscriber", "kind", "version")
	descPosition   = describe("subscriber_position", "Position up to which a subscriber has applied the log.", "subscriber")
	descLag        = describe("subscriber_lag_events", "Positions that a subscriber is behind the head.", "subscriber")
	descLagSeconds = describe("subscriber_lag_seconds", "Age of the first event that a subscriber hasn't applied.", "subscriber")
	descStatus     = describe("subscriber_status", "1 for the status that a subscriber has.", "subscriber", "status")
	descAttempts   = describe("subscriber_failure_attempts", "Times that the event a subscriber stopped at was tried.", "subscriber")
	descCommands   = describe("commands_total", "Commands by outcome.", "outcome")
	descConflicts  = describe("command_conflicts_total", "Appends that found a stream moved; each was decided again.")
	descOutdated   = describe("command_outdated_total", "Refusals judged on outdated state; each was decided again.")
	descQueued     = describe("command_queued_total", "Times that a command waited its turn on a hot stream.")
	descLoads      = describe("state_loads_total", "Loads of aggregates, by what served them.", "from")
	descCached     = describe("state_cache_entries", "Aggregates in the cache.")
	descCacheBytes = describe("state_cache_bytes", "Estimated memory of the cache.")
	descSnapshots  = describe("snapshots_total", "Snapshots by outcome of writing them.", "outcome")
	descPool       = describe("pool_connections", "Open database connections.", "pool", "state")
	descPoolMax    = describe("pool_connections_max", "Database connections that a pool may open.", "pool")
	descPoolWaits  = describe("pool_waits_total", "Times that somebody waited for a database connection.", "pool")
	descPoolWaited = describe("pool_wait_seconds_total", "Time that was waited for database connections.", "pool")
	descRebuild    = describe("rebuild_position", "Position that a running rebuild has reached.", "subscriber")
	descRebuildTo  = describe("rebuild_head_position", "Position that a running rebuild goes to.", "subscriber")
	descRebuildPer = describe("rebuild_events_per_second", "Positions that a running rebuild passes in a second.", "subscriber")
)

// collector reads the node's state when Prometheus asks. What the database doesn't answer in time is left out.
type collector struct{ node *node }

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descHead, descInfo, descPosition, descLag, descLagSeconds, descStatus, descAttempts,
		descCommands, descConflicts, descOutdated, descQueued,
		descLoads, descCached, descCacheBytes, descSnapshots,
		descPool, descPoolMax, descPoolWaits, descPoolWaited, descRebuild, descRebuildTo, descRebuildPer,
	} {
		descs <- d
	}
	describeAppends(descs)
	describeDatabase(descs)
}

// sink takes the values of one collection.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s sink) counter(d *prometheus.Desc, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	out := sink(metrics)
	ctx, cancel := context.WithTimeout(context.Background(), readinessTimeout)
	defer cancel()
	c.subscribers(ctx, out)
	collectDatabase(ctx, c.node.ownerDB, out)
	collectCommands(c.node.store.Runner.Stats(), out)
	collectLoads(c.node.store.States.CacheStats(), out)
	collectAppends(c.node.store.Sequencer.Stats(), out)
	collectPool("commands", c.node.store.Commands.DB, out)
	collectPool("queries", c.node.store.Queries.DB, out)
	for _, p := range c.node.pools {
		collectPool(p.name, p.DB.DB, out)
	}
	for _, p := range c.node.rebuilds.Progress() {
		out.gauge(descRebuild, float64(p.Position), p.Name)
		out.gauge(descRebuildTo, float64(p.Head), p.Name)
		out.gauge(descRebuildPer, p.EventsPerSecond, p.Name)
	}
}

func (c collector) subscribers(ctx context.Context, out sink) {
	states, err := c.node.group.Status(ctx)
	if err != nil {
		return
	}
	for i, s := range states {
		if i == 0 {
			out.gauge(descHead, float64(s.Head))
		}
		out.gauge(descInfo, 1, s.Name, string(s.Kind), versionLabel(s.Version))
		out.gauge(descPosition, float64(s.Position), s.Name)
		out.gauge(descLag, float64(s.Lag), s.Name)
		out.gauge(descLagSeconds, s.LagSeconds, s.Name)
		attempts := 0
		if s.Failure != nil {
			attempts = s.Failure.Attempts
		}
		out.gauge(descAttempts, float64(attempts), s.Name)
		for _, status := range []projections.Status{
			projections.StatusRunning, projections.StatusPaused, projections.StatusFailed, projections.StatusRebuilding,
		} {
			value := 0.0
			if s.Status == status {
				value = 1
			}
			out.gauge(descStatus, value, s.Name, string(status))
		}
	}
}

func collectCommands(s eventstore.RunnerStats, out sink) {
	out.counter(descCommands, float64(s.Appended), outcomeNames[outcomeAppended])
	out.counter(descCommands, float64(s.Unchanged), outcomeNames[outcomeUnchanged])
	out.counter(descCommands, float64(s.Refused), outcomeNames[outcomeRefused])
	out.counter(descCommands, float64(s.Replayed), outcomeNames[outcomeReplayed])
	out.counter(descConflicts, float64(s.Conflicts))
	out.counter(descOutdated, float64(s.Outdated))
	out.counter(descQueued, float64(s.Queued))
}

func collectLoads(s eventstore.CacheStats, out sink) {
	out.counter(descLoads, float64(s.Hits), "cache")
	out.counter(descLoads, float64(s.Refreshes), "cache_and_log")
	out.counter(descLoads, float64(s.Misses), "log")
	out.gauge(descCached, float64(s.Entries))
	out.gauge(descCacheBytes, float64(s.Bytes))
	out.counter(descSnapshots, float64(s.SnapshotsWritten), "written")
	out.counter(descSnapshots, float64(s.SnapshotsFailed), "failed")
}

func collectPool(name string, db *sql.DB, out sink) {
	s := db.Stats()
	out.gauge(descPool, float64(s.InUse), name, "in_use")
	out.gauge(descPool, float64(s.Idle), name, "idle")
	out.gauge(descPoolMax, float64(s.MaxOpenConnections), name)
	out.counter(descPoolWaits, float64(s.WaitCount), name)
	out.counter(descPoolWaited, s.WaitDuration.Seconds(), name)
}
