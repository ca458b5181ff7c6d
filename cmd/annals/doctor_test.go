//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/eventstore"
	"annals/eventstore/pgtest"
)

// diagnosis runs the doctor on the database of the flags and gives its findings by check.
func diagnosis(t *testing.T, database ...string) map[string]finding {
	t.Helper()
	p := annals(t, append([]string{"doctor", "--output", "json"}, database...)...)
	var findings []finding
	if err := json.Unmarshal([]byte(p.stdout.String()), &findings); err != nil {
		t.Fatalf("%v: %s", err, p.stdout)
	}
	wrong := slices.ContainsFunc(findings, func(f finding) bool { return !f.OK })
	if (p.code == exitFailed) != wrong {
		t.Errorf("exit status %d with the findings %+v", p.code, findings)
	}
	found := make(map[string]finding)
	for _, f := range findings {
		found[f.Check] = f
	}
	return found
}

// healthy checks that the doctor finds nothing wrong, and says so of what the tests can answer for: how full this machine's disk is
// they can't.
func healthy(t *testing.T, database ...string) {
	t.Helper()
	found := diagnosis(t, database...)
	if !strings.Contains(found["database"].Detail, "reachable") || !strings.Contains(found["durability"].Detail, "fsync on") {
		t.Errorf("the doctor says %+v", found)
	}
	for check, f := range found {
		if !f.OK && check != "disk" {
			t.Errorf("%s: %s", check, f.Detail)
		}
	}
}

// Each thing is made wrong for real, and the doctor names it.
func TestDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := sealedLog(t)
	const database = `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I `
	for _, c := range []struct{ name, check, says, wrong, mend string }{
		{"nothing", "", "", `SELECT 1`, `SELECT 1`},
		{"events can be changed", "append-only", "events_append_only",
			`ALTER TABLE annals.events DISABLE TRIGGER events_append_only`, `ALTER TABLE annals.events ENABLE TRIGGER events_append_only`},
		{"the tree can be changed", "append-only", "integrity_tiles_append_only",
			`ALTER TABLE annals.integrity_tiles DISABLE TRIGGER USER`, `ALTER TABLE annals.integrity_tiles ENABLE TRIGGER USER`},
		{"commits aren't durable", "durability", "synchronous_commit off",
			database + `SET synchronous_commit = off', current_database()); END $$`,
			database + `RESET synchronous_commit', current_database()); END $$`},
		{"the clock is off", "clock", "1h", fakeClock, database + `RESET search_path', current_database()); END $$`},
		{"a projection failed", "products v1", "failed at position 7: boom",
			`UPDATE annals.subscribers SET status = 'failed', failure_position = 7, failure_error = 'boom' WHERE name = 'products'`,
			`UPDATE annals.subscribers SET status = 'running', failure_position = NULL, failure_error = NULL`},
		{"a projection is ahead", "audit_log v1", "above the head: the log lost its tail",
			`UPDATE annals.subscribers SET position = position + 900 WHERE name = 'audit_log'`,
			`UPDATE annals.subscribers SET position = position - 900 WHERE name = 'audit_log'`},
		{"the tree is longer than the log", "sealing", "lost its end",
			`UPDATE annals.integrity_log SET size = size + 500`, `UPDATE annals.integrity_log SET size = size - 500`},
		{"no key signs", "sealing", "no key",
			`UPDATE annals.integrity_keys SET status = 'retired'`, `UPDATE annals.integrity_keys SET status = 'active'`},
		{"a rotation was interrupted", "sealing", "the rotation to the key other+1+A was interrupted",
			`INSERT INTO annals.integrity_keys (verifier_key, status, created_at) VALUES ('other+1+A', 'pending', now() - interval '2 minutes')`,
			`DELETE FROM annals.integrity_keys WHERE status = 'pending'`},
		{"a rotation is under way", "", "",
			`INSERT INTO annals.integrity_keys (verifier_key, status, created_at) VALUES ('other+1+A', 'pending', now())`,
			`DELETE FROM annals.integrity_keys WHERE status = 'pending'`},
		{"an event is missing", "log", "missing: 1 of the events below the head, the first of them at position 2",
			`CREATE TABLE lost AS SELECT * FROM annals.events WHERE position = 2;` + deleteEvent + `2;` + keepEvents,
			`INSERT INTO annals.events SELECT * FROM lost; DROP TABLE lost`},
		{"the first events are missing", "log", "missing: 2 of the events below the head, the first of them at position 1",
			`CREATE TABLE lost AS SELECT * FROM annals.events WHERE position <= 2;` + deleteEvent + `1;` + deleteEvent + `2;` + keepEvents,
			`INSERT INTO annals.events SELECT * FROM lost; DROP TABLE lost`},
		{"a migration is missing", "migrations", " of ",
			`DELETE FROM public.annals_migrations WHERE version_id = (SELECT max(version_id) FROM public.annals_migrations)`, `SELECT 1`},
	} {
		db.MustExec(c.wrong)
		for check, f := range diagnosis(t, "--database-url", db.DSN) {
			if check == "durability" && (f.OK || !strings.Contains(f.Detail, "fsync off, full_page_writes off")) {
				t.Errorf("%s: the tests' server has no fsync: %+v", c.name, f)
			}
			if want := check == c.check; f.OK == want && (check != "durability" || want) {
				t.Errorf("%s: %s: ok is %v: %s", c.name, check, f.OK, f.Detail)
			} else if want && !strings.Contains(f.Detail, c.says) {
				t.Errorf("%s: %s: %s; want %q", c.name, check, f.Detail, c.says)
			}
		}
		db.MustExec(c.mend)
	}
}

// A machine whose secret doesn't open the keys of personal text, as after a restore of the database alone, hears so.
func TestDoctorWithoutTheSecret(t *testing.T) {
	t.Parallel()
	db := sealedLog(t)
	other := filepath.Join(t.TempDir(), "other.secret")
	if err := os.WriteFile(other, []byte(strings.Repeat("k7", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "the subject keys exist, the secret that wraps them doesn't",
		other:                              "wrapped by another passphrase or key file",
	} {
		annals(t, "doctor", "--database-url", db.DSN, "--subject-keys-file", file).exits(exitFailed).prints("WRONG  subject keys", says)
	}
	if f := diagnosis(t, "--database-url", db.DSN)["subject keys"]; !f.OK || f.Detail != "the secret here opens them" {
		t.Errorf("with the secret: %+v", f)
	}
}

const (
	deleteEvent = `ALTER TABLE annals.events DISABLE TRIGGER USER; DELETE FROM annals.events WHERE position = `
	keepEvents  = `ALTER TABLE annals.events ENABLE TRIGGER USER`
)

// What is wrong with a server is named, and what is right with it is no finding. This one is for real data, and small.
func TestDoctorOfAServer(t *testing.T) {
	t.Parallel()
	const limit = 20
	server := pgtest.Cluster(t, pgtest.WithFsync(), pgtest.WithSettings(map[string]string{"max_connections": fmt.Sprint(limit)}))
	dsn := server.DSN()
	annals(t, "migrate", "--database-url", dsn).exits(exitDone)
	db := sqlx.MustConnect("postgres", dsn)
	defer db.Close()
	crowd := func() {
		db.SetMaxIdleConns(limit)
		var held []*sqlx.Conn
		for range limit - 3 {
			conn, err := db.Connx(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	run := func(statement string) func() { return func() { db.MustExec(statement) } }
	for _, c := range []struct {
		name, check, says string
		wrong, mend       func()
	}{
		{"nothing", "", "", run(`SELECT 1`), run(`SELECT 1`)},
		{"a role is gone", "roles", "not granted: annals_query;", run(`ALTER ROLE annals_query RENAME TO gone`),
			run(`ALTER ROLE gone RENAME TO annals_query`)},
		{"both roles are gone", "roles", "annals_app, annals_query", run(`ALTER ROLE annals_query RENAME TO gone; ALTER ROLE annals_app RENAME TO away`),
			run(`ALTER ROLE gone RENAME TO annals_query; ALTER ROLE away RENAME TO annals_app`)},
		{"commits don't wait for standbys", "durability", "synchronous_commit local",
			run(`ALTER ROLE postgres SET synchronous_commit = local`), run(`ALTER ROLE postgres RESET synchronous_commit`)},
		{"nearly all connections are taken", "connections", "of 20 in use", crowd, func() { db.SetMaxIdleConns(1) }},
	} {
		c.wrong()
		found := diagnosis(t, "--database-url", dsn)
		for _, check := range []string{"database", "server", "durability", "connections", "clock", "migrations", "roles", "log", "append-only"} {
			f, want := found[check], check == c.check
			if f.OK == want || want && !strings.Contains(f.Detail, c.says) {
				t.Errorf("%s: %s: ok is %v: %s; want %q", c.name, check, f.OK, f.Detail, c.says)
			}
		}
		c.mend()
	}
}

func TestSupportedServers(t *testing.T) {
	t.Parallel()
	for number, want := range map[int]bool{90624: false, 130000: false, 130022: false, 140000: true, 150018: true, 180001: true} {
		if got := supportedServer(number); got != want {
			t.Errorf("server_version_num %d: %v", number, got)
		}
	}
}

func TestJudgingProjections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    subscriber
		ok   bool
		says string
	}{
		{subscriber{status: "running", position: 9, lag: 1}, true, "running at position 9, 1 behind"},
		{subscriber{status: "paused", position: 9, lag: 1}, true, "paused at position 9, 1 behind"},
		{subscriber{status: "rebuilding", position: 9, lag: doctorProjectionLag + 1}, true, "rebuilding at position 9"},
		{subscriber{status: "running", lag: doctorProjectionLag}, true, "100000 behind"},
		{subscriber{status: "running", lag: doctorProjectionLag + 1}, false, "is a server running?"},
		{subscriber{status: "running", lag: doctorProjectionLag + 1, kind: "policy"}, true, "100001 behind"},
		{subscriber{status: "failed", name: "orders", failedAt: 7, failure: "boom"}, false, "failed at position 7: boom; see 'annals projections failures orders'"},
		{subscriber{status: "paused", position: 9, lag: -2}, false, "at position 9, 2 above the head"},
	} {
		if ok, detail := c.s.judge(); ok != c.ok || !strings.Contains(detail, c.says) {
			t.Errorf("%+v: %v, %s", c.s, ok, detail)
		}
	}
}

// fakeClock sets the database's clock more than an hour ahead, for new sessions.
const fakeClock = `CREATE SCHEMA fake;
	CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '65 minutes' $$;
	DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = fake, pg_catalog, public', current_database()); END $$`

// sealedLog is a database with a few events that are sealed and signed.
func sealedLog(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN)
	c := server.caller(shop)
	c.product("p", 1)
	c.product("q", 1)
	verifySeal(t, c.head(), "--database-url", db.DSN)
	server.stop()
	return db
}

// Who holds what another waits for is named, with its process and the age of its transaction, also when that isn't blocking
// anybody. The database's clock runs an hour ahead of the transactions' start, so that they are old at once.
func TestDoctorNamesWhoBlocks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	serveHere(t, "--database-url", db.DSN).stop()
	db.MustExec(fakeClock)
	session := func(app string) (tx *sqlx.Tx, pid int) {
		pool, err := eventstore.OpenDB(db.DSN, eventstore.RoleOwner, 1, app)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		tx = pool.MustBeginTx(t.Context(), nil)
		if err := tx.Get(&pid, `SELECT pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		return tx, pid
	}
	holder, holderPID := session("somebody's psql")
	holder.MustExec(`LOCK TABLE annals.subscribers`)
	found := diagnosis(t, "--database-url", db.DSN)["transactions"]
	if want := fmt.Sprintf(`"somebody's psql" (pid %d, idle in transaction)`, holderPID); found.OK || !strings.Contains(found.Detail, want) ||
		!strings.Contains(found.Detail, "1h") {
		t.Errorf("%+v; want %s", found, want)
	}
	waiter, waiterPID := session("annals projections")
	waits := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(`LOCK TABLE annals.subscribers`)
		waits <- err
	}()
	for deadline := time.Now().Add(patience); ; {
		found = diagnosis(t, "--database-url", db.DSN)["locks"]
		if !found.OK || time.Now().After(deadline) {
			break
		}
	}
	want := fmt.Sprintf(`"annals projections" (pid %d) waits for "somebody's psql" (pid %d, idle in transaction), whose transaction is 1h`,
		waiterPID, holderPID)
	if found.OK || !strings.Contains(found.Detail, want) {
		t.Errorf("%+v; want %s", found, want)
	}
	if err := errors.Join(holder.Rollback(), <-waits, waiter.Rollback()); err != nil {
		t.Error(err)
	}
}

func TestDoctorWithoutDatabase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ dsn, check, says string }{
		"nobody listens": {"postgres://u:secret@127.0.0.1:1/d?sslmode=disable", "database", "refused"},
		"no migrations":  {pgtest.NewEmpty(t).DSN, "migrations", "0 of "},
	} {
		found := diagnosis(t, "--database-url", c.dsn)[c.check]
		if found.OK || !strings.Contains(found.Detail, c.says) || strings.Contains(found.Detail, "secret") {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestDiskIsRoomy(t *testing.T) {
	t.Parallel()
	for free, want := range map[uint64]bool{0: false, 99: false, 100: true, 1000: true} {
		if got := (disk{free: free, total: 1000}).roomy(); got != want {
			t.Errorf("%d of 1000 free: %v", free, got)
		}
	}
	db := pgtest.New(t)
	if d, ok, err := diskOf(t.Context(), db.DB.DB); !ok || err != nil || d.total == 0 || d.free > d.total {
		t.Errorf("the tests' own server is on %+v, %v, %v", d, ok, err)
	}
}
