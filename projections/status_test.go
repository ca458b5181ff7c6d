package projections_test

import (
	"context"
	"strings"
	"testing"

	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// Looking at the checkpoints, as every node does each second, doesn't walk the log, also when that was empty at first.
func TestStatesDoNotWalkTheLog(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.MustExec(`VACUUM ANALYZE annals.events`)
	pool, err := eventstore.OpenPreparedDB(db.DSN, eventstore.RoleApp, 1, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	if _, err := projections.States(context.Background(), pool, []projections.Spec{totalsSpec("totals")}); err != nil {
		t.Fatal(err)
	}
	var name string
	err = pool.QueryRow(`SELECT quote_ident(name) FROM pg_prepared_statements WHERE statement LIKE '%AS wanted (name, version)%'`).
		Scan(&name)
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	if err := pool.Select(&plan, `EXPLAIN (COSTS OFF) EXECUTE `+name+`('{}', '{}')`); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(plan, "\n")
	if !strings.Contains(text, "Index Only Scan Backward using events_pkey") {
		t.Errorf("the head isn't found from its end:\n%s", text)
	}
}
