//go:build !race

// The programs of these tests are processes of their own, which the race detector doesn't look into.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jmoiron/sqlx"
)

// growLimit is less than a segment of the write-ahead log, so that PostgreSQL can't begin another one.
const growLimit = 15 << 20

// limitedFiles makes a lack of room by the limit of processes on the size of files (RLIMIT_FSIZE), which takes no right: a
// table that is as large can't grow, and neither can the write-ahead log.
func limitedFiles(t *testing.T, dir string) *room {
	t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user is another one, where the tests run as root
		t.Fatal(err)
	}
	limit := func(pid int, most string) {
		cmd := exec.Command("prlimit", "--pid", fmt.Sprint(pid), "--fsize="+most+":")
		info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		if err != nil {
			return // it has ended
		}
		// Another user's processes can be limited by that user.
		if owner := info.Sys().(*syscall.Stat_t); int(owner.Uid) != os.Getuid() {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
		}
		if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "No such process") {
			t.Fatalf("prlimit: %v: %s", err, out)
		}
	}
	// New processes have the limit of those that start them, which come first here.
	var server int
	all := func(most string) {
		limit(server, most)
		for pids := children(t, server); len(pids) > 0; pids = pids[1:] {
			limit(pids[0], most)
			pids = append(pids, children(t, pids[0])...)
		}
	}
	return &room{dir: dir,
		take: func(p *program, db *sqlx.DB) {
			server = p.pid
			growTable(t, db)
			all(fmt.Sprint(growLimit))
			t.Logf("no right to mount: files may not exceed %d bytes in %s", growLimit, dir)
		},
		give: func() { all("unlimited") },
	}
}

// growTable makes the file of the events larger than growLimit, by rows that are never committed.
func growTable(t *testing.T, db *sqlx.DB) {
	t.Helper()
	tx := db.MustBeginTx(t.Context(), nil)
	defer tx.Rollback()
	tx.MustExec(`INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
			schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
			data, metadata, data_salt, metadata_salt)
		SELECT 1000000000 + n, gen_random_uuid(), gen_random_uuid(), 1, now(), now(), 1, 't', 't', 'c', 'a', 'c', 'c', 'r',
			to_json(repeat('x', 1500)), '{}', '', '' FROM generate_series(1, 12000) n`)
	var size int64
	if err := tx.Get(&size, `SELECT pg_relation_size('annals.events')`); err != nil || size <= growLimit {
		t.Fatalf("the events take %d bytes, %v", size, err)
	}
}

// children gives the processes that a process has started.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent …
		var child, parent int
		var state string
		first, rest, _ := strings.Cut(string(text), "(")
		rest = rest[strings.LastIndex(rest, ")")+1:]
		if _, err := fmt.Sscan(first+rest, &child, &state, &parent); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}
