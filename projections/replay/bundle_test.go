package replay

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// counted is an event of the tests' aggregate: something was counted under a key.
type counted struct {
	Key    string `json:"key"`
	Amount int64  `json:"amount"`
	Poison bool   `json:"poison,omitempty"`
}

func (counted) EventType() string { return "counter.counted" }

// noted is an event that most of the tests' projections don't want.
type noted struct {
	Text string `json:"text"`
}

func (noted) EventType() string { return "counter.noted" }

func newRegistry(t testing.TB) *domain.Registry {
	t.Helper()
	aggregate := &domain.Aggregate[int64, struct{}, domain.Event]{
		Type:    "counter",
		Initial: func() int64 { return 0 },
		Decide:  func(int64, struct{}) ([]domain.Event, error) { return nil, nil },
		Evolve:  func(n int64, _ domain.Event) int64 { return n + 1 },
	}
	registry, err := domain.NewRegistry(domain.Definition{Aggregate: aggregate, Events: []domain.EventDefinition{
		domain.DefineEvent[counted](), domain.DefineEvent[noted](),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// bundle is one test's database with a log and what a rebuild needs.
type bundle struct {
	*pgtest.DB
	t    testing.TB
	ctx  context.Context
	deps Deps
}

func setup(t testing.TB) *bundle {
	t.Helper()
	db := pgtest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return &bundle{DB: db, t: t, ctx: ctx, deps: Deps{
		DB: db.DB.DB, Registry: newRegistry(t), Logger: slog.New(slog.DiscardHandler),
	}}
}

func (b *bundle) must(query string, args ...any) {
	b.t.Helper()
	if _, err := b.ExecContext(b.ctx, query, args...); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
}

// fill appends n synthetic events in one statement: counts under a thousand keys of two clients, every tenth a note.
func (b *bundle) fill(n int) {
	b.t.Helper()
	if err := fill(b.ctx, b.DB.DB, n); err != nil {
		b.t.Fatal(err)
	}
}

func fill(ctx context.Context, db *sqlx.DB, n int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(1)`); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version,
			occurred_at, recorded_at, schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id,
			causation_id, request_id, data, metadata, data_salt, metadata_salt)
		SELECT h.head + i, md5('e' || (h.head + i))::uuid, md5('a' || (h.head + i))::uuid, 1,
			'2026-01-01'::timestamptz + (h.head + i) * interval '1.000123 seconds', now(), 1,
			CASE WHEN (h.head + i) % 10 = 0 THEN 'counter.noted' ELSE 'counter.counted' END, 'counter',
			'client-' || (h.head + i) % 2, 'anonymous', 'c-' || (h.head + i), 'e-' || (h.head + i), 'r-' || (h.head + i),
			CASE WHEN (h.head + i) % 10 = 0 THEN json_build_object('text', 'note ' || (h.head + i))
				ELSE json_build_object('key', 'k' || ((h.head + i) * 7919) % 1000, 'amount', (h.head + i) % 13) END,
			json_build_object('trace_id', (h.head + i), 'ü', 'ß'), '\x00', '\x00'
		FROM (SELECT coalesce(max(position), 0) AS head FROM annals.events) h, generate_series(1, $1::int) i`, n)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// poison appends one event that the totals projection refuses. It gives its position.
func (b *bundle) poison() int64 {
	b.t.Helper()
	var position int64
	err := b.QueryRowContext(b.ctx, `INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version,
			occurred_at, recorded_at, schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id,
			causation_id, request_id, data, metadata, data_salt, metadata_salt)
		SELECT max(position) + 1, gen_random_uuid(), gen_random_uuid(), 1, now(), now(), 1, 'counter.counted', 'counter',
			'client-0', 'anonymous', '', '', '', '{"key":"k1","amount":1,"poison":true}', '{}', '\x00', '\x00'
		FROM annals.events RETURNING position`).Scan(&position)
	if err != nil {
		b.t.Fatal(err)
	}
	return position
}

func (b *bundle) ensure(p projections.Projector) {
	b.t.Helper()
	if err := projections.EnsureSchemas(b.ctx, b.DB.DB, p.Spec()); err != nil {
		b.t.Fatal(err)
	}
}

// live applies everything there is, as a node does.
func (b *bundle) live(p projections.Projector) {
	b.t.Helper()
	b.ensure(p)
	for {
		n := node{b, p}
		more, err := n.page(b.ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

// node is a live projector reduced to its protocol: checkpoint row, page, rows and checkpoint in one transaction.
type node struct {
	*bundle
	projector projections.Projector
}

func (n node) page(ctx context.Context) (more bool, err error) {
	spec := n.projector.Spec()
	tx, err := n.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	var from, head int64
	err = tx.QueryRowContext(ctx, `SELECT position FROM annals.subscribers WHERE name = $1 AND version = $2
		AND status = 'running' FOR UPDATE SKIP LOCKED`, spec.Name, spec.Version).Scan(&from)
	if err == sql.ErrNoRows {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if head, err = readHead(ctx, tx); err != nil || head == from {
		return false, err
	}
	to := min(head, from+500)
	c, err := (log{decoder: projections.NewDecoder(n.deps.Registry), spec: spec}).first(ctx, tx, from, to)
	if err != nil {
		return false, err
	}
	skips, err := readSkips(ctx, tx, spec, from, to)
	if err != nil {
		return false, err
	}
	page, err := admit(c, skips)
	if err != nil {
		return false, err
	}
	if err := n.projector.Apply(ctx, projections.Tx{Executor: tx, Schema: spec.Schema()}, page); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE annals.subscribers SET position = $3 WHERE name = $1 AND version = $2`,
		spec.Name, spec.Version, page.To)
	if err != nil {
		return false, err
	}
	return page.To < head, tx.Commit()
}

// rows gives a table's rows as text, in order.
func (b *bundle) rows(table string) string {
	b.t.Helper()
	list, err := texts(b.ctx, b.DB, `SELECT t::text FROM `+table+` t ORDER BY 1`)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

func (b *bundle) int(query string, args ...any) int64 {
	b.t.Helper()
	var n int64
	if err := b.QueryRowContext(b.ctx, query, args...).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (b *bundle) schemas() []string {
	b.t.Helper()
	list, err := texts(b.ctx, b.DB, `SELECT nspname FROM pg_namespace WHERE nspname ~ '^(rm|build|trash)_' ORDER BY 1`)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// equalsReplay compares the live rows with a dry run.
func (b *bundle) equalsReplay(p projections.Projector) {
	b.t.Helper()
	result, err := Rebuild(b.ctx, b.deps, p, Options{DryRun: true})
	if err != nil {
		b.t.Fatal(err)
	}
	if !result.Comparison.Equal() {
		b.t.Errorf("replay and live differ in %d rows: %+v", result.Comparison.Count(), result.Comparison.Differences)
	}
	for _, table := range result.Comparison.Tables {
		if table.LiveRows == 0 {
			b.t.Errorf("table %s is empty: the comparison says nothing", table.Table)
		}
	}
}

// totals is a fold by hand: events by client and key.
type totals struct {
	version int
	refuse  bool // refuses poison
}

const totalsDDL = `
CREATE TABLE totals (
	client_id text NOT NULL, key text NOT NULL, total bigint NOT NULL, events bigint NOT NULL, last json NOT NULL,
	CONSTRAINT totals_pkey PRIMARY KEY (client_id, key)
);
CREATE INDEX totals_total_idx ON totals (client_id, total);`

func (p totals) Spec() projections.Spec {
	return projections.Spec{Name: "totals", Version: max(p.version, 1), Kind: projections.KindReadModel,
		EventTypes: []string{"counter.counted"}, DDL: totalsDDL}
}

func (p totals) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	build := &totalsBuild{totals: p, rows: map[totalsKey]*totalsRow{}}
	if err := build.Add(ctx, tx, page); err != nil {
		return err
	}
	return build.Merge(ctx, tx)
}

// bulkTotals is totals with its Bulk side.
type bulkTotals struct{ totals }

func (p bulkTotals) NewBuild() projections.Build {
	return &totalsBuild{totals: p.totals, rows: map[totalsKey]*totalsRow{}}
}

type totalsKey struct{ client, key string }

type totalsRow struct {
	total, events int64
	last          string
	dirty         bool
}

type totalsBuild struct {
	totals
	rows map[totalsKey]*totalsRow
}

func (b *totalsBuild) Add(ctx context.Context, tx projections.Tx, page projections.Page) error {
	if err := b.load(ctx, tx, page); err != nil {
		return err
	}
	for _, e := range page.Events {
		p := e.Payload.(counted)
		if p.Poison && b.refuse {
			return fmt.Errorf("poison")
		}
		row := b.rows[totalsKey{e.ClientID, p.Key}]
		row.total, row.events, row.last, row.dirty = row.total+p.Amount, row.events+1, string(e.Data), true
	}
	return nil
}

func (b *totalsBuild) load(ctx context.Context, tx projections.Tx, page projections.Page) error {
	var clients, keys []string
	for _, e := range page.Events {
		k := totalsKey{e.ClientID, e.Payload.(counted).Key}
		if b.rows[k] == nil {
			b.rows[k] = &totalsRow{}
			clients, keys = append(clients, k.client), append(keys, k.key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	rows, err := tx.QueryContext(ctx, `SELECT t.client_id, t.key, t.total, t.events, t.last FROM `+tx.Table("totals")+` t
		JOIN unnest($1::text[], $2::text[]) u(client_id, key) USING (client_id, key)`, pq.Array(clients), pq.Array(keys))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k totalsKey
		var r totalsRow
		if err := rows.Scan(&k.client, &k.key, &r.total, &r.events, &r.last); err != nil {
			return err
		}
		b.rows[k] = &r
	}
	return rows.Err()
}

func (b *totalsBuild) Merge(ctx context.Context, tx projections.Tx) error {
	var clients, keys, last []string
	var total, events []int64
	for k, r := range b.rows {
		if r.dirty {
			clients, keys, last = append(clients, k.client), append(keys, k.key), append(last, r.last)
			total, events = append(total, r.total), append(events, r.events)
			r.dirty = false
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO `+tx.Table("totals")+` (client_id, key, total, events, last)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::json[])
		ON CONFLICT (client_id, key) DO UPDATE SET total = excluded.total, events = excluded.events, last = excluded.last`,
		pq.Array(clients), pq.Array(keys), pq.Array(total), pq.Array(events), pq.Array(last))
	return err
}

// entries is a journal by hand: a row per event, of every type.
type entries struct{}

const entriesDDL = `
CREATE TABLE entries (
	position bigint NOT NULL, client_id text NOT NULL, event_type text NOT NULL, occurred_at timestamptz NOT NULL,
	data json NOT NULL,
	CONSTRAINT entries_pkey PRIMARY KEY (position)
);
CREATE INDEX entries_type_idx ON entries (client_id, event_type, position);`

func (entries) Spec() projections.Spec {
	return projections.Spec{Name: "entries", Version: 1, Kind: projections.KindReadModel, DDL: entriesDDL}
}

func (p entries) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	build := p.NewBuild()
	if err := build.Add(ctx, tx, page); err != nil {
		return err
	}
	return build.Merge(ctx, tx)
}

func (entries) NewBuild() projections.Build { return &entriesBuild{} }

type entriesBuild struct{ events []projections.Event }

func (b *entriesBuild) Add(_ context.Context, _ projections.Tx, page projections.Page) error {
	b.events = append(b.events, page.Events...)
	return nil
}

func (b *entriesBuild) Merge(ctx context.Context, tx projections.Tx) error {
	var positions []int64
	var clients, types, times, data []string
	for _, e := range b.events {
		positions = append(positions, e.Position)
		clients, types, data = append(clients, e.ClientID), append(types, e.EventType), append(data, string(e.Data))
		times = append(times, e.OccurredAt.Format(time.RFC3339Nano))
	}
	b.events = nil
	_, err := tx.ExecContext(ctx, `INSERT INTO `+tx.Table("entries")+` (position, client_id, event_type, occurred_at, data)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::json[])`,
		pq.Array(positions), pq.Array(clients), pq.Array(types), pq.Array(times), pq.Array(data))
	return err
}
