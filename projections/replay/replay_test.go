package replay

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"annals/projections"
)

func TestRebuildEqualsLive(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]projections.Projector{
		"fold": bulkTotals{}, "by page": totals{}, "journal": entries{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(12_345)
			b.live(p)
			spec := p.Spec()
			table := spec.Schema() + "." + spec.Name
			before, oid := b.rows(table), b.int(`SELECT $1::regclass::oid::bigint`, table)
			result, err := Rebuild(b.ctx, b.deps, p, Options{MergeEvery: 3_000})
			if err != nil {
				t.Fatal(err)
			}
			if !result.Switched || result.Position != 12_345 || result.Resumed {
				t.Errorf("result %+v", result)
			}
			if b.int(`SELECT $1::regclass::oid::bigint`, table) == oid {
				t.Error("the live table is still the old one")
			}
			if diff := cmp.Diff(before, b.rows(table)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{spec.Schema()}, b.schemas()); diff != "" {
				t.Errorf("schemas left behind: %s", diff)
			}
			if n := b.int(`SELECT count(*) FROM annals.builds`); n != 0 {
				t.Errorf("%d builds left behind", n)
			}
			b.fill(700)
			b.live(p)
			b.equalsReplay(p)
		})
	}
}

// TestGentle: one reader that rests reads all that several would.
func TestGentle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3*chunkEvents + 1)
	opts := Options{Gentle: true, Workers: 4}
	if workers := opts.withDefaults(b.deps.DB).Workers; workers != 1 {
		t.Errorf("%d readers", workers)
	}
	b.live(bulkTotals{})
	result, err := Rebuild(b.ctx, b.deps, bulkTotals{}, opts)
	wanted := b.int(`SELECT count(*) FROM annals.events WHERE event_type = 'counter.counted'`)
	if err != nil || !result.Switched || result.Position != 3*chunkEvents+1 || result.Events != wanted {
		t.Errorf("result %+v, error %v; %d events are wanted", result, err, wanted)
	}
	b.equalsReplay(bulkTotals{})
}

// TestSameTables: the rebuilt tables have the same indexes, constraints, policies, grants and owner, under the same names.
func TestSameTables(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]projections.Projector{"fold": bulkTotals{}, "journal": entries{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(5_000)
			b.ensure(p)
			before := b.catalogue(p.Spec().Schema())
			if _, err := Rebuild(b.ctx, b.deps, p, Options{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, b.catalogue(p.Spec().Schema())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func (b *bundle) catalogue(schema string) []string {
	b.t.Helper()
	list, err := texts(b.ctx, b.DB, `
		SELECT format('%s %s %s %s owner %s', relname, relkind, relrowsecurity, relacl, relowner::regrole)
			FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'i')
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = $1::text
		UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = $1::text::regnamespace
		UNION ALL SELECT format('%s %s %s %s', tablename, policyname, roles, qual) FROM pg_policies WHERE schemaname = $1::text
		UNION ALL SELECT format('%s %s %s', attrelid::regclass, attname, attnotnull) FROM pg_attribute
			WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'r') AND attnum > 0
		ORDER BY 1`, schema)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// TestRowLevelSecurity: the query role sees the rebuilt rows of the client its transaction names, and no others.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3_000)
	if _, err := Rebuild(b.ctx, b.deps, bulkTotals{}, Options{}); err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]int64{"client-0": 400, "client-1": 500, "": 0, "*": 900} {
		tx, err := b.BeginTx(b.ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		_, err = tx.ExecContext(b.ctx, `SET LOCAL ROLE annals_query`)
		if err == nil {
			err = tx.QueryRowContext(b.ctx, `SELECT count(t.key) FROM set_config('annals.client', $1, true),
				LATERAL (SELECT key FROM rm_totals_v1.totals) t`, client).Scan(&got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("client %q sees %d rows, want %d", client, got, want)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrdinaryOwner: a role that isn't a superuser, but a member of the application's role and allowed to create schemas,
// can rebuild, and the application can go on writing to the tables it gets.
func TestOrdinaryOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3_000)
	b.live(bulkTotals{})
	role := "owner_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	b.must(`CREATE ROLE ` + role + ` LOGIN IN ROLE annals_app; DO $$ BEGIN
		EXECUTE format('GRANT CREATE ON DATABASE %I TO ` + role + `', current_database()); END $$`)
	t.Cleanup(func() { b.must(`DROP OWNED BY ` + role + ` CASCADE; DROP ROLE ` + role) })
	address, err := url.Parse(b.DSN)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.User(role)
	pool, err := sql.Open("postgres", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var user string
	if err := pool.QueryRowContext(b.ctx, `SELECT current_user`).Scan(&user); err != nil || user != role {
		t.Fatalf("connected as %q, error %v", user, err)
	}
	deps := b.deps
	deps.DB = pool
	result, err := Rebuild(b.ctx, deps, bulkTotals{}, Options{})
	if err != nil || !result.Switched {
		t.Fatalf("result %+v, error %v", result, err)
	}
	tx := b.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`SET LOCAL ROLE annals_app; UPDATE rm_totals_v1.totals SET total = 0; DELETE FROM rm_totals_v1.totals`)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(10)
	policy := specOnly{projections.Spec{Name: "expiry", Version: 1, Kind: projections.KindPolicy}}
	sequence := specOnly{projections.Spec{Name: "bad", Version: 1, Kind: projections.KindReadModel,
		DDL: `CREATE TABLE t (id bigserial PRIMARY KEY)`}}
	for _, c := range []struct {
		name      string
		projector projections.Projector
		opts      Options
		want      error // nil: any
	}{
		{"policy", policy, Options{}, ErrNotReadModel},
		{"beyond the head", totals{}, Options{Until: 11}, ErrBeyondHead},
		{"nothing to compare", totals{}, Options{DryRun: true}, ErrNoLiveTables},
		{"sequence", sequence, Options{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Rebuild(b.ctx, b.deps, c.projector, c.opts)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

type specOnly struct{ spec projections.Spec }

func (p specOnly) Spec() projections.Spec { return p.spec }

func (specOnly) Apply(context.Context, projections.Tx, projections.Page) error { return nil }

func TestSecondOperator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(10)
	var inner error
	opts := Options{observe: func(s signal) {
		if s == signalSwitch {
			_, inner = Rebuild(b.ctx, b.deps, totals{}, Options{})
			if n := b.int(`SELECT count(*) FROM annals.running_builds WHERE name = 'totals' AND version = 1`); n != 1 {
				t.Errorf("%d rebuilds are seen to run, want 1", n)
			}
		}
	}}
	if _, err := Rebuild(b.ctx, b.deps, totals{}, opts); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(inner, ErrAlreadyBuilding) {
		t.Errorf("the second operator got %v", inner)
	}
	if n := b.int(`SELECT count(*) FROM annals.running_builds`); n != 0 {
		t.Errorf("%d rebuilds are seen to run after the end", n)
	}
	if _, err := Rebuild(b.ctx, b.deps, totals{}, Options{}); err != nil {
		t.Errorf("a rebuild after the first: %v", err)
	}
}

// TestRebuildAll: a failure of one projection doesn't keep the next from being rebuilt.
func TestRebuildAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(10)
	bad := specOnly{projections.Spec{Name: "bad", Version: 1, Kind: projections.KindReadModel, DDL: `CREATE TABLE (`}}
	results, err := RebuildAll(b.ctx, b.deps, []projections.Projector{bad, totals{}}, Options{})
	if err == nil || len(results) != 1 || results[0].Name != "totals" {
		t.Errorf("results %+v, error %v", results, err)
	}
}
