package main

import (
	"bufio"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// envMain makes the test binary the command itself.
const envMain = "ANNALS_WITHPOSTGRES_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func withpostgres(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	return cmd
}

// socketDir is where the server of a URL listens.
func socketDir(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme != "postgres" {
		t.Fatalf("%s=%q, %v", pgtest.EnvDatabaseURL, text, err)
	}
	return u.Query().Get("host")
}

func wantGone(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	t.Errorf("the server's %s is left", dir)
}

func TestCommandGetsAServerAndItsStatusIsPassedOn(t *testing.T) {
	t.Parallel()
	const script = `printf '%s\n' "$` + pgtest.EnvDatabaseURL + `"; exit 7`
	for _, args := range [][]string{nil, {"-fsync"}} {
		out, err := withpostgres(append(args, "/bin/sh", "-c", script)...).Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("%v: %v, want status 7", args, err)
		}
		wantGone(t, socketDir(t, string(out)))
	}
	if err := withpostgres("true").Run(); err != nil {
		t.Errorf("a command that succeeds: %v", err)
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no command":      {},
		"unknown flag":    {"-nonsense"},
		"unknown command": {filepath.Join(t.TempDir(), "missing")},
	} {
		if err := withpostgres(args...).Run(); err == nil {
			t.Errorf("%s: status 0", name)
		}
	}
}

// A signal ends the command, and then the server.
func TestSignalEndsTheCommandFirst(t *testing.T) {
	t.Parallel()
	cmd := withpostgres("/bin/sh", "-c", `trap 'echo trapped; exit 3' TERM; echo "$`+pgtest.EnvDatabaseURL+`"; while :; do sleep 0.01; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got, _ := lines.ReadString('\n'); got != "trapped\n" {
		t.Errorf("the command says %q", got)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("%v, want the command's status 3", err)
	}
	wantGone(t, socketDir(t, line))
}

func TestFind(t *testing.T) {
	t.Parallel()
	out, err := withpostgres("-find").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir, _, _ := strings.Cut(string(out), " ")
	if _, err := os.Stat(filepath.Join(dir, "postgres")); err != nil {
		t.Errorf("%q: %v", out, err)
	}
}
