package projections_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/trace/noop"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/projectionstest"
)

// line is a row that repeats columns of the log.
type line struct {
	Position   int64           `db:"position,key"`
	EventID    domain.ID       `db:"event_id"`
	Stream     domain.ID       `db:"stream"`
	Version    int64           `db:"aggregate_version"`
	Schema     int             `db:"schema_version"`
	ClientID   string          `db:"client_id"`
	RecordedAt time.Time       `db:"recorded_at"`
	Body       json.RawMessage `db:"body"`
}

// ledger is a journal whose pages are copied. read counts the events whose rows were made in Go.
func ledger(read *atomic.Int64) *projections.Journal[line] {
	return projections.MustJournal(projections.JournalConfig[line]{
		Spec: projections.Spec{
			Name: "ledger", Version: 1, Kind: projections.KindReadModel, Raw: true, DDL: `CREATE TABLE lines (position bigint PRIMARY KEY,
				event_id uuid NOT NULL, stream uuid NOT NULL, aggregate_version bigint NOT NULL, schema_version int NOT NULL,
				client_id text NOT NULL, recorded_at timestamptz NOT NULL, body json NOT NULL)`,
		},
		Table: "lines",
		Row: func(e projections.Event) (line, bool, error) {
			read.Add(1)
			return line{e.Position, e.EventID, e.AggregateID, e.AggregateVersion, e.SchemaVersion, e.ClientID, e.RecordedAt, e.Data}, true, nil
		},
		Repeats: map[string]string{"stream": "aggregate_id", "body": "data"},
	})
}

// checkLedger compares the rows with the log up to the checkpoint, less the positions left out, and gives the checkpoint.
func (b *bundle) checkLedger(without ...int64) (position int64) {
	b.t.Helper()
	if err := b.db.Get(&position, `SELECT position FROM annals.subscribers WHERE name = 'ledger'`); err != nil {
		b.t.Fatal(err)
	}
	left := strings.Trim(strings.ReplaceAll(fmt.Sprint(append(without, 0)), " ", ","), "[]")
	var wrong []string
	err := b.db.Select(&wrong, `
		SELECT format('%s, in the log %s', l::text, e::text) FROM rm_ledger_v1.lines l FULL JOIN
			(SELECT position, event_id, aggregate_id, aggregate_version, schema_version, client_id, recorded_at, data FROM annals.events
			WHERE position <= $1 AND position NOT IN (`+left+`)) e USING (position)
		WHERE (l::text = e::text) IS NOT TRUE ORDER BY position LIMIT 5`, position)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, w := range wrong {
		b.t.Error(w)
	}
	return position
}

func TestCopiedRowsAreThoseOfPagesThatAreRead(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), ledger(new(atomic.Int64)), facts(10)...)["lines"]
	if len(rows) != 10 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestRowsThatDoNotRepeatTheLog(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*projections.JournalConfig[line]){
		"no column body":           func(c *projections.JournalConfig[line]) { delete(c.Repeats, "body") },
		"no column leaf_version":   func(c *projections.JournalConfig[line]) { c.Repeats["body"] = "leaf_version" },
		"that the rows don't have": func(c *projections.JournalConfig[line]) { c.Repeats["boddy"] = "data" },
		"no column nowhere":        func(c *projections.JournalConfig[line]) { c.Repeats["body"] = "nowhere" },
		"of every event":           func(c *projections.JournalConfig[line]) { c.Spec.EventTypes = []string{"tally.counted"} },
		"as it was":                func(c *projections.JournalConfig[line]) { c.Spec.Raw = false },
	} {
		cfg := ledger(new(atomic.Int64)).JournalConfig
		change(&cfg)
		if _, err := projections.NewJournal(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// Pages are copied, not read, whatever an operator has skipped, and also where a page is full.
func TestCopiedPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var read atomic.Int64
	g := b.group(b.config(), ledger(&read))
	b.db.MustExec(`INSERT INTO annals.skipped_events (projection, version, position, reason, actor)
		VALUES ('ledger', 1, 7, 'spoilt', 'op'), ('ledger', 2, 8, 'of another version', 'op'), ('totals', 1, 9, 'of another', 'op')`)
	b.append(counts(130)...)
	b.run(g)
	b.waitFor(g, "ledger", 130)
	for range 5 {
		b.waitFor(g, "ledger", b.append(counts(3)...))
	}
	b.checkLedger(7)
	if n := read.Load(); n > 0 {
		t.Errorf("%d events were read", n)
	}
}

// A page's span is linked to the traces of its events: with a tracer, pages are read.
func TestTracedPagesAreRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var read atomic.Int64
	cfg := b.config()
	cfg.Tracer = noop.NewTracerProvider().Tracer("")
	g := b.group(cfg, ledger(&read))
	b.run(g)
	b.waitFor(g, "ledger", b.append(counts(3)...))
	b.checkLedger()
	if n := read.Load(); n != 3 {
		t.Errorf("%d events were read", n)
	}
}

// TestCopiedPageThatFails: the event at fault is found and named, what precedes it is applied, and afterwards pages are copied
// again.
func TestCopiedPageThatFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var read atomic.Int64
	g := b.group(b.config(), ledger(&read))
	b.append(counts(40)...)
	b.db.MustExec(`INSERT INTO rm_ledger_v1.lines SELECT 15, event_id, aggregate_id, 1, 1, 'forged', now(), '{}'
		FROM annals.events WHERE position = 15`)
	b.run(g)
	pgtest.Eventually(t, "the subscriber failed", func() bool { return b.state(g, "ledger").Failure != nil })
	s := b.state(g, "ledger")
	if s.Status != projections.StatusFailed || s.Position != 14 || s.Failure.Position != 15 || !strings.Contains(s.Failure.Error, "annals replay ledger") {
		t.Errorf("state %+v, failure %+v", s, s.Failure)
	}
	b.db.MustExec(`DELETE FROM rm_ledger_v1.lines WHERE client_id = 'forged'`)
	b.waitFor(g, "ledger", 40)
	if s := b.state(g, "ledger"); s.Status != projections.StatusRunning || s.Failure != nil {
		t.Errorf("state %+v, failure %+v", s, s.Failure)
	}
	before := read.Load()
	b.waitFor(g, "ledger", b.append(counts(3)...))
	b.checkLedger()
	if n := read.Load(); n != before {
		t.Errorf("%d events were read after the failure", n-before)
	}
}

// A paused subscriber copies nothing.
func TestPausedCopies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := b.config()
	looks := b.countLooks(&cfg)
	g := b.group(cfg, ledger(new(atomic.Int64)))
	b.db.MustExec(`UPDATE annals.subscribers SET status = 'paused' WHERE name = 'ledger'`)
	head := b.append(counts(10)...)
	b.run(g)
	looks(3)
	if at := b.checkLedger(); at != 0 {
		t.Errorf("checkpoint %d", at)
	}
	b.db.MustExec(`UPDATE annals.subscribers SET status = 'running' WHERE name = 'ledger'`)
	b.waitFor(g, "ledger", head)
	b.checkLedger()
}

func TestTwoNodesCopy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	logged := new(linesOf)
	small := func() projections.Config {
		cfg := b.config()
		cfg.PageSize, cfg.StandbyPause, cfg.Logger = 5, time.Millisecond, logged.warnings()
		return cfg
	}
	var read atomic.Int64
	one, two := b.group(small(), ledger(&read)), b.group(small(), ledger(&read))
	stop := b.run(one)
	b.run(two)
	for range 40 {
		b.append(counts(23)...)
	}
	b.waitFor(two, "ledger", 40*23)
	b.waitFor(one, "ledger", 40*23)
	b.checkLedger()
	stop()
	b.waitFor(two, "ledger", b.append(counts(100)...))
	b.checkLedger()
	if n := read.Load(); n >= 40*23 {
		t.Error("no page was copied")
	}
	if said := logged.String(); said != "" {
		t.Errorf("nothing is wrong, and it says %s", said)
	}
}

// A database whose transactions are something else by default changes nothing.
func TestCopiesUnderOtherDefaults(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"default_transaction_read_only=on", "default_transaction_isolation=serializable"} {
		b := setup(t)
		pool, err := eventstore.OpenPreparedDB(b.db.DSN+"&"+setting, eventstore.RoleApp, 8, "projections")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		logged, read := new(linesOf), atomic.Int64{}
		cfg := b.config()
		cfg.DB, cfg.Logger = pool, logged.warnings()
		g := b.group(cfg, ledger(&read))
		b.run(g)
		b.waitFor(g, "ledger", b.append(counts(20)...))
		b.checkLedger()
		if said := logged.String(); said != "" {
			t.Errorf("%s: %s", setting, said)
		}
		var now string
		if err := pool.Get(&now, `SELECT current_setting($1)`, setting[:strings.Index(setting, "=")]); err != nil || strings.HasSuffix(setting, now) {
			t.Errorf("%s: %s, %v", setting, now, err)
		}
	}
}

// A look that finds nothing isn't a page: neither the middleware nor the metrics hear of it.
func TestLooksAreNotCopies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var pages atomic.Int64
	cfg := b.config()
	cfg.Poll = time.Millisecond
	cfg.Middleware = []message.HandlerMiddleware{func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			pages.Add(1)
			return next(msg)
		}
	}}
	looks := b.countLooks(&cfg)
	g := b.group(cfg, ledger(new(atomic.Int64)))
	b.run(g)
	b.waitFor(g, "ledger", b.append(counts(3)...))
	looks(20)
	if n := pages.Load(); n > 2 { // a look that began before the append may have read the page
		t.Errorf("%d pages", n)
	}
	// News that nobody announced are found by looking.
	b.db.MustExec(`UPDATE annals.subscribers SET position = 0 WHERE name = 'ledger'; DELETE FROM rm_ledger_v1.lines`)
	pgtest.Eventually(t, "the page is applied again", func() bool { return b.state(g, "ledger").Position == 3 })
	b.checkLedger()
}
