package projections_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"annals/eventstore"
	"annals/projections"
	"annals/projections/projectionstest"
)

func TestEnsureSchemasByManyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			specs := []projections.Spec{totalsSpec("one"), totalsSpec("two")}
			if err := projections.EnsureSchemas(context.Background(), b.db.DB, specs...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var owners []string
	err := b.db.Select(&owners, `SELECT tableowner FROM pg_tables WHERE schemaname IN ('rm_one_v1', 'rm_two_v1')`)
	if err != nil || !slices.Equal(owners, []string{"annals_app", "annals_app"}) {
		t.Errorf("owners %v: %v", owners, err)
	}
}

func TestLostRowsOrCheckpointStartOver(t *testing.T) {
	t.Parallel()
	for name, loss := range map[string]string{
		"nothing lost":         ``,
		"the rows are lost":    `DROP SCHEMA rm_totals_v1 CASCADE`,
		"the checkpoint is":    `DELETE FROM annals.subscribers WHERE name = 'totals'`,
		"an older one goes on": `UPDATE annals.subscribers SET position = 3 WHERE name = 'totals'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(counts(30)...)
			g := b.group(b.config(), totals("totals", nil))
			stop := b.run(g)
			b.waitFor(g, "totals", 30)
			stop()
			if _, err := b.db.Exec(loss); err != nil {
				t.Fatal(err)
			}
			g = b.group(b.config(), totals("totals", nil))
			b.run(g)
			b.waitFor(g, "totals", b.append(counts(3)...))
			b.checkTotals("totals", 33)
		})
	}
}

// TestQueriesSeeTheirClientAlone: whatever a read model's author writes, tables with a client_id are behind row-level
// security, and the query role can't write.
func TestQueriesSeeTheirClientAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := projectionstest.Record(t, b.registry, 0, facts(8)...)
	projectionstest.Serve(t, b.db.DB, b.registry, totals("totals", nil), events)
	for client, want := range map[string]int{"acme": 2, "globex": 2, "nobody": 0, eventstore.AllClients: 4} {
		err := projectionstest.Tenants(t, b.db.DSN).Read(context.Background(), client, func(ctx context.Context, q eventstore.Querier) error {
			var n int
			if err := q.GetContext(ctx, &n, `SELECT count(*) FROM rm_totals_v1.totals`); err != nil {
				return err
			}
			if n != want {
				t.Errorf("%s sees %d rows, want %d", client, n, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pool, err := eventstore.OpenDB(b.db.DSN, eventstore.RoleQuery, 1, "queries")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var n int
	if err := pool.Get(&n, `SELECT count(*) FROM rm_totals_v1.totals`); err != nil || n != 0 {
		t.Errorf("without a client %d rows are seen: %v", n, err)
	}
	for _, s := range []string{
		`DELETE FROM rm_totals_v1.totals`, `UPDATE annals.subscribers SET position = 0`, `SELECT * FROM annals.skipped_events`,
	} {
		if _, err := pool.Exec(s); err == nil {
			t.Errorf("the query role may %s", s)
		}
	}
}

func TestPolicyVersionsGoOnWhereTheLastStood(t *testing.T) {
	t.Parallel()
	b := setup(t)
	spec := (&recorder{name: "reacts"}).Spec()
	b.ensure(spec)
	if _, err := b.db.Exec(`UPDATE annals.subscribers SET position = 7 WHERE name = 'reacts'`); err != nil {
		t.Fatal(err)
	}
	spec.Version = 2
	b.ensure(spec)
	var position int64
	if err := b.db.Get(&position, `SELECT position FROM annals.subscribers WHERE name = 'reacts' AND version = 2`); err != nil || position != 7 {
		t.Errorf("starts at %d: %v", position, err)
	}
}

func TestGroupsRefuseWhatCanNotRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	unknown := totals("unknown", nil)
	unknown.FoldConfig.Spec.EventTypes = []string{"tally.never"}
	for name, projectors := range map[string][]projections.Projector{
		"a name twice":     {totals("same", nil), totals("same", nil)},
		"an unknown event": {unknown},
	} {
		if _, err := projections.New(b.config(), projectors...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	g, err := projections.New(b.config(), totals("never_made", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background()); err == nil {
		t.Error("ran without tables and checkpoint")
	}
}
