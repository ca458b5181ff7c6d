package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is a net under a test that hangs, never a verdict on speed.
const patience = 4 * time.Minute

// program is a run of annals: in this process, or as a child when it is to be killed.
type program struct {
	t      *testing.T
	url    string // of a server, without a trailing slash
	stdout *transcript
	stderr *transcript
	done   chan struct{} // closed when it has ended
	code   int           // valid after done; -1: ended by a signal
	signal func(syscall.Signal)
	pid    int // of a child
}

// serveHere runs a server in this process until the test ends.
func serveHere(t *testing.T, flags ...string) *program {
	t.Helper()
	return runHere(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, flags...)...).listening()
}

// serveChild runs a server as a process of its own.
func serveChild(t *testing.T, flags ...string) *program {
	t.Helper()
	return runChild(t, nil, append([]string{"serve", "--addr", "127.0.0.1:0"}, flags...)...).listening()
}

// runHere starts a command line in this process. Any signal stands for the end of its context.
func runHere(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := newProgram(t)
	p.signal = func(syscall.Signal) { cancel() }
	go func() {
		defer close(p.done)
		defer cancel()
		p.code = run(ctx, args, p.stdout, p.stderr)
	}()
	p.cleanUp(args)
	return p
}

// runChild starts a command line as a process, with variables beside those of this process.
func runChild(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(built.path(t), args...)
	p := newProgram(t)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), p.stdout, p.stderr
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	p.signal = func(s syscall.Signal) {
		if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal %v: %v", s, err)
		}
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the exit code says it
		p.code = cmd.ProcessState.ExitCode()
	}()
	p.cleanUp(args)
	return p
}

func newProgram(t *testing.T) *program {
	return &program{t: t, stdout: newTranscript(), stderr: newTranscript(), done: make(chan struct{})}
}

// cleanUp ends the program with its test, and shows what it said when the test failed.
func (p *program) cleanUp(args []string) {
	p.t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(patience):
			p.signal(syscall.SIGKILL)
			p.t.Errorf("annals %s doesn't end", strings.Join(args, " "))
		}
		if p.t.Failed() {
			p.t.Logf("annals %s, exit status %d:\n%s", strings.Join(args, " "), p.code, tail(p.stderr.String(), 6000))
		}
	})
}

// listening waits for the line that says where the server is.
func (p *program) listening() *program {
	p.t.Helper()
	p.await("listening on ")
	_, after, _ := strings.Cut(p.stderr.String(), "listening on ")
	p.url, _, _ = strings.Cut(after, "\n")
	return p
}

// await waits for a text on stderr.
func (p *program) await(text string) {
	p.t.Helper()
	select {
	case <-p.stderr.wait(text):
	case <-p.done:
		p.t.Fatalf("annals ended with status %d before it said %q:\n%s", p.code, text, p.stderr)
	case <-time.After(patience):
		p.t.Fatalf("annals doesn't say %q:\n%s", text, p.stderr)
	}
}

// wait gives the exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("annals doesn't end:\n%s", tail(p.stderr.String(), 6000))
	}
	return p.code
}

// kill ends a child as a crash of the machine's memory would: it can do nothing about it.
func (p *program) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// stop asks the program to end, and requires that it does so in order.
func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitDone {
		p.t.Fatalf("exit status %d, want %d:\n%s", code, exitDone, tail(p.stderr.String(), 6000))
	}
}

// annals runs a command line to its end in this process.
func annals(t *testing.T, args ...string) *program {
	t.Helper()
	p := runHere(t, args...)
	p.wait()
	return p
}

// exits requires an exit code.
func (p *program) exits(code int) *program {
	p.t.Helper()
	if got := p.wait(); got != code {
		p.t.Fatalf("exit status %d, want %d\nstdout: %s\nstderr: %s", got, code, p.stdout, p.stderr)
	}
	return p
}

// says requires texts on stderr.
func (p *program) says(texts ...string) *program {
	p.t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.stderr.String(), text) {
			p.t.Errorf("stderr lacks %q:\n%s", text, p.stderr)
		}
	}
	return p
}

// prints requires texts on stdout.
func (p *program) prints(texts ...string) *program {
	p.t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.stdout.String(), text) {
			p.t.Errorf("stdout lacks %q:\n%s", text, p.stdout)
		}
	}
	return p
}

func tail(text string, most int) string {
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// transcript keeps what a program writes, and tells when a text has come.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	waiting map[string]chan struct{}
}

func newTranscript() *transcript { return &transcript{waiting: make(map[string]chan struct{})} }

// Write implements io.Writer.
func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	for text, found := range w.waiting {
		w.settle(text, found)
	}
	return len(p), nil
}

// wait gives a channel that is closed when a line has the text.
func (w *transcript) wait(text string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := make(chan struct{})
	if other, ok := w.waiting[text]; ok {
		found = other
	}
	w.waiting[text] = found
	w.settle(text, found)
	return found
}

// settle looks for a text in a whole line. mu is held.
func (w *transcript) settle(text string, found chan struct{}) {
	all := w.text.Bytes()
	if i := bytes.Index(all, []byte(text)); i >= 0 && bytes.IndexByte(all[i:], '\n') >= 0 {
		close(found)
		delete(w.waiting, text)
	}
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
