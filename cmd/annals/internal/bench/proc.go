package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

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
