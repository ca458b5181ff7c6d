package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// cost is what a piece of work took.
type cost struct {
	program  time.Duration // CPU time of the program
	self     time.Duration // CPU time of this process, where the program is another one
	database time.Duration
	allocs   uint64
	wal      int64
	// byName splits database by what its processes do.
	byName map[string]time.Duration
}

func (c *cost) add(o cost) {
	c.program += o.program
	c.self += o.self
	c.database += o.database
	c.allocs += o.allocs
	c.wal += o.wal
	if c.byName == nil {
		c.byName = make(map[string]time.Duration)
	}
	for name, took := range o.byName {
		c.byName[name] += took
	}
}

// meter reads what processes have used so far. CPU times need /proc, and a database on this machine; else they are 0.
type meter struct {
	db         *sqlx.DB
	postmaster int
	servers    []*server // the program under test; empty: this process
}

func newMeter(ctx context.Context, db *sqlx.DB, servers ...*server) *meter {
	m := &meter{db: db, servers: servers}
	var local bool
	var backend int
	err := db.QueryRowContext(ctx, `SELECT inet_server_addr() IS NULL OR host(inet_server_addr()) = host(inet_client_addr()),
		pg_backend_pid()`).Scan(&local, &backend)
	if err == nil && local {
		m.postmaster = readStat(backend).parent
	}
	return m
}

// read gives the totals so far.
func (m *meter) read(ctx context.Context) (cost, error) {
	var c cost
	own := readStat(os.Getpid()).cpu
	if len(m.servers) == 0 {
		c.program = own
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		c.allocs = mem.Mallocs
	} else {
		c.self = own
		for _, s := range m.servers {
			c.program += readStat(s.cmd.Process.Pid).cpu
			allocs, err := metric(ctx, s.address, "go_memstats_mallocs_total")
			if err != nil {
				return c, err
			}
			c.allocs += uint64(allocs)
		}
	}
	c.database = m.databaseCPU()
	err := m.db.QueryRowContext(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&c.wal)
	if err != nil {
		return c, fmt.Errorf("read the position of the write-ahead log: %w", err)
	}
	return c, nil
}

// during measures work.
func (m *meter) during(ctx context.Context, work func() error) (cost, error) {
	running, err := m.backends(ctx)
	if err != nil {
		return cost{}, err
	}
	before, err := m.read(ctx)
	if err != nil {
		return cost{}, err
	}
	if err := work(); err != nil {
		return cost{}, err
	}
	after, err := m.read(ctx)
	if err != nil {
		return cost{}, err
	}
	backends, err := m.backends(ctx)
	return cost{
		byName:  split(running, backends, after.database-before.database),
		program: after.program - before.program, self: after.self - before.self, database: after.database - before.database,
		allocs: after.allocs - before.allocs, wal: after.wal - before.wal,
	}, err
}

// backend is a process of the database: what it does, by the name its client gave itself or else its kind, and what CPU time
// it has used so far.
type backend struct {
	name string
	cpu  time.Duration
}

// backends lists those that run, by process; none where CPU times can't be had.
func (m *meter) backends(ctx context.Context) (map[int]backend, error) {
	if m.postmaster == 0 {
		return nil, nil
	}
	rows, err := m.db.QueryContext(ctx, `SELECT pid, coalesce(nullif(application_name, ''), backend_type, 'unknown') FROM pg_stat_activity`)
	if err != nil {
		return nil, fmt.Errorf("list the processes of the database: %w", err)
	}
	defer rows.Close()
	all := make(map[int]backend)
	for rows.Next() {
		var pid int
		var b backend
		if err := rows.Scan(&pid, &b.name); err != nil {
			return nil, fmt.Errorf("list the processes of the database: %w", err)
		}
		b.cpu = exact(pid, readStat(pid).cpu)
		all[pid] = b
	}
	return all, rows.Err()
}

// restOfDatabase is the name for the CPU time of processes that ended while it was measured, and of the postmaster.
const restOfDatabase = "postmaster and ended processes"

// split gives the parts of a total by name, from what runs before and after. A process that began in between counts from
// its beginning.
func split(before, after map[int]backend, total time.Duration) map[string]time.Duration {
	if len(after) == 0 {
		return nil
	}
	parts := make(map[string]time.Duration)
	rest := total
	for pid, now := range after {
		used := now.cpu
		if then, ok := before[pid]; ok && then.cpu <= now.cpu { // else the number was given to a new process
			used -= then.cpu
		}
		parts[now.name] += used
		rest -= used
	}
	if rest > 0 { // less than nothing is a rounding
		parts[restOfDatabase] = rest
	}
	return parts
}

// settle waits until the server has no more processes than so many and is at rest, for two seconds at most: what is left to do for connections that were closed
// (a hundred processes that end take a fifth of a second) isn't the next way's.
func (m *meter) settle(processes int) {
	if m.postmaster == 0 {
		return
	}
	const look, rest = 50 * time.Millisecond, 5 * time.Millisecond
	for range 40 {
		before := m.databaseCPU()
		time.Sleep(look)
		if m.databaseCPU()-before < rest && len(childrenOf(m.postmaster)) <= processes {
			return
		}
	}
}

// watchHeap samples the heap until the returned function is called, which gives the most in use, in MB.
func watchHeap() (stop func() float64) {
	var most atomic.Uint64
	quit, done := make(chan struct{}), make(chan struct{})
	sample := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapInuse))
	}
	go func() {
		defer close(done)
		for {
			sample()
			select {
			case <-quit:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() float64 { close(quit); <-done; sample(); return float64(most.Load()) / (1 << 20) }
}
