package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/migrations"
	"annals/projections"
)

// Sizes of the comparison: pages are read many at a time, watermill-sql's messages one by one.
const (
	benchEvents   = 300_000
	benchMessages = 15_000
	benchStreams  = 1_000
)

// reading is the event of the comparison: a payload of a usual size.
type reading struct {
	ProductID domain.ID     `json:"product_id"`
	SKU       string        `json:"sku"`
	Name      string        `json:"product_name"`
	Quantity  int64         `json:"quantity"`
	UnitPrice domain.Amount `json:"unit_price"`
	Currency  string        `json:"currency"`
}

func (reading) EventType() string { return "tally.read" }

// fill writes the log, and the same payloads as watermill-sql's messages.
const fill = `
	INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
		schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
		data, metadata, data_salt, metadata_salt)
	SELECT n, gen_random_uuid(), md5('stream' || n %% %[2]d)::uuid, (n - 1) / %[2]d + 1, now(), now(), 1, 'tally.read', 'tally',
		'acme', 'someone', 'request-' || n, 'command-' || n, 'request-' || n,
		json_build_object('product_id', md5('stream' || n %% %[2]d)::uuid, 'sku', 'SKU-' || n %% 97, 'product_name', 'Product ' || n %% 97,
			'quantity', n %% 10, 'unit_price', '19.90', 'currency', 'EUR'), '{}', '0123456789abcdef', '0123456789abcdef'
	FROM generate_series(1, %[1]d) n`

// BenchmarkPageProjection compares the page projection, as the program runs it, with watermill-sql's default subscriber
// doing the same upsert: the pieces read per stream. Both decode the payload and are exactly once towards the table.
func BenchmarkPageProjection(b *testing.B) {
	dsn := pgtest.Cluster(b, pgtest.WithFsync()).DSN()
	db := benchDatabase(b, dsn)
	defer db.Close()
	var pages, messages, ratios []float64
	for b.Loop() { // the two take turns; medians are reported
		pages = append(pages, benchPages(b, db, dsn))
		messages = append(messages, benchWatermill(b, db, dsn))
		ratios = append(ratios, pages[len(pages)-1]/messages[len(messages)-1])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(pages), "events/s")
	b.ReportMetric(median(messages), "watermill-sql/s")
	b.ReportMetric(median(ratios), "ratio")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func benchDatabase(b *testing.B, dsn string) *sqlx.DB {
	b.Helper()
	db, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, 4, "bench")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := migrations.Up(context.Background(), db.DB); err != nil {
		b.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf(fill, benchEvents, benchStreams), `VACUUM ANALYZE annals.events`, `CHECKPOINT`} {
		if _, err := db.Exec(s); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

func benchRegistry(b *testing.B) *domain.Registry {
	b.Helper()
	r, err := domain.NewRegistry(domain.Definition{
		Aggregate: tally, Events: []domain.EventDefinition{domain.DefineEvent[reading]()},
	})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// benchPages gives the events a second of the page projection.
func benchPages(b *testing.B, owner *sqlx.DB, dsn string) float64 {
	b.Helper()
	pool, err := eventstore.OpenPreparedDB(dsn, eventstore.RoleApp, 8, "projections")
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	spec := totalsSpec("totals")
	spec.EventTypes, spec.Lean = nil, true
	fold := projections.MustFold(projections.FoldConfig[domain.ID, total]{
		Spec: spec, Table: "totals",
		Keys: func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Step: func(_ domain.ID, row *total, e projections.Event) (projections.Outcome, error) {
			row.Client = e.ClientID
			row.Sum += e.Payload.(reading).Quantity
			row.Events++
			return projections.Write, nil
		},
	})
	if _, err := owner.Exec(`DROP SCHEMA IF EXISTS rm_totals_v1 CASCADE`); err != nil {
		b.Fatal(err)
	}
	if err := projections.EnsureSchemas(context.Background(), owner, spec); err != nil {
		b.Fatal(err)
	}
	g, err := projections.New(projections.Config{
		DB: pool, Registry: benchRegistry(b), Waker: eventstore.NewSignal(benchEvents), Logger: slog.New(slog.DiscardHandler),
		ListenDSN: dsn, Metrics: prometheus.NewRegistry(),
	}, fold)
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	if err := g.WaitFor(context.Background(), "totals", benchEvents); err != nil {
		b.Fatal(err)
	}
	rate := benchEvents / time.Since(begun).Seconds()
	g.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	checkSum(b, owner, `SELECT sum(events) FROM rm_totals_v1.totals`, benchEvents)
	return rate
}

// benchWatermill gives the messages a second of watermill-sql's default subscriber.
func benchWatermill(b *testing.B, owner *sqlx.DB, dsn string) float64 {
	b.Helper()
	pool, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, 8, "watermill")
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	beginner := wsql.BeginnerFromStdSQL(pool.DB)
	subscriber, err := wsql.NewSubscriber(beginner, wsql.SubscriberConfig{
		ConsumerGroup: "totals", InitializeSchema: true, PollInterval: time.Millisecond,
		SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer subscriber.Close()
	if err := subscriber.SubscribeInitialize("bench"); err != nil {
		b.Fatal(err)
	}
	for _, s := range []string{
		`TRUNCATE watermill_bench; DELETE FROM watermill_offsets_bench; DROP TABLE IF EXISTS bench_totals;
		CREATE TABLE bench_totals (id uuid PRIMARY KEY, client_id text NOT NULL, sum bigint NOT NULL, events bigint NOT NULL)`,
		fmt.Sprintf(`INSERT INTO watermill_bench (uuid, payload, metadata, transaction_id)
			SELECT event_id::text, data, '{}', pg_current_xact_id() FROM annals.events WHERE position <= %d ORDER BY position`, benchMessages),
		`VACUUM ANALYZE watermill_bench`, `CHECKPOINT`,
	} {
		if _, err := owner.Exec(s); err != nil {
			b.Fatal(err)
		}
	}
	begun := time.Now()
	messages, err := subscriber.Subscribe(context.Background(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	for range benchMessages {
		if err := upsert(<-messages); err != nil {
			b.Fatal(err)
		}
	}
	rate := benchMessages / time.Since(begun).Seconds()
	subscriber.Close()
	checkSum(b, owner, `SELECT sum(events) FROM bench_totals`, benchMessages)
	return rate
}

func upsert(msg *message.Message) error {
	var e reading
	if err := json.Unmarshal(msg.Payload, &e); err != nil {
		return err
	}
	tx, _ := wsql.TxFromContext(msg.Context())
	_, err := tx.ExecContext(msg.Context(), `INSERT INTO bench_totals AS t (id, client_id, sum, events) VALUES ($1, 'acme', $2, 1)
		ON CONFLICT (id) DO UPDATE SET sum = t.sum + excluded.sum, events = t.events + 1`, e.ProductID.String(), e.Quantity)
	if err == nil {
		msg.Ack()
	}
	return err
}

func checkSum(b *testing.B, db *sqlx.DB, query string, want int64) {
	b.Helper()
	var got int64
	if err := db.Get(&got, query); err != nil || got != want {
		b.Fatalf("%d events were applied, want %d: %v", got, want, err)
	}
}

// BenchmarkIdleLag measures how long after its commit a lone event is visible in a read model.
func BenchmarkIdleLag(b *testing.B) {
	t := setup(b)
	g := t.group(func() projections.Config { c := t.config(); c.PageSize = 0; return c }(), totals("totals", nil))
	t.run(g)
	t.waitFor(g, "totals", t.append(counts(1)...))
	var lags []time.Duration
	for b.Loop() {
		b.StopTimer()
		time.Sleep(2 * time.Millisecond)
		head := t.append(counts(1)...)
		b.StartTimer()
		begun := time.Now()
		t.waitFor(g, "totals", head)
		lags = append(lags, time.Since(begun))
	}
	slices.Sort(lags)
	b.ReportMetric(float64(lags[len(lags)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds()), "p99-µs")
}
