package embedded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// kill -9 of the owner can't be caught: the guard stops the server for it.
func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	o := startOwner(t, dir)
	commitRow(t, o.DSN)
	l, err := newLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pids := workingIn(l.pgdata()); len(pids) == 0 {
		t.Fatal("no server process found while the owner lives")
	}
	kill(t, o.cmd.Process.Pid, syscall.SIGKILL)
	o.cmd.Wait()
	eventually(t, "the server outlives its owner", func() bool { return len(workingIn(l.pgdata())) == 0 })
	if _, err := Locate(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Locate after the owner's death: %v", err)
	}
	wantRow(t, start(t, Config{DataDir: dir}).DSN())
}

// Where the guard was killed too, the next owner stops the server it finds.
func TestServerLeftBehindIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	o := startOwner(t, dir)
	commitRow(t, o.DSN)
	kill(t, o.Guard, syscall.SIGSTOP) // else it acts before it is killed
	kill(t, o.cmd.Process.Pid, syscall.SIGKILL)
	o.cmd.Wait()
	kill(t, o.Guard, syscall.SIGKILL)
	if got := text(t, connect(t, o.DSN), `SELECT 'alive'`); got != "alive" {
		t.Fatalf("the server left behind: %q", got)
	}
	s := start(t, Config{DataDir: dir})
	if pids := workingIn(s.layout.pgdata()); slices.Contains(pids, o.Pid) {
		t.Errorf("the old server (pid %d) still runs beside the new one (pid %d)", o.Pid, s.Pid())
	}
	wantRow(t, s.DSN())
	u, err := url.Parse(o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(u.Query().Get("host")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old owner's socket directory is left: %v", err)
	}
	if o.DSN == s.DSN() {
		t.Error("the new owner took over a socket that others may hold")
	}
}

// The owner dies while initdb runs: that ends, nothing may look like data, and nothing may stay.
func TestOwnerKilledInInitdb(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	bin, fifo := blockedInitdb(t)
	o := launchOwner(t, dir, envOwnerBin+"="+bin)
	pipe, err := os.Open(fifo) // waits for the other side
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	initdb := bufio.NewReader(pipe)
	if line, err := initdb.ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatalf("initdb says %q, %v", line, err)
	}
	kill(t, o.cmd.Process.Pid, syscall.SIGKILL)
	o.cmd.Wait()
	ended := make(chan error, 1)
	go func() {
		_, err := initdb.ReadByte()
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != io.EOF {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("initdb outlives its owner")
	}
	if _, err := os.Stat(filepath.Join(dir, "pgdata")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unfinished data under the final name: %v", err)
	}
	commitRow(t, start(t, Config{DataDir: dir}).DSN())
	if left, _ := filepath.Glob(filepath.Join(dir, initPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// blockedInitdb makes an installation whose initdb begins and never ends. It
// holds a named pipe open, whose reader sees it end.
func blockedInitdb(t *testing.T) (bin, fifo string) {
	t.Helper()
	real, major, err := Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	bin = programDir(t)
	fifo = filepath.Join(bin, "alive")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec 3>%s\necho %d >\"$2/PG_VERSION\"\necho begun >&3\nwhile :; do sleep 0.01; done\n", fifo, major)
	if err := os.WriteFile(filepath.Join(bin, "initdb"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(real, "postgres"), filepath.Join(bin, "postgres")); err != nil {
		t.Fatal(err)
	}
	return bin, fifo
}

func TestLeftoverOfAKilledInitdbIsRemoved(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	left := filepath.Join(dir, initPrefix+"123", "base")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "..", "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, Config{DataDir: dir})
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", left, err)
	}
}

// logLines is a log that a test can wait on.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

func TestServerKilledIsStartedAgain(t *testing.T) {
	t.Parallel()
	var log logLines
	s := start(t, Config{DataDir: dataDir(t), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	dsn := s.DSN()
	commitRow(t, dsn)
	for range 2 { // a second death as well
		exited, pid := s.Exited(), s.Pid()
		kill(t, pid, syscall.SIGKILL)
		<-exited
		eventually(t, "the server is back", func() bool { return s.Pid() != pid })
		if s.DSN() != dsn {
			t.Errorf("DSN %s, was %s", s.DSN(), dsn)
		}
		wantRow(t, dsn)
		select {
		case <-s.Exited():
			t.Error("Exited is closed though the server is back")
		default:
		}
	}
	if !log.contains("the database server died") {
		t.Error("the death isn't logged")
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	for name, kills := range map[string]bool{"of a dead server": true, "of a running server": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Config{DataDir: dataDir(t), NoSupervise: true})
			dsn, pid := s.DSN(), s.Pid()
			commitRow(t, dsn)
			if kills {
				kill(t, pid, syscall.SIGKILL)
				<-s.Exited()
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.DSN() != dsn || s.Pid() == pid {
				t.Errorf("DSN %s, was %s; pid %d, was %d", s.DSN(), dsn, s.Pid(), pid)
			}
			wantRow(t, dsn)
		})
	}
}

// A server that can't be started again must not keep Stop from returning.
func TestStopWhileTheServerCannotStart(t *testing.T) {
	t.Parallel()
	var log logLines
	s := start(t, Config{DataDir: dataDir(t), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	control := filepath.Join(s.layout.pgdata(), "global", "pg_control")
	if err := os.Rename(control, control+".away"); err != nil {
		t.Fatal(err)
	}
	kill(t, s.Pid(), syscall.SIGKILL)
	eventually(t, "the failure is logged", func() bool { return log.contains("can't be started") })
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// A server that answers to nothing is killed, and recovers at the next start.
func TestStopEscalates(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, Config{DataDir: dir})
	commitRow(t, s.DSN())
	kill(t, s.Pid(), syscall.SIGSTOP)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	wantRow(t, start(t, Config{DataDir: dir}).DSN())
}

// A client in the middle of a long statement doesn't hold up a stop.
func TestStopEndsSessions(t *testing.T) {
	t.Parallel()
	s := start(t, Config{DataDir: dataDir(t)})
	db := connect(t, s.DSN())
	ended := make(chan error, 1)
	go func() {
		_, err := db.Exec(`SELECT pg_sleep(3600)`)
		ended <- err
	}()
	watch := connect(t, s.DSN())
	eventually(t, "the statement runs", func() bool {
		return text(t, watch, `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)' AND pid <> pg_backend_pid()`) == "1"
	})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the session ended without an error")
	}
}

// After a crash of the machine the lock file's pid may be anybody's.
func TestStaleLockFile(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, Config{DataDir: dir})
	commitRow(t, s.DSN())
	pidFile := filepath.Join(s.layout.pgdata(), "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	bystander := exec.Command("cat")
	if _, err := bystander.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	bystander.SysProcAttr = s.account.attr()
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		bystander.Process.Kill()
		bystander.Wait()
	}()
	_, rest, _ := bytes.Cut(content, []byte("\n"))
	stale := append([]byte(itoa(bystander.Process.Pid)+"\n"), rest...)
	if err := os.WriteFile(pidFile, stale, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRow(t, start(t, Config{DataDir: dir}).DSN())
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process that has the stale pid was harmed: %v", err)
	}
}

// Ctrl-C goes to the terminal's foreground group: the application drains with
// the database still there.
func TestInterruptLeavesTheServerAlone(t *testing.T) {
	t.Parallel()
	o := startOwner(t, dataDir(t))
	for name, pid := range map[string]int{"server": o.Pid, "guard": o.Guard} {
		if group, err := syscall.Getpgid(pid); err != nil || group == o.cmd.Process.Pid {
			t.Errorf("the %s is in the application's process group %d, %v", name, group, err)
		}
	}
	kill(t, -o.cmd.Process.Pid, syscall.SIGINT)
	line, err := o.lines.ReadString('\n')
	if err != nil || line != "\"serving\"\n" {
		t.Errorf("after the interrupt the server says %q, %v", line, err)
	}
	o.stdin.Close()
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// A guard that is killed is replaced, at once after its start too, and the successor does the work.
func TestGuardIsReplaced(t *testing.T) {
	t.Parallel()
	s := start(t, Config{DataDir: dataDir(t)})
	guardPid := func() int {
		s.guard.mu.Lock()
		defer s.guard.mu.Unlock()
		return s.guard.cmd.Process.Pid
	}
	for range 2 {
		before := guardPid()
		kill(t, before, syscall.SIGKILL)
		eventually(t, "a successor", func() bool { return guardPid() != before })
	}
	// The end of its pipe is what the successor sees when this process is killed.
	exited := s.Exited()
	s.guard.mu.Lock()
	s.guard.pipe.Close()
	s.guard.mu.Unlock()
	select {
	case <-exited:
	case <-time.After(time.Minute):
		t.Fatal("the successor doesn't stop the server")
	}
}
