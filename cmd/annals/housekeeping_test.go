package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

func TestOldIdempotencyKeysAreRemoved(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	cfg := &serveConfig{
		cartLifetime: time.Hour, cartSweep: time.Hour, syncWait: time.Second, shutdownTimeout: stopTimeout,
		keyRetention: 1000 * minIdempotencyRetention, // the node's own round, at its start, is to remove nothing
	}
	n, err := startNode(t.Context(), cfg, db.DSN, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close(stopTimeout)
	const insert = `INSERT INTO annals.idempotency_keys (client_id, scope, key, fingerprint, result, created_at)
		VALUES ('acme', $1, $2, '\x00', '{}', now() - $3::interval)`
	for _, k := range []struct{ scope, key, age string }{
		{"http", "old", "49 hours"}, {"http", "new", "25 hours"},
		{"policy:kpi_watch", "old", "49 hours"}, {"policy:close_on_ship", "behind", "49 hours"},
	} {
		db.MustExec(insert, k.scope, k.key, k.age)
	}
	// A policy that hasn't caught up may see its events again.
	if err := n.group.Pause(t.Context(), "close_on_ship", "operator"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	head, err := n.store.Reader.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.group.WaitFor(ctx, "kpi_watch", head); err != nil {
		t.Fatal(err)
	}
	if err := n.removeExpiredKeys(ctx, 2*minIdempotencyRetention); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := db.SelectContext(ctx, &left, `SELECT key FROM annals.idempotency_keys ORDER BY key`); err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 || left[0] != "behind" || left[1] != "new" {
		t.Fatalf("left are the keys %q, want those of 25 hours ago and of the policy that is behind", left)
	}
}
