package pgtest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"annals/migrations"
)

// envRole makes the test binary a process that uses a database in some way.
const envRole = "ANNALS_PGTEST_ROLE"

// TestInProcess is what such a process runs; in the ordinary run it only makes a database.
func TestInProcess(t *testing.T) {
	db := New(t)
	role := os.Getenv(envRole)
	if role == "" {
		return
	}
	var dir string
	if err := db.Get(&dir, `SELECT current_setting('data_directory')`); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nserver %s\n", dir)
	switch role {
	case "exit":
		os.Exit(0)
	case "panic":
		panic("as a test may")
	case "wait":
		io.Copy(io.Discard, os.Stdin)
	}
}

// roleCommand runs this test binary in a role, with a server as given or of its own.
func roleCommand(role, server string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestInProcess$", "-test.v")
	cmd.Env = append(os.Environ(), EnvDatabaseURL+"="+server, envRole+"="+role)
	return cmd
}

func TestNewIsMigratedAndAlone(t *testing.T) {
	t.Parallel()
	a, b := New(t), New(t)
	a.MustExec(`CREATE TABLE mine (n int)`)
	for _, c := range []struct {
		db    *DB
		table string
		want  bool
	}{
		{a, "annals.events", true}, {b, "annals.events", true}, {a, "mine", true}, {b, "mine", false},
	} {
		var have bool
		if err := c.db.Get(&have, `SELECT to_regclass($1::text) IS NOT NULL`, c.table); err != nil {
			t.Fatal(err)
		}
		if have != c.want {
			t.Errorf("table %s in %s: %v, want %v", c.table, c.db.DSN, have, c.want)
		}
	}
	u, err := url.Parse(a.DSN)
	if err != nil || u.Scheme != "postgres" || u.Query().Get("binary_parameters") != "yes" {
		t.Errorf("DSN %s, %v", a.DSN, err)
	}
}

// Migrating a copy again must find nothing to do: the template is complete.
func TestTemplateIsComplete(t *testing.T) {
	t.Parallel()
	applied, err := migrations.Up(t.Context(), New(t).DB.DB)
	if err != nil || len(applied) > 0 {
		t.Errorf("applied %v, %v", applied, err)
	}
}

func TestNewEmptyHasNoTables(t *testing.T) {
	t.Parallel()
	var n int
	err := NewEmpty(t).Get(&n, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')`)
	if err != nil || n != 0 {
		t.Errorf("%d relations in an empty database, %v", n, err)
	}
}

func TestDatabaseGoesWithItsTest(t *testing.T) {
	t.Parallel()
	var left *DB
	var other *sql.DB
	t.Run("test", func(t *testing.T) {
		left = New(t)
		var err error
		if other, err = sql.Open("postgres", left.DSN); err != nil { // a connection the test forgets
			t.Fatal(err)
		}
		if err := other.Ping(); err != nil {
			t.Fatal(err)
		}
	})
	defer other.Close()
	if err := left.Ping(); err == nil {
		t.Error("the pool is still open")
	}
	u, err := url.Parse(left.DSN)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	err = shared(t).admin.QueryRow(`SELECT count(*) FROM pg_database WHERE datname = $1`, strings.TrimPrefix(u.Path, "/")).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d databases of that name are left, %v", n, err)
	}
}

// Processes that start at once on one server get one template, also where one
// was killed while it was building.
func TestTemplateIsBuiltOnce(t *testing.T) {
	t.Parallel()
	srv := Cluster(t)
	hash, err := hashFiles(migrations.FS)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *server {
		s, err := connect(t.Context(), srv.DSN())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.admin.Close() })
		return s
	}
	if err := open().copyDatabase(t.Context(), "building_"+hash, "template0"); err != nil {
		t.Fatal(err)
	}
	servers := []*server{open(), open(), open(), open()}
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() {
			name, err := s.migrated(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			db := s.create(t, name)
			if _, err := db.Exec(`SELECT FROM annals.events`); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var names string
	err = servers[0].admin.QueryRow(`SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ '^(template|building)_'`).Scan(&names)
	if err != nil || names != "template_"+hash {
		t.Errorf("databases %q, %v; want the template alone", names, err)
	}
}

func TestHashFollowsNamesAndContents(t *testing.T) {
	t.Parallel()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	seen := map[string]int{}
	for i, files := range []fstest.MapFS{
		{"a.sql": file("x")},
		{"a.sql": file("y")},
		{"b.sql": file("x")},
		{"a.sql": file("x"), "b.sql": file("")},
		{"a.sql": file("xb.sql 0\n")},
	} {
		h, err := hashFiles(files)
		if err != nil {
			t.Fatal(err)
		}
		if j, ok := seen[h]; ok {
			t.Errorf("sets %d and %d have the hash %s", j, i, h)
		}
		seen[h] = i
	}
}

// The server that a test process starts for itself ends with it, however it ends.
func TestOwnServerEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"return", "exit", "panic", "wait"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			cmd := roleCommand(role, "")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdin, err := cmd.StdinPipe() // "wait" ends with us
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			dir, found := "", false
			for lines := bufio.NewScanner(out); !found && lines.Scan(); {
				dir, found = strings.CutPrefix(lines.Text(), "server ")
			}
			if !found {
				t.Fatal("the process has no server")
			}
			if role == "wait" {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Wait()
			if !goneWithin(time.Minute, dir) {
				t.Errorf("%s is left", dir)
			}
		})
	}
}

func goneWithin(most time.Duration, path string) bool {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// Without PostgreSQL the tests fail; a skip would go unnoticed.
func TestMissingServerFails(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]string{
		"nobody listens": "postgres://postgres@/annals?host=" + url.QueryEscape(t.TempDir()) + "&sslmode=disable",
		"not a URL":      "host=/tmp dbname=annals",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := roleCommand("return", server).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "FAIL: TestInProcess") || strings.Contains(string(out), "SKIP") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestClusterSurvivesItsDeath(t *testing.T) {
	t.Parallel()
	srv := Cluster(t, WithFsync(), WithoutSupervisor(), WithSettings(map[string]string{"work_mem": "7MB"}))
	db, err := sql.Open("postgres", srv.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE kept AS SELECT 1 AS n`); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(srv.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-srv.Exited()
	if err := srv.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	var kept int
	var fsync, mem string
	err = db.QueryRow(`SELECT n, current_setting('fsync'), current_setting('work_mem') FROM kept`).Scan(&kept, &fsync, &mem)
	if err != nil || kept != 1 || fsync != "on" || mem != "7MB" {
		t.Errorf("row %d, fsync %s, work_mem %s, %v", kept, fsync, mem, err)
	}
}

// BenchmarkNew is what a database of its own costs a test.
func BenchmarkNew(b *testing.B) {
	New(b)
	for b.Loop() {
		New(b)
	}
}
