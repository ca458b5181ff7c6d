package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// allowedCPUs are those that this process may use.
func allowedCPUs() (cpuSet, error) {
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &mask); err != nil {
		return nil, fmt.Errorf("read the CPUs of this process: %w", err)
	}
	var all cpuSet
	for i := range len(mask) * strconv.IntSize {
		if mask.IsSet(i) {
			all = append(all, i)
		}
	}
	return all, nil
}

func (s cpuSet) mask() *unix.CPUSet {
	var m unix.CPUSet
	for _, i := range s {
		m.Set(i)
	}
	return &m
}

// pinProcess moves all threads of a process. A new thread works where the one worked that made it: once a look at them
// finds none that hasn't been moved, none comes any more.
func pinProcess(pid int, to cpuSet) error {
	moved := make(map[int]bool)
	for more := true; more; {
		more = false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("list the threads of process %d: %w", pid, err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || moved[id] {
				continue
			}
			if err := unix.SchedSetaffinity(id, to.mask()); err != nil && err != unix.ESRCH {
				return fmt.Errorf("choose the CPUs of process %d: %w", pid, err)
			}
			moved[id], more = true, true
		}
	}
	return nil
}

func pinSelf(to cpuSet) error { return pinProcess(os.Getpid(), to) }

// pinTree moves a process and its children. Later children begin where it works.
func pinTree(pid int, to cpuSet) error {
	if err := pinProcess(pid, to); err != nil {
		return err
	}
	for _, child := range childrenOf(pid) {
		if err := pinProcess(child, to); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// startingOn runs start, which starts a process, so that the process works on certain CPUs from its first moment and takes
// their number for all there are. No CPUs: on any.
func startingOn(on cpuSet, start func() error) error {
	if len(on) == 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, on.mask()); err != nil {
		return err
	}
	err := start()
	if back := unix.SchedSetaffinity(0, &before); err == nil {
		err = back
	}
	return err
}
