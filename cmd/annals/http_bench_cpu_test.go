package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/eventstore"
)

// cpuMeter adds up the CPU time of this process and of the database's processes, by what they do: on a machine shared
// with other work it says more of a change than the clock does. It needs /proc, and measures nothing elsewhere.
type cpuMeter struct {
	db    *sqlx.DB
	begun map[int]time.Duration // by process
	total map[string]time.Duration
}

const thisProcess = "this process"

func newCPUMeter(b *testing.B, dsn string) *cpuMeter {
	b.Helper()
	db, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, 1, "annals meter")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &cpuMeter{db: db, total: make(map[string]time.Duration)}
}

// start begins a measurement, which stop adds to the total.
func (m *cpuMeter) start(b *testing.B) {
	b.Helper()
	m.begun = make(map[int]time.Duration)
	for pid := range m.processes(b) {
		m.begun[pid] = cpuTime(pid)
	}
}

func (m *cpuMeter) stop(b *testing.B) {
	b.Helper()
	for pid, name := range m.processes(b) {
		m.total[name] += cpuTime(pid) - m.begun[pid]
	}
}

// processes names the processes that take part.
func (m *cpuMeter) processes(b *testing.B) map[int]string {
	b.Helper()
	rows, err := m.db.QueryContext(context.Background(),
		`SELECT pid, coalesce(nullif(application_name, ''), backend_type) FROM pg_stat_activity WHERE pid <> pg_backend_pid()`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	found := map[int]string{os.Getpid(): thisProcess}
	for rows.Next() {
		var pid int
		var name string
		if err := rows.Scan(&pid, &name); err != nil {
			b.Fatal(err)
		}
		found[pid] = name
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	return found
}

// report gives the CPU time for each of n pieces of work, of this process and of the database, and logs it by what the
// database's processes do.
func (m *cpuMeter) report(b *testing.B, n int, unit string) {
	b.Helper()
	var database time.Duration
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	names := slices.SortedFunc(maps.Keys(m.total), func(x, y string) int { return cmp.Compare(m.total[y], m.total[x]) })
	for _, name := range names {
		if name != thisProcess {
			database += m.total[name]
		}
		if took := each(m.total[name]); took >= 1 && n > 1000 {
			b.Logf("%7.1f µs of CPU/%s  %s", took, unit, name)
		}
	}
	b.ReportMetric(each(m.total[thisProcess]), "process-µs/"+unit)
	b.ReportMetric(each(database), "postgres-µs/"+unit)
}

// cpuTime is what a process has used so far, 0 when that can't be found out.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // the name before may hold anything
	fields := bytes.Fields(rest)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseInt(string(fields[user]), 10, 64)
	s, _ := strconv.ParseInt(string(fields[system]), 10, 64)
	return time.Duration(u+s) * tick
}
