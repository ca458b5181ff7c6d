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
	descPosition   = describe("subscriber_position", "Position up to which a subscriber has applied the log.", "subscriber")
	descLag        = describe("subscriber_lag_events", "Positions that a subscriber is behind the head.", "subscriber")
	descLagSeconds = describe("subscriber_lag_seconds", "Age of the first event that a subscriber hasn't applied.", "subscriber")
	descStatus     = describe("subscriber_status", "1 for the status that a subscriber has.", "subscriber", "status")
	descCommands   = describe("commands_total", "Commands by outcome.", "outcome")
	descConflicts  = describe("command_conflicts_total", "Appends that found a stream moved; each was decided again.")
	descOutdated   = describe("command_outdated_total", "Refusals judged on outdated state; each was decided again.")
	descQueued     = describe("command_queued_total", "Times that a command waited its turn on a hot stream.")
	descLoads      = describe("state_loads_total", "Loads of aggregates, by what served them.", "from")
	descSnapshots  = describe("snapshots_total", "Snapshots by outcome of writing them.", "outcome")
	descPool       = describe("pool_connections", "Open database connections.", "pool", "state")
	descPoolWaits  = describe("pool_waits_total", "Times that somebody waited for a database connection.", "pool")
	descRebuild    = describe("rebuild_position", "Position that a running rebuild has reached.", "subscriber")
)

// collector reads the node's state when Prometheus asks. What the database doesn't answer in time is left out.
type collector struct{ node *node }

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descHead, descPosition, descLag, descLagSeconds, descStatus, descCommands, descConflicts, descOutdated, descQueued,
		descLoads, descSnapshots, descPool, descPoolWaits, descRebuild,
	} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	c.subscribers(gauge)
	commands(c.node.store.Runner.Stats(), counter)
	loads(c.node.store.States.CacheStats(), counter)
	for name, db := range map[string]*sql.DB{
		"commands": c.node.store.Commands.DB, "queries": c.node.store.Queries.DB,
	} {
		pool(name, db.Stats(), gauge, counter)
	}
	for _, p := range c.node.rebuilds.Progress() {
		gauge(descRebuild, float64(p.Position), p.Name)
	}
}

func (c collector) subscribers(gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), readinessTimeout)
	defer cancel()
	states, err := c.node.group.Status(ctx)
	if err != nil {
		return
	}
	for i, s := range states {
		if i == 0 {
			gauge(descHead, float64(s.Head))
		}
		gauge(descPosition, float64(s.Position), s.Name)
		gauge(descLag, float64(s.Lag), s.Name)
		gauge(descLagSeconds, s.LagSeconds, s.Name)
		for _, status := range []projections.Status{
			projections.StatusRunning, projections.StatusPaused, projections.StatusFailed, projections.StatusRebuilding,
		} {
			value := 0.0
			if s.Status == status {
				value = 1
			}
			gauge(descStatus, value, s.Name, string(status))
		}
	}
}

func commands(s eventstore.RunnerStats, counter func(*prometheus.Desc, int64, ...string)) {
	counter(descCommands, s.Appended, "appended")
	counter(descCommands, s.Unchanged, "unchanged")
	counter(descCommands, s.Refused, "refused")
	counter(descCommands, s.Replayed, "replayed")
	counter(descConflicts, s.Conflicts)
	counter(descOutdated, s.Outdated)
	counter(descQueued, s.Queued)
}

func loads(s eventstore.CacheStats, counter func(*prometheus.Desc, int64, ...string)) {
	counter(descLoads, s.Hits, "cache")
	counter(descLoads, s.Refreshes, "cache_and_log")
	counter(descLoads, s.Misses, "log")
	counter(descSnapshots, s.SnapshotsWritten, "written")
	counter(descSnapshots, s.SnapshotsFailed, "failed")
}

func pool(
	name string, s sql.DBStats, gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, int64, ...string),
) {
	gauge(descPool, float64(s.InUse), name, "in_use")
	gauge(descPool, float64(s.Idle), name, "idle")
	counter(descPoolWaits, s.WaitCount, name)
}
