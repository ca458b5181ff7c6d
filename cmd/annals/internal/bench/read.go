package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/projections/replay"
)

// runReplay rebuilds a fold and the audit log, beside a plain scan of the log, and shows what that does to a server.
func runReplay(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	if err := d.fill(ctx, o.Events); err != nil {
		return Report{}, err
	}
	registry, err := newRegistry()
	if err != nil {
		return Report{}, err
	}
	fold, err := stock()
	if err != nil {
		return Report{}, err
	}
	models := []projections.Projector{fold, auditlog.New()}
	for _, p := range models {
		if err := projections.EnsureSchemas(ctx, d.owner, p.Spec()); err != nil {
			return Report{}, err
		}
	}
	m := newMeter(ctx, d.owner)
	deps := replay.Deps{DB: d.owner.DB, Registry: registry, Logger: slog.New(slog.DiscardHandler)}
	rows := map[string]*tally{}
	heaps := map[string]float64{}
	measure := func(name string, work func() error) error {
		if rows[name] == nil {
			rows[name] = &tally{latency: newHistogram(), each: 1}
		}
		t := rows[name]
		heap := watchHeap()
		begun := time.Now()
		spent, err := m.during(ctx, work)
		heaps[name] = max(heaps[name], heap())
		t.rates = append(t.rates, float64(o.Events)/time.Since(begun).Seconds())
		t.calls += o.Events
		t.cost.add(spent)
		return err
	}
	names := []string{"scan"}
	for round := range max(1, o.Rounds/2) {
		if err := measure("scan", func() error { return d.scan(ctx, o.Events) }); err != nil {
			return Report{}, err
		}
		for _, p := range models {
			name := "replay of " + p.Spec().Name
			if round == 0 {
				names = append(names, name)
			}
			err := measure(name, func() error { _, err := replay.Rebuild(ctx, deps, p, replay.Options{}); return err })
			if err != nil {
				return Report{}, err
			}
		}
		note(o, "round %d", round+1)
	}
	report := Report{Unit: "events"}
	for _, name := range names {
		row := rows[name].row(cell{way: name})
		row.HeapMB = heaps[name]
		report.Rows = append(report.Rows, row)
		if name != "scan" {
			reached := ratio(name+" ÷ scan", median(rows[name].rates)/median(rows["scan"].rates), 0)
			if strings.HasSuffix(name, " stock") {
				reached = ratio(reached.Name, reached.Value, 0.6).notBelow(0.25)
			}
			report.Ratios = append(report.Ratios, reached)
		}
	}
	return report, beside(ctx, o, d, &report)
}

// scan reads the log plainly: one prepared statement, every column into a variable.
func (d *database) scan(ctx context.Context, n int64) error {
	statement, err := d.owner.PrepareContext(ctx, `SELECT position, event_id, event_type, schema_version, aggregate_type,
		aggregate_id, aggregate_version, client_id, actor_id, occurred_at, recorded_at, correlation_id, causation_id,
		request_id, data, metadata FROM annals.events WHERE position > $1 AND position <= $2 ORDER BY position`)
	if err != nil {
		return err
	}
	defer statement.Close()
	rows, err := statement.QueryContext(ctx, 0, n)
	if err != nil {
		return err
	}
	defer rows.Close()
	var position, version, schema int64
	var occurred, recorded time.Time
	var texts [9]string
	var data, metadata sql.RawBytes
	for rows.Next() {
		err := rows.Scan(&position, &texts[0], &texts[1], &schema, &texts[2], &texts[3], &version, &texts[4], &texts[5],
			&occurred, &recorded, &texts[6], &texts[7], &texts[8], &data, &metadata)
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// runLoad loads one long stream, from its snapshot and from all its events.
func runLoad(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	if err := d.fill(ctx, o.Log); err != nil {
		return Report{}, err
	}
	registry, err := newRegistry()
	if err != nil {
		return Report{}, err
	}
	open := func() (*eventstore.Store, error) {
		return eventstore.Open(ctx, eventstore.Config{DSN: d.dsn, Registry: registry, AppName: "annals bench"})
	}
	first, err := open()
	if err != nil {
		return Report{}, err
	}
	id, tail := newID(), min(100, o.Stream/10)
	if err := grow(ctx, first.Sequencer, id, 0, o.Stream-tail); err != nil {
		return Report{}, errors.Join(err, first.Close(ctx))
	}
	_, err = first.States.Current(ctx, "bench", "product", id) // which leaves a snapshot behind
	if err := errors.Join(err, first.Close(ctx)); err != nil {
		return Report{}, err
	}
	store, err := open()
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, store.Close(ctx)) }()
	if err := store.States.Close(ctx); err != nil { // no further snapshots
		return Report{}, err
	}
	if err := grow(ctx, store.Sequencer, id, o.Stream-tail, o.Stream); err != nil {
		return Report{}, err
	}
	load := func(name string) way {
		return way{name: name, each: 1, start: func(ctx context.Context, _ int) ([]func() error, func() error, error) {
			return []func() error{func() error {
				store.States.Forget()
				state, err := store.States.Current(ctx, "bench", "product", id)
				if err == nil && state.Version != o.Stream {
					err = fmt.Errorf("the stream is at version %d, not %d", state.Version, o.Stream)
				}
				return err
			}}, nil, nil
		}}
	}
	const fromSnapshot, fromEvents = "from the snapshot", "from all events"
	m := newMeter(ctx, d.owner)
	sizes := *o
	sizes.Callers = []int{1}
	with, err := compare(ctx, &sizes, m, []way{load(fromSnapshot)})
	if err != nil {
		return Report{}, err
	}
	if _, err := d.owner.ExecContext(ctx, `DELETE FROM annals.snapshots`); err != nil {
		return Report{}, err
	}
	without, err := compare(ctx, &sizes, m, []way{load(fromEvents)})
	if err != nil {
		return Report{}, err
	}
	reached := ratio(fmt.Sprintf("a stream of %d events: from the snapshot ÷ from all events", o.Stream),
		with.rate(fromSnapshot, 1)/without.rate(fromEvents, 1), 0)
	if o.Stream == 10_000 {
		reached = ratio(reached.Name, reached.Value, 50).notBelow(10)
	}
	return Report{Unit: "loads", Rows: append(with.rows(), without.rows()...), Ratios: []Ratio{reached}}, nil
}

// grow appends to a stream until it has as many events.
func grow(ctx context.Context, s *eventstore.Sequencer, id domain.ID, from, to int64) error {
	const batch = 500
	for version := from; version < to; {
		r := eventstore.AppendRequest{
			Client: "bench", Streams: []eventstore.StreamExpectation{{AggregateID: id, Expected: version}},
		}
		for version < to && len(r.Events) < batch {
			version++
			e := new(writer).request().Events[0]
			e.AggregateID, e.AggregateVersion = id, version
			if version == 1 {
				e.EventType, e.SchemaVersion = "product.registered", registeredVersion
				e.Data = []byte(`{"sku":"L","name":"Long","price":"1.00","currency":"EUR","initial_stock":1}`)
			}
			r.Events = append(r.Events, e)
		}
		if _, err := s.Append(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
