package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is an annals serve of a process of its own.
type server struct {
	cmd     *exec.Cmd
	address string
	log     *tail
	ended   chan error

	listening chan string // gets its address
}

// startServers starts as many as the options say, on certain CPUs or on any, that take so many commands at once and so many
// connections each. stop is never nil.
func startServers(ctx context.Context, o *Options, dsn string, l limits, on cpuSet) (all []*server, stop func() error, err error) {
	stop = func() (err error) {
		for _, s := range all {
			err = errors.Join(err, s.stop())
		}
		return err
	}
	for range o.Servers {
		var s *server
		err := startingOn(on, func() (err error) { s, err = launch(o.Program, dsn, l); return err })
		if err == nil {
			err = s.await(ctx)
		}
		if err != nil {
			return all, stop, err
		}
		all = append(all, s)
	}
	return all, stop, nil
}

// limits are what a server is told to take at once.
type limits struct{ commands, connections int }

// Defaults of annals serve.
const (
	usualCommands    = 512
	usualConnections = 4096
)

// roomy limits don't matter: a client has at most three quarters of the commands.
func roomy(callers int) limits {
	return limits{max(usualCommands, 2*callers), max(usualConnections, 2*callers)}
}

// tight limits are those of one server with its defaults at 128 callers, for any number of either.
func tight(callers, servers int) limits {
	const usualCallers = 128
	return limits{max(1, usualCommands/usualCallers*callers/servers), max(usualConnections, 2*overloadFactor*callers)}
}

// launch starts one on a free port.
func launch(program, dsn string, l limits) (*server, error) {
	s := &server{ended: make(chan error, 1), log: &tail{}, listening: make(chan string, 1)}
	s.cmd = exec.Command(program, "serve", "--addr", "127.0.0.1:0", "--log-level", "warn",
		"--max-commands", strconv.Itoa(l.commands), "--max-connections", strconv.Itoa(l.connections))
	s.cmd.Env = environment(dsn)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	go func() {
		lines := bufio.NewScanner(io.TeeReader(stderr, s.log))
		for lines.Scan() {
			if address, ok := strings.CutPrefix(lines.Text(), "listening on http://"); ok {
				s.listening <- address
			}
		}
		s.ended <- s.cmd.Wait()
	}()
	return s, nil
}

// environment is what annals runs in. Nothing of somebody else's server is taken over, and no file of secrets is left behind.
func environment(dsn string) []string {
	ours := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ANNALS_") })
	return append(ours, "ANNALS_DATABASE_URL="+dsn,
		"ANNALS_SIGNING_PASSPHRASE=of a benchmark", "ANNALS_SUBJECT_KEYS_PASSPHRASE=of a benchmark")
}

// await waits until the server listens; one that doesn't is stopped.
func (s *server) await(ctx context.Context) (err error) {
	select {
	case s.address = <-s.listening:
		return nil
	case err := <-s.ended:
		return fmt.Errorf("the server ended: %v: %s", err, s.log)
	case <-time.After(patience):
		err = errors.New("the server doesn't start")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, s.stop())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		return errors.Join(errors.New("the server doesn't end"), s.cmd.Process.Kill(), <-s.ended)
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2000):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
