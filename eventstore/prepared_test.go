package eventstore

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/pgtest"
)

func preparedPool(t *testing.T, db *pgtest.DB) *sqlx.DB {
	t.Helper()
	pool, err := OpenPreparedDB(db.DSN, RoleOwner, 1, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

// preparedNow gives how many statements the pool's one connection has prepared, and how often they ran.
func preparedNow(t *testing.T, pool *sqlx.DB) (statements, runs int) {
	t.Helper()
	err := pool.QueryRow(`SELECT count(*), coalesce(sum(generic_plans + custom_plans), 0) FROM pg_prepared_statements`).
		Scan(&statements, &runs)
	if err != nil {
		t.Fatal(err)
	}
	return statements, runs
}

func TestStatementsArePreparedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pool := preparedPool(t, db)
	pool.MustExec(`CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL)`)
	for i := range 4 {
		tx := pool.MustBegin()
		tx.MustExec(`INSERT INTO things (id, name) VALUES ($1, $2)`, i, "x")
		var name string
		if err := tx.Get(&name, `SELECT name FROM things WHERE id = $1`, i); err != nil || name != "x" {
			t.Fatal(name, err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if statements, runs := preparedNow(t, pool); statements != 2 || runs != 8 {
		t.Errorf("%d statements ran %d times, want 2 and 8", statements, runs)
	}
	for i := range 2 * maxPrepared {
		var n int
		if err := pool.Get(&n, fmt.Sprintf(`SELECT %d + $1::int`, i), 1); err != nil || n != i+1 {
			t.Fatal(n, err)
		}
	}
	if statements, _ := preparedNow(t, pool); statements != maxPrepared {
		t.Errorf("%d statements are kept, want %d", statements, maxPrepared)
	}
}

// A rebuild switches tables under statements that are prepared: they must find the new ones.
func TestPreparedStatementsFollowTables(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pool := preparedPool(t, db)
	db.MustExec(`CREATE SCHEMA live; CREATE SCHEMA built; CREATE SCHEMA trash;
		CREATE TABLE live.things (id bigint PRIMARY KEY, name text NOT NULL);
		CREATE TABLE built.things (id bigint PRIMARY KEY, name text NOT NULL);
		INSERT INTO live.things (id, name) VALUES (1, 'old'); INSERT INTO built.things (id, name) VALUES (1, 'new')`)
	name := func() (name string) {
		t.Helper()
		if err := pool.Get(&name, `SELECT name FROM live.things WHERE id = $1`, 1); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if got := name(); got != "old" {
		t.Fatal(got)
	}
	db.MustExec(`BEGIN; ALTER TABLE live.things SET SCHEMA trash; ALTER TABLE built.things SET SCHEMA live; COMMIT`)
	if got := name(); got != "new" {
		t.Errorf("%q: the statement reads the table that was taken away", got)
	}
	db.MustExec(`DROP TABLE trash.things`)
	// A result of other columns can't be had from the same preparation: the pool takes another connection.
	db.MustExec(`ALTER TABLE live.things ALTER COLUMN name TYPE varchar(9)`)
	if got := name(); got != "new" {
		t.Error(got)
	}
	pool.MustExec(`DEALLOCATE ALL`)
	if got := name(); got != "new" {
		t.Error(got)
	}
	// Within a transaction it is an error, after which the next one succeeds.
	tx := pool.MustBeginTx(context.Background(), nil)
	tx.MustExec(`DEALLOCATE ALL`)
	if err := tx.Get(new(string), `SELECT name FROM live.things WHERE id = $1`, 1); err == nil {
		t.Error("a transaction went on over a lost connection")
	}
	_ = tx.Rollback()
	if got := name(); got != "new" {
		t.Error(got)
	}
}

// The server is told to notice a client that vanished. How soon it says so over TCP alone; that it was told, always.
func TestServerNoticesAVanishedClient(t *testing.T) {
	t.Parallel()
	var told []string
	err := preparedPool(t, pgtest.New(t)).Select(&told, `SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE 'tcp\_%' ORDER BY name`)
	if want := "[tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval tcp_user_timeout]"; err != nil || fmt.Sprint(told) != want {
		t.Errorf("set: %v, %v; want %s", told, err, want)
	}
}

// Plans are made once, here while the table is known to be empty, and must be those that its growth doesn't spoil.
func TestPreparedPlansProbeByIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pool := preparedPool(t, db)
	db.MustExec(`CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL)`)
	db.MustExec(`VACUUM ANALYZE things`)
	const query = `SELECT name FROM things WHERE id = $1`
	for _, want := range []int{0, 1} {
		var names []string
		if err := pool.Select(&names, query, 7); err != nil || len(names) != want {
			t.Fatal(names, err)
		}
		db.MustExec(`INSERT INTO things (id, name) SELECT n, 'x' FROM generate_series(1, 1000) n ON CONFLICT DO NOTHING`)
	}
	var name string
	var custom int
	err := pool.QueryRow(`SELECT quote_ident(name), custom_plans FROM pg_prepared_statements WHERE statement LIKE 'SELECT name%'`).
		Scan(&name, &custom)
	if err != nil || custom != 0 {
		t.Fatalf("%d plans were made for one execution alone, %v", custom, err)
	}
	var plan []string
	if err := pool.Select(&plan, `EXPLAIN (COSTS OFF) EXECUTE `+name+`(7)`); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan[0], "Index") {
		t.Errorf("the plan that was made for an empty table is kept:\n%s", strings.Join(plan, "\n"))
	}
}
