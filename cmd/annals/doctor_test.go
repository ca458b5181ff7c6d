package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/eventstore"
	"annals/eventstore/pgtest"
)

// diagnosis runs the doctor on a database and gives its findings by check.
func diagnosis(t *testing.T, dsn string) map[string]finding {
	t.Helper()
	p := annals(t, "doctor", "--database-url", dsn, "--output", "json")
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
		{"the clock is off", "clock", "1h0m0", fakeClock, database + `RESET search_path', current_database()); END $$`},
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
		{"a migration is missing", "migrations", " of ",
			`DELETE FROM public.annals_migrations WHERE version_id = (SELECT max(version_id) FROM public.annals_migrations)`, `SELECT 1`},
	} {
		db.MustExec(c.wrong)
		for check, f := range diagnosis(t, db.DSN) {
			// The tests' server has no fsync.
			if want := check == c.check; f.OK == want && (check != "durability" || want) {
				t.Errorf("%s: %s: ok is %v: %s", c.name, check, f.OK, f.Detail)
			} else if want && !strings.Contains(f.Detail, c.says) {
				t.Errorf("%s: %s: %s; want %q", c.name, check, f.Detail, c.says)
			}
		}
		db.MustExec(c.mend)
	}
}

// fakeClock sets the database's clock an hour ahead, for new sessions.
const fakeClock = `CREATE SCHEMA fake;
	CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$;
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
	found := diagnosis(t, db.DSN)["transactions"]
	if want := fmt.Sprintf(`"somebody's psql" (pid %d, idle in transaction)`, holderPID); found.OK || !strings.Contains(found.Detail, want) ||
		!strings.Contains(found.Detail, "1h0m") {
		t.Errorf("%+v; want %s", found, want)
	}
	waiter, waiterPID := session("annals projections")
	waits := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(`LOCK TABLE annals.subscribers`)
		waits <- err
	}()
	for deadline := time.Now().Add(patience); ; {
		found = diagnosis(t, db.DSN)["locks"]
		if !found.OK || time.Now().After(deadline) {
			break
		}
	}
	want := fmt.Sprintf(`"annals projections" (pid %d) waits for "somebody's psql" (pid %d, idle in transaction), whose transaction is 1h0m`,
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
		found := diagnosis(t, c.dsn)[c.check]
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
