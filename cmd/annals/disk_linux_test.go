//go:build !race

// The programs of these tests are processes of their own, which the race detector doesn't look into.

package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/embedded"
	"annals/eventstore/pgtest"
)

// A database whose disk is full answers commands with a clear 503, also when PostgreSQL itself goes down over it, and takes
// them again by itself when there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]func(*testing.T, *sqlx.DB){
		"tables": func(*testing.T, *sqlx.DB) {},
		"write-ahead log": func(t *testing.T, db *sqlx.DB) {
			// A new segment is needed for which there is no room: PostgreSQL panics.
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
				if _, err := db.Exec(`SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()`); err != nil {
					t.Logf("PostgreSQL: %v", err)
					return
				}
			}
			t.Error("PostgreSQL finds room for its log")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			room := scarceRoom(t)
			database := []string{"--data-dir", filepath.Join(room.dir, "data")}
			server := serveChild(t, database...)
			l := newLoad(t, server).start(4)
			l.progress(50)
			dsn, err := embedded.Locate(database[1])
			if err != nil {
				t.Fatal(err)
			}
			db := sqlx.MustOpen("postgres", dsn)
			defer db.Close()
			room.take(server, db)
			inside(t, db)
			awaitRefusal(t, server.caller(shop))
			server.caller(shop).send("GET", "/healthz", "").is(http.StatusOK)
			if r := server.caller(shop).send("GET", "/v1/products", ""); r.status != http.StatusOK && r.status != http.StatusServiceUnavailable {
				t.Errorf("a query on a full disk: status %d, %s", r.status, r.body)
			}
			room.give()
			freed := time.Now()
			l.progress(1)
			t.Logf("commands are taken %s after there is room", time.Since(freed))
			l.progress(50)
			l.finish(server, database...)
			server.stop()
		})
	}
}

// room is where a database finds no room between take and give.
type room struct {
	dir  string
	take func(server *program, db *sqlx.DB)
	give func()
}

// scarceRoom gives a file system of the test's own that is soon full: in memory, which takes the right to mount. Where
// that can't be had, as in most containers, the files of PostgreSQL may grow no further.
func scarceRoom(t *testing.T) *room {
	t.Helper()
	dir := pgtest.DataDir(t)
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=192m,mode=0755")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return limitedFiles(t, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	var filler string
	return &room{dir: dir,
		take: func(server *program, _ *sqlx.DB) {
			filler = fill(t, dir)
			annals(t, "doctor", "--data-dir", filepath.Join(dir, "data")).exits(exitFailed).prints("WRONG  disk", "0.0 GB free of 0.2 GB at "+dir)
		},
		give: func() {
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// fill takes all the room of a disk, and gives the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	return name
}
