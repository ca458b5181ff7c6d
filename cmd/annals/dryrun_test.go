//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"net/http"
	"testing"

	"annals/eventstore/pgtest"
)

// A dry run says which rows differ from the log, and exits with 1.
func TestDryRunFindsDifferences(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveHere(t, database...)
	c := server.caller(shop)
	product := c.product("altered", 5)
	c.get("/v1/products/"+product, c.head()).is(http.StatusOK)
	dryRun := append([]string{"replay", "--all", "--dry-run"}, database...)
	annals(t, dryRun...).exits(exitDone).prints("no difference")
	db.MustExec(`UPDATE ` + liveProducts + ` SET available = 6`)
	annals(t, dryRun...).exits(exitFailed).prints("1 rows differ", product).says("the live rows differ from the log")
	annals(t, append([]string{"replay", "products"}, database...)...).exits(exitDone).prints("switched")
	annals(t, dryRun...).exits(exitDone)
	if got := c.stock(product, 0); got.Available != 5 {
		t.Errorf("after the replay there is %+v", got)
	}
}
