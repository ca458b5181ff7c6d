package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"annals/eventstore/pgtest"
)

// A PostgreSQL that is killed comes back by itself, and the server meanwhile stays up.
func TestKilledDatabase(t *testing.T) {
	t.Parallel()
	dir := pgtest.DataDir(t)
	server := serveHere(t, "--data-dir", dir)
	l := newLoad(t, server).start(12)
	for range 3 {
		l.progress(20 + rand.IntN(100))
		if err := syscall.Kill(postmaster(t, dir), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l.progress(50)
	}
	server.everyone().send("GET", "/healthz", "").is(200)
	l.finish(server, "--data-dir", dir)
	server.stop()
}

// postmaster gives the process id of a private PostgreSQL.
func postmaster(t *testing.T, dataDir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dataDir, "pgdata", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
