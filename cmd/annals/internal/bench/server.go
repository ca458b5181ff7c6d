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

// startServers starts as many as the options say, on certain CPUs or on any, that take commands of so many callers at once.
// stop is never nil.
func startServers(ctx context.Context, o *Options, dsn string, callers int, on cpuSet) (all []*server, stop func() error, err error) {
	stop = func() (err error) {
		for _, s := range all {
			err = errors.Join(err, s.stop())
		}
		return err
	}
	for range o.Servers {
		var s *server
		err := startingOn(on, func() (err error) { s, err = launch(o.Program, dsn, callers); return err })
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

func pids(servers []*server) (all []int) {
	for _, s := range servers {
		all = append(all, s.cmd.Process.Pid)
	}
	return all
}

// launch starts one on a free port. What it takes at once is the default, unless that is too little for the callers, of
// whom each client has at most three quarters.
func launch(program, dsn string, callers int) (*server, error) {
	s := &server{ended: make(chan error, 1), log: &tail{}, listening: make(chan string, 1)}
	s.cmd = exec.Command(program, "serve", "--addr", "127.0.0.1:0", "--log-level", "warn",
		"--max-commands", strconv.Itoa(max(512, 4*callers)), "--max-connections", strconv.Itoa(max(4096, 2*overloadFactor*callers)))
	// Nothing of somebody else's server is taken over, and no file of secrets is left behind.
	ours := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ANNALS_") })
	s.cmd.Env = append(ours, "ANNALS_DATABASE_URL="+dsn,
		"ANNALS_SIGNING_PASSPHRASE=of a benchmark", "ANNALS_SUBJECT_KEYS_PASSPHRASE=of a benchmark")
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
