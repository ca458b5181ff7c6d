package eventstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lib/pq"

	"annals/eventstore/pgtest"
)

// TestTheProgramCannotChangeHistory tries as the program's role, and as the log's owner, what only append_v2 may do.
func TestTheProgramCannotChangeHistory(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustAppend(t, openSequencer(t, db.DSN), withKey(withClaim(onStream(freshID(), 0, 1), "x", freshID()), "k", "f", `{}`))
	for _, c := range []struct {
		role      Role
		statement string
	}{
		{RoleApp, `INSERT INTO annals.events SELECT position + 1, event_id, aggregate_id, aggregate_version + 1,
			occurred_at, recorded_at, schema_version, leaf_version, event_type, aggregate_type, client_id, actor_id,
			correlation_id, causation_id, request_id, data, metadata, data_salt, metadata_salt FROM annals.events`},
		{RoleApp, `UPDATE annals.events SET actor_id = 'someone else'`},
		{RoleApp, `DELETE FROM annals.events`},
		{RoleApp, `TRUNCATE annals.events`},
		{RoleApp, `ALTER TABLE annals.events DISABLE TRIGGER ALL`},
		{RoleApp, `SET session_replication_role = replica`},
		{RoleApp, `INSERT INTO annals.unique_claims SELECT client_id, kind, 'y', owner_id FROM annals.unique_claims`},
		{RoleApp, `DELETE FROM annals.unique_claims`},
		{RoleApp, `UPDATE annals.idempotency_keys SET result = '{}'`},
		{RoleQuery, `SELECT annals.append_v1(0, '{}', '{}', '{}', '{}', '{}')`},
		{RoleQuery, `SELECT annals.append_v2(0, '', '{}', '{}', '{}', '{}', '{}')`},
		{RoleQuery, `SELECT annals.append_one_v1(0, NULL)`},
		{RoleQuery, `SELECT annals.append_one_v2(0, NULL)`},
		{RoleQuery, `DELETE FROM annals.idempotency_keys`},
		{RoleOwner, `UPDATE annals.events SET actor_id = 'someone else'`},
		{RoleOwner, `DELETE FROM annals.events`},
		{RoleOwner, `TRUNCATE annals.events`},
	} {
		pool, err := OpenDB(db.DSN, c.role, 1, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = pool.Exec(c.statement)
		if e, ok := errors.AsType[*pq.Error](err); !ok || e.Code != "42501" {
			t.Errorf("as %q: %s: %v", c.role, c.statement, err)
		}
		pool.Close()
	}
	checkDense(t, db, 1)
}

// TestNobodyChoosesPositions: whoever may call append_v2 can't make it leave gaps, nor write before the head.
func TestNobodyChoosesPositions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustAppend(t, openSequencer(t, db.DSN), onStream(freshID(), 0, 5))
	pool, err := OpenDB(db.DSN, RoleApp, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	appended := func(ordinals ...int) error {
		stream := freshID().String()
		var events []string
		for i, ordinal := range ordinals {
			events = append(events, fmt.Sprintf(`ROW(0, %d, gen_random_uuid(), '%s', %d, now(), 1, 'product.renamed', 'product',
				'acme', 'someone', 'c', 'c', 'c', '{}', '{}', '\x00', '\x00')::annals.append_event_v2`, ordinal, stream, i+1))
		}
		_, err := pool.Exec(`SELECT annals.append_v2(5, NULL, ARRAY[ROW(0, '` + stream + `', 'acme', 0)::annals.append_stream_v1],
			ARRAY[` + strings.Join(events, ", ") + `], '{}', '{}', '{}')`)
		return err
	}
	for _, ordinals := range [][]int{{0}, {-4}, {2}, {1000}, {1, 3}, {0, 1}, {1, 1}} {
		err := appended(ordinals...)
		if e, ok := errors.AsType[*pq.Error](err); !ok || e.Code != "22023" && e.Code != "23505" {
			t.Errorf("ordinals %v: %v", ordinals, err)
		}
	}
	if err := appended(1, 2); err != nil {
		t.Error(err)
	}
	checkDense(t, db, 7)
}

func TestOpenDBTakesTheRole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, c := range []struct {
		role Role
		want string
	}{{RoleApp, "annals_app"}, {RoleQuery, "annals_query"}, {RoleOwner, ""}, {Role("annals_unheard_of"), ""}} {
		pool, err := OpenDB(db.DSN, c.role, 3, "test of roles")
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		var got struct{ Role, Login, App string }
		if err := pool.Get(&got, `SELECT current_user AS role, session_user AS login,
			current_setting('application_name') AS app`); err != nil {
			t.Fatal(err)
		}
		if c.want == "" {
			c.want = got.Login
		}
		if got.Role != c.want || got.App != "test of roles" {
			t.Errorf("role %q: %+v", c.role, got)
		}
	}
}

func TestNormalizeDSN(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, dsn, host, db string }{
		{"pairs", "host=/tmp/x dbname=d user=u", "/tmp/x", "d"},
		{"URL", "postgres://u:p%40ss@db.example/d?sslmode=require", "db.example", "d"},
		{"long scheme", "postgresql://u@db.example:6000/d", "db.example", "d"},
		{"socket in the query", "postgres://u@/d?host=/tmp/x", "/tmp/x", "d"},
		{"socket as host", "postgres://u@%2Ftmp%2Fx/d", "/tmp/x", "d"},
		{"socket as host, with port and options", "postgres://u:p@%2Ftmp%2Fx:6000/d?binary_parameters=no", "/tmp/x", "d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := NormalizeDSN(c.dsn)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := pq.NewConfig(got)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Host != c.host || cfg.Database != c.db || !cfg.BinaryParameters || cfg.User != "u" || cfg.SSLMode == "" {
				t.Errorf("%s became %s", c.dsn, got)
			}
			if again, err := NormalizeDSN(got); err != nil || again != got {
				t.Errorf("%s isn't stable: %s, %v", got, again, err)
			}
		})
	}
	for _, bad := range []string{"postgres://u:secret@host:port/d", "host", "postgres://u:secret@%2Ftmp%zz/d"} {
		if got, err := NormalizeDSN(bad); err == nil {
			t.Errorf("%s became %s", bad, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
