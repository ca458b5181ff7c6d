package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
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
}

func (c *cost) add(o cost) {
	c.program += o.program
	c.self += o.self
	c.database += o.database
	c.allocs += o.allocs
	c.wal += o.wal
}

// meter reads what processes have used so far. CPU times need /proc, and a database on this machine; else they are 0.
type meter struct {
	db         *sqlx.DB
	postmaster int
	programs   []int // processes of the program under test; empty: this one
}

func newMeter(ctx context.Context, db *sqlx.DB, programs ...int) *meter {
	m := &meter{db: db, programs: programs}
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
	if len(m.programs) == 0 {
		c.program = own
	} else {
		c.self = own
		for _, pid := range m.programs {
			c.program += readStat(pid).cpu
		}
	}
	c.database = m.databaseCPU()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	c.allocs = mem.Mallocs
	err := m.db.QueryRowContext(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&c.wal)
	if err != nil {
		return c, fmt.Errorf("read the position of the write-ahead log: %w", err)
	}
	return c, nil
}

// during measures work.
func (m *meter) during(ctx context.Context, work func() error) (cost, error) {
	before, err := m.read(ctx)
	if err != nil {
		return cost{}, err
	}
	if err := work(); err != nil {
		return cost{}, err
	}
	after, err := m.read(ctx)
	return cost{
		program: after.program - before.program, self: after.self - before.self, database: after.database - before.database,
		allocs: after.allocs - before.allocs, wal: after.wal - before.wal,
	}, err
}

// settle waits until the server is at rest, for two seconds at most: what is left to do for connections that were closed
// (a hundred processes that end take a fifth of a second) isn't the next way's.
func (m *meter) settle() {
	const look, rest = 50 * time.Millisecond, 5 * time.Millisecond
	for range 40 {
		before := m.databaseCPU()
		time.Sleep(look)
		if m.databaseCPU()-before < rest {
			return
		}
	}
}

// databaseCPU adds up the server, the children it has and those it had.
func (m *meter) databaseCPU() time.Duration {
	if m.postmaster == 0 {
		return 0
	}
	server := readStat(m.postmaster)
	total := exact(m.postmaster, server.cpu) + server.ended
	for _, pid := range childrenOf(m.postmaster) {
		total += exact(pid, readStat(pid).cpu)
	}
	return total
}

// childrenOf lists the children of a process; none where /proc doesn't tell.
func childrenOf(parent int) (children []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && readStat(pid).parent == parent {
			children = append(children, pid)
		}
	}
	return children
}

// stat is what /proc tells of a process; zero when it tells nothing.
type stat struct {
	parent int
	cpu    time.Duration
	ended  time.Duration // CPU time of children that have ended
}

func readStat(pid int) stat {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // the name before may hold anything
	fields := bytes.Fields(rest)
	if len(fields) < 15 {
		return stat{}
	}
	number := func(i int) int { n, _ := strconv.Atoi(string(fields[i])); return n }
	const tick = 10 * time.Millisecond // the kernel's USER_HZ, 100 on all of Go's platforms
	return stat{
		parent: number(1),
		cpu:    time.Duration(number(11)+number(12)) * tick,
		ended:  time.Duration(number(13)+number(14)) * tick,
	}
}

// exact gives the CPU time of a process of one thread to the nanosecond, where the kernel tells it: of many processes that
// each worked briefly, rounded times add up to nothing.
func exact(pid int, rounded time.Duration) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return rounded
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	ns, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil || ns == 0 {
		return rounded
	}
	return time.Duration(ns)
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
