package projections_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"annals/eventstore/pgtest"
	"annals/projections"
)

// What PostgreSQL refuses at the commit isn't applied, and nobody is told that it is.
func TestCopyThatCanNotBeCommitted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	logged := new(linesOf)
	cfg := b.config()
	cfg.Logger = logged.warnings()
	g := b.group(cfg, ledger(new(atomic.Int64)))
	b.db.MustExec(`ALTER TABLE rm_ledger_v1.lines ADD CONSTRAINT one_a_stream UNIQUE (stream) DEFERRABLE INITIALLY DEFERRED`)
	head := b.append(counts(20)...)
	b.run(g)
	pgtest.Eventually(t, "the failure is told", func() bool { return strings.Contains(logged.String(), "one_a_stream") })
	if at := b.checkLedger(); at != 0 {
		t.Errorf("checkpoint %d", at)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := g.WaitFor(ctx, "ledger", head); err == nil {
		t.Error("the page counts as applied")
	}
	b.db.MustExec(`ALTER TABLE rm_ledger_v1.lines DROP CONSTRAINT one_a_stream`)
	b.waitFor(g, "ledger", head)
	b.checkLedger()
}

// held keeps the ledger's next page from being written to its end until release is called, by a row that is neither there nor
// not there, and waits until the page is at that point.
func (b *bundle) held() (reached func(), release func()) {
	b.t.Helper()
	tx := b.db.MustBegin()
	tx.MustExec(`INSERT INTO rm_ledger_v1.lines SELECT 20, event_id, aggregate_id, 1, 1, 'held', now(), '{}' FROM annals.events WHERE position = 20`)
	return func() {
			b.t.Helper()
			pgtest.Eventually(b.t, "a page waits for the row", func() bool {
				var n int
				err := b.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
					AND application_name = 'projections' AND wait_event_type = 'Lock'`)
				return err == nil && n == 1
			})
		}, func() {
			if err := tx.Rollback(); err != nil {
				b.t.Error(err)
			}
		}
}

func TestCloseInTheMiddleOfACopy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(40)...)
	g := b.group(b.config(), ledger(new(atomic.Int64)))
	reached, release := b.held()
	stop := b.run(g)
	reached()
	stop()
	if at := b.checkLedger(); at != 0 {
		t.Errorf("checkpoint %d", at)
	}
	release()
	next := b.group(b.config(), ledger(new(atomic.Int64)))
	b.run(next)
	b.waitFor(next, "ledger", 40)
	b.checkLedger()
}

// A lost connection says nothing of the events: the page is copied again, not read.
func TestConnectionLostInTheMiddleOfACopy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(40)...)
	var read atomic.Int64
	g := b.group(b.config(), ledger(&read))
	reached, release := b.held()
	b.run(g)
	for range 3 {
		reached()
		b.db.MustExec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'projections' AND wait_event_type = 'Lock'`)
	}
	reached()
	release()
	b.waitFor(g, "ledger", 40)
	b.checkLedger()
	if s := b.state(g, "ledger"); s.Status != projections.StatusRunning || s.Failure != nil || read.Load() > 0 {
		t.Errorf("%d events were read: %+v", read.Load(), s)
	}
}

// TestCopyWhereAnotherNodeHasBeen: another node moves the checkpoint between the statement's snapshot and its lock. The statement
// sees the checkpoint that the other one wrote and events after it, and must neither copy what is copied nor call it an error.
func TestCopyWhereAnotherNodeHasBeen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(40)...)
	logged := new(linesOf)
	var read atomic.Int64
	cfg := b.config()
	cfg.Logger, cfg.Poll = logged.warnings(), time.Hour
	g := b.group(cfg, ledger(&read))
	// Whoever reads a checkpoint under the program's role waits for the gate, after the snapshot and before the row's lock.
	b.db.MustExec(`CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4242); RETURN true; END $$;
		ALTER TABLE annals.subscribers ENABLE ROW LEVEL SECURITY; CREATE POLICY gate ON annals.subscribers USING (name <> 'ledger' OR gate())`)
	other := b.db.MustBegin()
	b.run(g)
	b.waitFor(g, "ledger", 40)
	other.MustExec(`SELECT pg_advisory_xact_lock(4242)`)
	head := b.append(counts(10)...)
	waits := func() bool {
		var n int
		err := b.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'
			AND query LIKE '%WITH checkpoint%'`)
		return err == nil && n == 1
	}
	pgtest.Eventually(t, "a page waits at the gate", waits)
	var at int64
	if err := other.Get(&at, `UPDATE annals.subscribers SET position = position + 5 WHERE name = 'ledger' RETURNING position`); err != nil {
		t.Fatal(err)
	}
	other.MustExec(`INSERT INTO rm_ledger_v1.lines SELECT position, event_id, aggregate_id, aggregate_version, schema_version, client_id, recorded_at, data
		FROM annals.events WHERE position > $1 - 5 AND position <= $1`, at)
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	b.waitFor(g, "ledger", head)
	if at := b.checkLedger(); at != head {
		t.Errorf("the checkpoint is at %d, and %d was told", at, head)
	}
	if said := logged.String(); said != "" || read.Load() > 0 {
		t.Errorf("%d events were read: %s", read.Load(), said)
	}
}
