package bench

import (
	"fmt"
	"runtime"
	"strings"
)

// cpuSet are numbers of CPUs, ascending.
type cpuSet []int

// halves splits CPUs in two, of which the first has the odd one; false when there is nothing to split.
func (s cpuSet) halves() (first, second cpuSet, ok bool) {
	if len(s) < 2 {
		return s, s, false
	}
	middle := (len(s) + 1) / 2
	return s[:middle], s[middle:], true
}

// String writes runs of numbers as 0-3.
func (s cpuSet) String() string {
	var b strings.Builder
	for i := 0; i < len(s); {
		last := i
		for last+1 < len(s) && s[last+1] == s[last]+1 {
			last++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, s[i])
		if last > i {
			fmt.Fprintf(&b, "-%d", s[last])
		}
		i = last + 1
	}
	return b.String()
}

// division says on which CPUs the servers with their database and the load generator work. The zero value is no division.
type division struct {
	servers, generator cpuSet
	note               string // how it was done, or why it wasn't
}

// divide keeps this process off one half of the CPUs, and its private PostgreSQL off the other. restore undoes the former.
func (d *database) divide() (_ division, restore func() error) {
	nothing := func() error { return nil }
	all, err := allowedCPUs()
	if err != nil {
		return division{note: fmt.Sprintf("the load generator shares the CPUs of what it loads: %v", err)}, nothing
	}
	first, second, ok := all.halves()
	if !ok {
		return division{note: "the load generator shares the only CPU with what it loads"}, nothing
	}
	restore = func() error {
		err := pinSelf(all)
		runtime.SetDefaultGOMAXPROCS()
		return err
	}
	if err := pinSelf(second); err != nil {
		return division{note: fmt.Sprintf("the load generator shares the CPUs of what it loads: %v", err)}, restore
	}
	runtime.SetDefaultGOMAXPROCS()
	note := fmt.Sprintf("kept apart by sched_setaffinity: server and PostgreSQL on CPU %v, load generator on CPU %v", first, second)
	if d.server == nil {
		note = fmt.Sprintf("kept apart by sched_setaffinity: server on CPU %v, load generator on CPU %v; PostgreSQL isn't ours to move",
			first, second)
	} else if err := pinTree(d.server.Pid(), first); err != nil {
		note = fmt.Sprintf("server on CPU %v, load generator on CPU %v; PostgreSQL anywhere: %v", first, second, err)
	}
	return division{servers: first, generator: second, note: note}, restore
}
