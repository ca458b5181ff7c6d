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
		{"operation", "old", "49 hours"}, {"audit", "old", "49 hours"},
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

// A policy's old keys go although it is some events behind, as it is at most moments while clients write. They stay while an
// event of their age is still before it.
func TestOldKeysOfAPolicyThatIsBehind(t *testing.T) {
	t.Parallel()
	const retention = 2 * minIdempotencyRetention
	for name, c := range map[string]struct {
		age  time.Duration // of the first event not yet handled
		left int
	}{
		"of events recorded now":           {0, 0},
		"of events younger than the keys":  {retention - 2*clockMargin, 0},
		"of events about as old":           {retention - clockMargin/2, 1},
		"of events of the same age":        {retention + time.Hour, 1},
		"of events recorded long ago":      {10 * retention, 1},
		"of events from before a set-back": {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			n, err := openOperator(t.Context(), db.DSN, slog.New(slog.DiscardHandler)) // runs nothing: the policy stays where it is
			defer n.close(stopTimeout)
			if err != nil {
				t.Fatal(err)
			}
			db.MustExec(`INSERT INTO annals.subscribers (name, version, kind, position) VALUES ('close_on_ship', 1, 'policy', 1)`)
			db.MustExec(`
				INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
					schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
					data, metadata, data_salt, metadata_salt)
				SELECT p, gen_random_uuid(), gen_random_uuid(), 1, at, at, 1, 'mark.made', 'mark', 'acme', 'a', 'c', 'd', 'r',
					'{}', '{}', '\x00', '\x00'
				FROM (VALUES (1, now() - interval '1000 hours'), (2, now() - make_interval(secs => $1)), (3, now())) e (p, at)`,
				c.age.Seconds())
			db.MustExec(`INSERT INTO annals.idempotency_keys (client_id, scope, key, fingerprint, result, created_at)
				VALUES ('acme', 'policy:close_on_ship', 'old', '\x00', '{}', now() - make_interval(secs => $1))`,
				(retention + time.Hour).Seconds())
			if err := n.removeExpiredKeys(t.Context(), retention); err != nil {
				t.Fatal(err)
			}
			var left int
			if err := db.Get(&left, `SELECT count(*) FROM annals.idempotency_keys`); err != nil {
				t.Fatal(err)
			}
			if left != c.left {
				t.Errorf("%d keys are left, want %d", left, c.left)
			}
		})
	}
}
