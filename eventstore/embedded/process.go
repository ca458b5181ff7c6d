package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// launchScript waits for a line before it becomes the program: by then the guard
// knows the pid, which exec keeps. If we die before, the pipe ends and so does it.
const launchScript = `read -r go && exec "$@" </dev/null`

// process is one program that runs as the server's user under the guard's eye.
type process struct {
	pid    int
	handle *os.Process
	exited chan struct{} // closed once it is gone and reaped
	err    error         // how it ended; valid after exited
	logAt  int64         // where its lines in the log begin
}

// spawn starts a program in dir. Its output goes to the log.
func (s *Server) spawn(dir, program string, args ...string) (*process, error) {
	cmd := command("/bin/sh", append([]string{"-c", launchScript, "annals-launch", program}, args...)...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = s.log.file, s.log.file
	cmd.SysProcAttr = s.account.attr()
	p := &process{exited: make(chan struct{}), logAt: s.log.size()}
	release, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s as user %s: %w", program, s.account.name, err)
	}
	p.pid, p.handle = cmd.Process.Pid, cmd.Process
	s.guard.watch(p.pid, dir)
	_, err = io.WriteString(release, "go\n")
	release.Close()
	go s.reap(p, cmd)
	if err != nil {
		<-p.exited
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return p, nil
}

func (s *Server) reap(p *process, cmd *exec.Cmd) {
	p.err = cmd.Wait()
	s.guard.forget()
	close(p.exited)
}

// signalAndWait sends a signal and waits for the end; false if it didn't come in time.
func (p *process) signalAndWait(ctx context.Context, sig os.Signal, most time.Duration) bool {
	select {
	case <-p.exited:
		return true
	default:
	}
	p.handle.Signal(sig) // refused once the process is reaped: its pid may be another's by then
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// stopProcess escalates: fast, immediate, kill. A context that ends cuts the first short.
func (s *Server) stopProcess(ctx context.Context, p *process) error {
	for i, step := range stopSteps(s.cfg.Throwaway) {
		stepCtx := ctx
		if step.signal != syscall.SIGINT {
			stepCtx = context.WithoutCancel(ctx) // its grace is short
		}
		if i > 0 {
			s.cfg.Logger.Warn("the database server didn't stop in time", "pid", p.pid, "next", step.signal.String())
		}
		if p.signalAndWait(stepCtx, step.signal, step.grace) {
			return nil
		}
	}
	return fmt.Errorf("the database server (pid %d) can't be stopped", p.pid)
}

// failure describes the end of a process with what it logged.
func (s *Server) failure(what string, p *process) error {
	err := p.err
	if err == nil {
		err = errors.New("it ended with status 0")
	}
	return fmt.Errorf("%s: %w; its log (%s) says:\n%s", what, err, s.log.file.Name(), s.log.tail(p.logAt))
}
