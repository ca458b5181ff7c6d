package eventstore

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/eventstore/pgtest"
)

func countEvents(ctx context.Context, q Querier) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT count(*) FROM annals.events`)
	return n, err
}

func TestTenantsSeeTheirOwn(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	ctx := context.Background()
	other := acmeCommand()
	other.Client = "it's other"
	mustRun(t, store, acmeCommand(), openCounter("a", 1))
	mustRun(t, store, acmeCommand(), openCounter("b", 1))
	mustRun(t, store, other, openCounter("a", 1))
	for client, want := range map[string]int{acme: 2, "it's other": 1, AllClients: 3, "nobody": 0} {
		err := store.Tenants.Read(ctx, client, func(ctx context.Context, q Querier) error {
			got, err := countEvents(ctx, q)
			if err == nil && got != want {
				t.Errorf("client %q sees %d events, want %d", client, got, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	// Without the path there is no client, and so there are no rows; also on a connection that the path has used.
	conn, err := store.Queries.Connx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := countEvents(ctx, conn); got != 0 || err != nil {
		t.Errorf("without a client %d events are visible, %v", got, err)
	}
	var role string
	if err := conn.GetContext(ctx, &role, `SELECT current_user`); err != nil || role != string(RoleQuery) {
		t.Errorf("queries run as %s, %v", role, err)
	}
	for _, client := range []string{"", "a\x00b"} {
		called := func(context.Context, Querier) error { t.Error("the query ran"); return nil }
		if err := store.Tenants.Read(ctx, client, called); err == nil {
			t.Errorf("client %q is accepted", client)
		}
	}
}

// The owner of a database who may not make roles reads past row-level security: the reader names the client itself.
// No read holds a connection for longer than anybody waits for it.
func TestReadsAreBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for dsn, want := range map[string]string{db.DSN: "30s", db.DSN + "&statement_timeout=3000": "3s"} {
		queries, err := OpenDB(dsn, RoleQuery, 1, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer queries.Close()
		var got string
		err = NewTenants(queries).Read(t.Context(), acme, func(ctx context.Context, q Querier) error {
			if err := q.GetContext(ctx, &got, `SHOW statement_timeout`); err != nil || got != "3s" {
				return err
			}
			_, err := q.QueryxContext(ctx, `SELECT pg_sleep(60)`)
			return unavailable(err)
		})
		if got != want || want == "3s" && !errors.Is(err, context.DeadlineExceeded) || want != "3s" && err != nil {
			t.Errorf("a statement may take %s, want %s: %v", got, want, err)
		}
	}
}

func TestReaderWithoutRowLevelSecurity(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	id := newCounter(t, store, 1)
	mustRun(t, store, acmeCommand(), onCounter(id, counterTake(1)))
	r, ctx := NewReader(NewTenants(db.DB), db.DB), context.Background()
	if page, err := r.Page(ctx, EventFilter{Client: "other"}, 0, 10); err != nil || len(page.Events) != 0 || page.NextAfter != 2 {
		t.Errorf("page %+v, %v", page, err)
	}
	if _, err := r.Event(ctx, "other", 1); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("event: %v", err)
	}
	if _, err := r.Stream(ctx, "other", "counter", id, 1, 10); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("stream: %v", err)
	}
}

// However a query ends, the connection goes on without a client and without a transaction.
func TestTenantsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db, func(c *Config) { c.QueryConns = 1 })
	ctx := context.Background()
	mustRun(t, store, acmeCommand(), openCounter("a", 1))
	failed := errors.New("failed")
	endings := map[string]func(ctx context.Context, q Querier) error{
		"error":     func(context.Context, Querier) error { return failed },
		"SQL error": func(ctx context.Context, q Querier) error { return q.GetContext(ctx, new(int), `SELECT 1/0`) },
		"write": func(ctx context.Context, q Querier) error {
			return q.GetContext(ctx, new(int), `CREATE TABLE t (a int)`)
		},
		"panic": func(context.Context, Querier) error { panic(failed) },
	}
	for name, ending := range endings {
		func() {
			defer func() {
				if r := recover(); (r != nil) != (name == "panic") {
					t.Errorf("%s: recovered %v", name, r)
				}
			}()
			if err := store.Tenants.Read(ctx, acme, ending); err == nil {
				t.Errorf("%s: no error", name)
			}
		}()
		var visible int
		if err := store.Queries.Get(&visible, `SELECT count(*) FROM annals.events`); visible != 0 || err != nil {
			t.Errorf("%s: %d events stay visible, %v", name, visible, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	err := store.Tenants.Read(cancelled, acme, func(ctx context.Context, q Querier) error {
		cancel()
		return q.GetContext(ctx, new(int), `SELECT 1 FROM pg_sleep(60)`)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query gives %v", err)
	}
	waitForNone(t, db, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE '%queries' AND state LIKE 'idle in transaction%'`)
}

// After a restart of the database every idle connection is broken; no query may fail for it.
func TestReadsLeaveBrokenConnectionsBehind(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	var idle []*sqlx.Conn
	for range 4 {
		conn, err := store.Queries.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	for _, conn := range idle {
		conn.Close()
	}
	db.MustExec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	err := store.Tenants.Read(t.Context(), acme, func(ctx context.Context, q Querier) error {
		_, err := countEvents(ctx, q)
		return err
	})
	if err != nil {
		t.Errorf("a query after the restart: %v", err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	queries, err := OpenDB("postgres:///x?host=/nonexistent", RoleQuery, 1, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer queries.Close()
	err = NewTenants(queries).Read(context.Background(), acme, func(context.Context, Querier) error { return nil })
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	registry := counterRegistry(t)
	_, err = Open(context.Background(), Config{DSN: "postgres:///x?host=/nonexistent", Registry: registry})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("open: got %v, want ErrUnavailable", err)
	}
}
