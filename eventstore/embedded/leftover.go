package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	immediateGrace = 5 * time.Second
	killGrace      = 5 * time.Second
	pollInterval   = 10 * time.Millisecond
)

// clearOut ends what a vanished owner left at work in a data directory, and then
// removes its stale postmaster.pid: never while any process works there, since
// two servers on one data directory destroy it.
func clearOut(ctx context.Context, pgdata string, log *slog.Logger) error {
	if pids := workingIn(pgdata); len(pids) > 0 {
		if main := postmasterPid(pgdata); slices.Contains(pids, main) {
			log.Info("stopping the database server that a vanished owner left running", "pid", main)
			for _, step := range stopSteps(false) {
				syscall.Kill(main, step.signal)
				err := waitUntil(ctx, step.grace, func() bool { return !slices.Contains(workingIn(pgdata), main) })
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					return fmt.Errorf("stopping the server left in %s: %w", pgdata, err)
				}
			}
		}
		// The children of a postmaster that was killed notice it and end by themselves.
		gone := func() bool { return len(workingIn(pgdata)) == 0 }
		if err := waitUntil(ctx, immediateGrace, gone); err != nil {
			if ctx.Err() != nil {
				return err
			}
			for _, pid := range workingIn(pgdata) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			if err := waitUntil(ctx, killGrace, gone); err != nil {
				return fmt.Errorf("processes %v still work in %s: %w", workingIn(pgdata), pgdata, err)
			}
		}
	}
	err := os.Remove(filepath.Join(pgdata, "postmaster.pid"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("stale lock file: %w", err)
	}
	return nil
}

// stopStep is a signal that stops PostgreSQL, and how long it is given.
type stopStep struct {
	name   string // as kill(1) has it
	signal syscall.Signal
	grace  time.Duration
}

// stopSteps are how a stop escalates: fast, immediate, kill. A fast shutdown
// writes a checkpoint, which throwaway data isn't worth.
func stopSteps(throwaway bool) []stopStep {
	steps := []stopStep{
		{"INT", syscall.SIGINT, 30 * time.Second},
		{"QUIT", syscall.SIGQUIT, immediateGrace},
		{"KILL", syscall.SIGKILL, killGrace},
	}
	if throwaway {
		return steps[1:]
	}
	return steps
}

// postmasterPid reads the pid that the data directory's lock file names; 0 if none.
func postmasterPid(pgdata string) int {
	text, err := os.ReadFile(filepath.Join(pgdata, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0
	}
	return pid
}

var errTimeout = errors.New("timed out")

// waitUntil polls until done, which no event tells about: the processes asked
// for aren't our children.
func waitUntil(ctx context.Context, most time.Duration, done func() bool) error {
	deadline := time.Now().Add(most)
	for !done() {
		if time.Now().After(deadline) {
			return errTimeout
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
	return nil
}

// clearInits removes what initdbs that were killed left behind.
func clearInits(ctx context.Context, l layout, log *slog.Logger) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), initPrefix) {
			continue
		}
		dir := filepath.Join(l.dir, e.Name())
		log.Info("removing an unfinished data directory", "dir", dir)
		if err := clearOut(ctx, dir, log); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing an unfinished data directory: %w", err)
		}
	}
	return nil
}

// clearSocketDir removes the socket directory of an owner that vanished together
// with its guard. The name comes from a file: nothing but a socket is removed.
func clearSocketDir(l layout) {
	text, err := os.ReadFile(l.dsn())
	if err != nil {
		return
	}
	u, err := url.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return
	}
	dir := u.Query().Get("host")
	if !strings.HasPrefix(filepath.Base(dir), socketDirPrefix) {
		return
	}
	os.Remove(filepath.Join(dir, socketName))
	os.Remove(filepath.Join(dir, socketName+".lock"))
	os.Remove(dir)
}
