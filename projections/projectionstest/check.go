package projectionstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// delivery is one way in which events reach a projector.
type delivery struct {
	name  string
	apply func(ctx context.Context, p projections.Projector, tx projections.Tx, events []projections.Event) error
}

// Check applies facts in every way in which a projector can be given them, each into tables of its own: in pages of 1, 3
// and all, with every event again and with the whole prefix again after every event (which may be refused, but not change a
// row), and, for a projector that has it, by its bulk build, in one go, with merges in between and resumed by another build,
// and by copying within the database.
// All tables must be equal, byte for byte. It gives the rows: per table, as PostgreSQL writes them, in order.
func Check(
	t testing.TB, db *sqlx.DB, registry *domain.Registry, p projections.Projector, facts ...Fact,
) map[string][]string {
	t.Helper()
	ctx := context.Background()
	events := Wanted(t, registry, p.Spec(), Record(t, registry, 0, facts...))
	deliveries := []delivery{
		{"in one page", paged(len(events))}, {"in pages of 1", paged(1)}, {"in pages of 3", paged(3)},
		{"each event again", eachAgain}, {"with the whole prefix again", prefixes},
	}
	if _, ok := p.(projections.Bulk); ok {
		deliveries = append(deliveries,
			delivery{"by a build", built(len(events), len(events), len(events))},
			delivery{"by a build that merges", built(2, 3, len(events))},
			delivery{"by builds that go on", built(2, 2, 4)})
	}
	if projections.CopyOf(p) != nil {
		deliveries = append(deliveries, delivery{"copied in the database", copied})
	}
	var want map[string][]string
	for i, d := range deliveries {
		got, err := deliver(ctx, db, p, fmt.Sprintf("check_%d_%s", i, p.Spec().Name), d, events)
		if err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		if i == 0 {
			want = got
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s the rows differ from those of one page (-one page +%s):\n%s", d.name, d.name, diff)
		}
	}
	return want
}

// Wanted gives the events that a subscriber is given, decoded as it is given them.
func Wanted(
	t testing.TB, registry *domain.Registry, spec projections.Spec, events []projections.Event,
) []projections.Event {
	t.Helper()
	var wanted []projections.Event
	for _, e := range events {
		e.Payload = nil
		if spec.Lean {
			e.EventID, e.ActorID, e.RecordedAt, e.Metadata = domain.ID{}, "", time.Time{}, nil
			e.CorrelationID, e.CausationID, e.RequestID = "", "", ""
		}
		for _, eventType := range spec.EventTypes {
			if eventType == e.EventType {
				wanted = append(wanted, e)
			}
		}
		if spec.EventTypes == nil {
			wanted = append(wanted, e)
		}
	}
	if _, err := projections.NewDecoder(registry).Decode(spec, wanted); err != nil {
		t.Fatal(err)
	}
	return wanted
}

func deliver(
	ctx context.Context, db *sqlx.DB, p projections.Projector, schema string, d delivery, events []projections.Event,
) (map[string][]string, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	if err := projections.CreateTables(ctx, tx, p.Spec(), schema); err != nil {
		return nil, err
	}
	if err := d.apply(ctx, p, projections.Tx{Executor: tx, Schema: schema}, events); err != nil {
		return nil, err
	}
	return Dump(ctx, tx, schema)
}

// Dump gives the rows of every table of a schema, as PostgreSQL writes them, in order.
func Dump(ctx context.Context, tx projections.Executor, schema string) (map[string][]string, error) {
	tables, err := column(ctx, tx, `
		SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind = 'r'`, schema)
	if err != nil {
		return nil, err
	}
	dump := make(map[string][]string)
	for _, table := range tables {
		dump[table], err = column(ctx, tx, fmt.Sprintf(`SELECT t::text FROM %s.%s t ORDER BY 1`, schema, table))
		if err != nil {
			return nil, err
		}
	}
	return dump, nil
}

func column(ctx context.Context, tx projections.Executor, query string, args ...any) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []string{}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		list = append(list, strings.Clone(s))
	}
	return list, rows.Err()
}

// pages cuts events into pages of a size.
func pages(events []projections.Event, size int) []projections.Page {
	var list []projections.Page
	var from int64
	for len(events) > 0 {
		n := min(max(size, 1), len(events))
		page := projections.Page{From: from, To: events[n-1].Position, Events: events[:n]}
		list, events, from = append(list, page), events[n:], page.To
	}
	return list
}

type applier = func(context.Context, projections.Projector, projections.Tx, []projections.Event) error

func paged(size int) applier {
	return func(ctx context.Context, p projections.Projector, tx projections.Tx, events []projections.Event) error {
		for _, page := range pages(events, size) {
			if err := p.Apply(ctx, tx, page); err != nil {
				return err
			}
		}
		return nil
	}
}

func eachAgain(ctx context.Context, p projections.Projector, tx projections.Tx, events []projections.Event) error {
	for _, page := range pages(events, 1) {
		if err := p.Apply(ctx, tx, page); err != nil {
			return err
		}
		if err := again(ctx, p, tx, page); err != nil {
			return err
		}
	}
	return nil
}

func prefixes(ctx context.Context, p projections.Projector, tx projections.Tx, events []projections.Event) error {
	for n, page := range pages(events, 1) {
		if err := p.Apply(ctx, tx, page); err != nil {
			return err
		}
		if err := again(ctx, p, tx, projections.Page{To: events[n].Position, Events: events[:n+1]}); err != nil {
			return err
		}
	}
	return nil
}

// copied writes the events into the log and has them copied, in two parts.
func copied(ctx context.Context, p projections.Projector, tx projections.Tx, events []projections.Event) error {
	if err := record(ctx, tx, events); err != nil {
		return err
	}
	half := int64(len(events) / 2)
	for _, part := range [][2]int64{{0, half}, {half, int64(len(events))}} {
		n, err := projections.CopyOf(p).Rows(ctx, tx, part[0], part[1], nil)
		if err != nil {
			return err
		}
		if n != part[1]-part[0] {
			return fmt.Errorf("%d rows of positions %d to %d were copied", n, part[0]+1, part[1])
		}
	}
	return nil
}

// again hands over a page that was applied before. It may be refused for a row that exists, and is then undone.
func again(ctx context.Context, p projections.Projector, tx projections.Tx, page projections.Page) error {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT again`); err != nil {
		return err
	}
	err := p.Apply(ctx, tx, page)
	var refused *pq.Error
	if errors.As(err, &refused) && refused.Code == pqerror.UniqueViolation {
		_, err = tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT again`)
	}
	return err
}

// built merges after so many pages, and starts another build after so many merges.
func built(size, merge, another int) applier {
	return func(ctx context.Context, p projections.Projector, tx projections.Tx, events []projections.Event) error {
		build := p.(projections.Bulk).NewBuild()
		merges := 0
		list := pages(events, size)
		for i, page := range list {
			if err := build.Add(ctx, tx, page); err != nil {
				return err
			}
			if (i+1)%max(merge, 1) != 0 && i+1 < len(list) {
				continue
			}
			if err := build.Merge(ctx, tx); err != nil {
				return err
			}
			if merges++; merges%max(another, 1) == 0 {
				build = p.(projections.Bulk).NewBuild()
			}
		}
		return nil
	}
}

// Serve makes a projector's serving tables and applies events to them, as the running program would have: the checkpoint
// is at the last event.
func Serve(
	t testing.TB, db *sqlx.DB, registry *domain.Registry, p projections.Projector, events []projections.Event,
) {
	t.Helper()
	ctx := context.Background()
	spec := p.Spec()
	if err := projections.EnsureSchemas(ctx, db, spec); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, page := range pages(Wanted(t, registry, spec, events), 100) {
		if err := p.Apply(ctx, projections.Tx{Executor: tx, Schema: spec.Schema()}, page); err != nil {
			t.Fatal(err)
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE annals.subscribers SET position = $3 WHERE name = $1 AND version = $2`,
		spec.Name, spec.Version, events[len(events)-1].Position)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// Tenants opens the path to tenant data of a test's database, under the query role.
func Tenants(t testing.TB, dsn string) *eventstore.Tenants {
	t.Helper()
	pool, err := eventstore.OpenDB(dsn, eventstore.RoleQuery, 4, "queries")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return eventstore.NewTenants(pool)
}
