package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"annals/eventstore"
	"annals/eventstore/embedded"
	"annals/migrations"
)

// database is the benchmark's own: nobody's log is written to.
type database struct {
	dsn    string
	owner  *sqlx.DB
	server *embedded.Server // nil on a server of somebody else's
	dir    string           // of server
	drop   func() error
}

// patience bounds what a benchmark waits for beside its measurements.
const patience = 2 * time.Minute

func newDatabase(ctx context.Context, o *Options) (d *database, err error) {
	d = &database{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if o.DatabaseURL == "" {
		err = d.startServer(ctx)
	} else {
		err = d.create(ctx, o.DatabaseURL)
	}
	if err != nil {
		return d, err
	}
	if d.owner, err = eventstore.OpenDB(d.dsn, eventstore.RoleOwner, 4, "annals bench"); err != nil {
		return d, err
	}
	_, err = migrations.Up(ctx, d.owner.DB)
	return d, err
}

func (d *database) startServer(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "annals-bench-"); err != nil {
		return err
	}
	d.server, err = embedded.Start(ctx, embedded.Config{
		DataDir: d.dir, Logger: slog.New(slog.DiscardHandler), Settings: map[string]string{"max_connections": "1200"},
	})
	if err != nil {
		return err
	}
	d.dsn = d.server.DSN()
	return nil
}

// create makes a database on the server of a URL.
func (d *database) create(ctx context.Context, dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		return errors.New("the database URL must be a URL")
	}
	admin, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, 1, "annals bench")
	if err != nil {
		return err
	}
	name := "annals_bench_" + uuid.NewString()[:8]
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return errors.Join(fmt.Errorf("make a database for the benchmark: %w", err), admin.Close())
	}
	d.drop = func() error {
		_, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
		return errors.Join(err, admin.Close())
	}
	u.Path = "/" + name
	d.dsn = u.String()
	return nil
}

func (d *database) close() error {
	var errs []error
	if d.owner != nil {
		errs = append(errs, d.owner.Close())
	}
	if d.drop != nil {
		errs = append(errs, d.drop())
	}
	if d.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		errs = append(errs, d.server.Stop(ctx))
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// streamEvents is how many events a stream of fill holds.
const streamEvents = 100

// fill writes a log of n events over n/100 products, as the program would have: each is registered and then receives stock.
const fill = `
INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at, schema_version,
	event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id, data, metadata, data_salt,
	metadata_salt)
SELECT n, gen_random_uuid(), md5('bench' || (n - 1) / %[1]d)::uuid, (n - 1) %% %[1]d + 1, now(), now(),
	CASE (n - 1) %% %[1]d WHEN 0 THEN $3::int ELSE $4::int END,
	CASE (n - 1) %% %[1]d WHEN 0 THEN 'product.registered' ELSE 'product.stock_received' END, 'product', 'filled', 'someone',
	gen_random_uuid()::text, gen_random_uuid()::text, gen_random_uuid()::text,
	CASE (n - 1) %% %[1]d WHEN 0
		THEN format('{"sku":"F-%%1$s","name":"Product %%1$s","price":"9.99","currency":"EUR","initial_stock":1}', n / %[1]d)
		ELSE format('{"quantity":1,"available_after":%%s,"reason":"delivery %%s"}', (n - 1) %% %[1]d + 1, n) END::json,
	'{}', '0123456789abcdef', '0123456789abcdef'
FROM generate_series($1::bigint, $2::bigint) n`

// fill writes the first n events of the log.
func (d *database) fill(ctx context.Context, n int64) error {
	if n == 0 {
		return nil // an empty table that has been analysed is planned for as one that stays empty
	}
	const chunk = 500_000
	for from := int64(1); from <= n; from += chunk {
		_, err := d.owner.ExecContext(ctx, fmt.Sprintf(fill, streamEvents), from, min(n, from+chunk-1), registeredVersion, receivedVersion)
		if err != nil {
			return fmt.Errorf("fill the log: %w", err)
		}
	}
	for _, s := range []string{`VACUUM ANALYZE annals.events`, `CHECKPOINT`} {
		if _, err := d.owner.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
