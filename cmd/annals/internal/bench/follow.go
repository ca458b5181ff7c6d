package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/product"
	"annals/eventstore"
	"annals/projections"
)

func newRegistry() (*domain.Registry, error) { return domain.NewRegistry(commerce.Definitions()...) }

// stockRow is a row of the fold that is measured: what a product has received.
type stockRow struct {
	ID     domain.ID `db:"id,key"`
	Client string    `db:"client_id"`
	Sum    int64     `db:"sum"`
	Events int64     `db:"events"`
	Last   int64     `db:"last_position"`
}

// stock is a fold as read models write it.
func stock() (projections.Projector, error) {
	return projections.NewFold(projections.FoldConfig[domain.ID, stockRow]{
		Spec: projections.Spec{
			Name: "stock", Version: 1, Kind: projections.KindReadModel, Lean: true,
			DDL: `CREATE TABLE stock (id uuid PRIMARY KEY, client_id text NOT NULL, sum bigint NOT NULL, events bigint NOT NULL,
				last_position bigint NOT NULL)`,
		},
		Table: "stock",
		Keys:  func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Step: func(_ domain.ID, row *stockRow, e projections.Event) (projections.Outcome, error) {
			row.Client = e.ClientID
			row.Events++
			if p, ok := e.Payload.(product.StockReceived); ok {
				row.Sum += p.Quantity
			}
			return projections.Write, nil
		},
	})
}

// messageShare is the part of the log that watermill-sql's subscriber is given: it takes its messages one by one.
const messageShare = 20

func runProject(ctx context.Context, o *Options, d *database) (Report, error) {
	if err := d.fill(ctx, o.Events); err != nil {
		return Report{}, err
	}
	m := newMeter(ctx, d.owner)
	ours, theirs := tally{latency: newHistogram(), each: 1}, tally{latency: newHistogram(), each: 1}
	var ratios []float64
	for round := range max(1, o.Rounds/2) { // the two take turns
		if err := follow(ctx, o, d, m, &ours); err != nil {
			return Report{}, err
		}
		if err := followMessages(ctx, o.Events/messageShare, d, m, &theirs); err != nil {
			return Report{}, err
		}
		ratios = append(ratios, ours.rates[round]/theirs.rates[round])
		note(o, "round %d", round+1)
	}
	return Report{
		Unit:   "events",
		Rows:   []Row{ours.row(cell{way: waySequencer}), theirs.row(cell{way: "watermill-sql"})},
		Ratios: []Ratio{ratio("page projection ÷ watermill-sql's default subscriber", median(ratios), 45).notBelow(10)},
		Notes: []string{fmt.Sprintf("the log has %d events; watermill-sql is given the first %d as messages",
			o.Events, o.Events/messageShare)},
	}, nil
}

// follow lets a group apply the whole log.
func follow(ctx context.Context, o *Options, d *database, m *meter, into *tally) error {
	if _, err := d.owner.ExecContext(ctx, `DROP SCHEMA IF EXISTS rm_stock_v1 CASCADE; TRUNCATE annals.subscribers`); err != nil {
		return err
	}
	fold, err := stock()
	if err != nil {
		return err
	}
	g, closePool, err := newGroup(ctx, d, eventstore.NewSignal(o.Events), nil, fold)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	var took time.Duration
	spent, err := m.during(ctx, func() error {
		begun := time.Now()
		go func() { ended <- g.Run(ctx) }()
		err := g.WaitFor(ctx, "stock", o.Events)
		took = time.Since(begun)
		return err
	})
	if err := errors.Join(err, g.Close(), <-ended, closePool()); err != nil {
		return err
	}
	into.rates = append(into.rates, float64(o.Events)/took.Seconds())
	into.calls += o.Events
	into.cost.add(spent)
	return d.expect(ctx, `SELECT sum(events)::bigint FROM rm_stock_v1.stock`, o.Events)
}

func (d *database) expect(ctx context.Context, query string, want int64) error {
	var got int64
	if err := d.owner.QueryRowContext(ctx, query).Scan(&got); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%d events were applied, not %d", got, want)
	}
	return nil
}

// followMessages lets watermill-sql's default subscriber do the same upsert.
func followMessages(ctx context.Context, n int64, d *database, m *meter, into *tally) error {
	pool, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, 8, "annals watermill")
	if err != nil {
		return err
	}
	defer pool.Close()
	subscriber, err := wsql.NewSubscriber(wsql.BeginnerFromStdSQL(pool.DB), wsql.SubscriberConfig{
		ConsumerGroup: "stock", InitializeSchema: true, PollInterval: time.Millisecond,
		SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
	}, nil)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	if err := subscriber.SubscribeInitialize("bench"); err != nil {
		return err
	}
	for _, s := range []string{
		`TRUNCATE watermill_bench; DELETE FROM watermill_offsets_bench; DROP TABLE IF EXISTS plain_stock;
		CREATE TABLE plain_stock (id uuid PRIMARY KEY, client_id text NOT NULL, sum bigint NOT NULL, events bigint NOT NULL)`,
		fmt.Sprintf(`INSERT INTO watermill_bench (uuid, payload, metadata, transaction_id)
			SELECT event_id::text, data, json_build_object('stream', aggregate_id), pg_current_xact_id()
			FROM annals.events WHERE position <= %d ORDER BY position`, n),
		`VACUUM ANALYZE watermill_bench`, `CHECKPOINT`,
	} {
		if _, err := d.owner.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	var took time.Duration
	spent, err := m.during(ctx, func() error {
		begun := time.Now()
		messages, err := subscriber.Subscribe(ctx, "bench")
		if err != nil {
			return err
		}
		for range n {
			if err := upsert(ctx, messages); err != nil {
				return err
			}
		}
		took = time.Since(begun)
		return nil
	})
	if err != nil {
		return err
	}
	into.rates = append(into.rates, float64(n)/took.Seconds())
	into.calls += n
	into.cost.add(spent)
	if err := subscriber.Close(); err != nil {
		return err
	}
	return d.expect(ctx, `SELECT sum(events)::bigint FROM plain_stock`, n)
}

func upsert(ctx context.Context, messages <-chan *message.Message) error {
	var msg *message.Message
	select {
	case msg = <-messages:
	case <-ctx.Done():
	}
	if msg == nil {
		return errors.Join(errors.New("the subscriber ended"), ctx.Err())
	}
	var e product.StockReceived
	if err := json.Unmarshal(msg.Payload, &e); err != nil {
		return err
	}
	tx, _ := wsql.TxFromContext(msg.Context())
	_, err := tx.ExecContext(msg.Context(), `INSERT INTO plain_stock AS t (id, client_id, sum, events) VALUES ($1, 'bench', $2, 1)
		ON CONFLICT (id) DO UPDATE SET sum = t.sum + excluded.sum, events = t.events + 1`, msg.Metadata.Get("stream"), e.Quantity)
	if err == nil {
		msg.Ack()
	}
	return err
}

// runLag measures how long after its commit a lone event is visible in a projection, beside how long an append takes.
func runLag(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	sequencer, err := eventstore.OpenSequencer(ctx, eventstore.SequencerConfig{DSN: d.dsn})
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, sequencer.Close(context.WithoutCancel(ctx))) }()
	fold, err := stock()
	if err != nil {
		return Report{}, err
	}
	g, closePool, err := newGroup(ctx, d, sequencer.Signal(), sequencer.Tail(), fold)
	if err != nil {
		return Report{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.WithoutCancel(ctx)) }()
	defer func() { err = errors.Join(err, g.Close(), <-ended, closePool()) }()

	appends, lags := newHistogram(), newHistogram()
	w := &writer{client: "bench"}
	one := func(record bool) error {
		begun := time.Now()
		out, err := sequencer.Append(ctx, w.request())
		if err != nil {
			return err
		}
		appended := time.Now()
		if err := g.WaitFor(ctx, "stock", out.FirstPosition); err != nil {
			return err
		}
		if record {
			_ = appends.RecordValue(min(appended.Sub(begun).Microseconds(), maxLatency))
			_ = lags.RecordValue(min(time.Since(appended).Microseconds(), maxLatency))
		}
		pause := time.NewTimer(2 * time.Millisecond) // idle is what is measured
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	for i, until := 0, time.Now().Add(time.Duration(o.Rounds)*2*o.Slice); time.Now().Before(until) || i < 20; i++ {
		if err := one(i >= 10); err != nil {
			return Report{}, err
		}
	}
	of := func(way string, t *tally) Row { row := t.row(cell{way: way}); row.PerSecond = 0; return row }
	return Report{
		Unit: "events",
		Rows: []Row{of("append", &tally{latency: appends, each: 1}), of("visible after the append", &tally{latency: lags, each: 1})},
		Ratios: []Ratio{ratioAtMost("p50 until visible ÷ p50 of an append",
			float64(lags.ValueAtQuantile(50))/float64(max(1, appends.ValueAtQuantile(50))), 4)},
	}, nil
}
