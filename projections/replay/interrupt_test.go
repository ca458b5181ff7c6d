package replay

import (
	"context"
	"errors"
	"testing"

	"annals/projections"
)

// TestResume ends rebuilds in the middle, in the ways they end, and again, and expects the next ones to go on from there.
func TestResume(t *testing.T) {
	t.Parallel()
	ends := map[string]func(b *bundle, cancel context.CancelFunc){
		"cancelled": func(_ *bundle, cancel context.CancelFunc) { cancel() },
		"backend terminated": func(b *bundle, _ context.CancelFunc) {
			b.must(`SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, lockClass)
		},
	}
	for name, end := range ends {
		for kind, p := range map[string]projections.Projector{"fold": bulkTotals{}, "journal": entries{}} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.fill(21_000)
				b.live(p)
				before := b.rows(p.Spec().Schema() + "." + p.Spec().Name)
				reached := int64(0)
				for run := 0; ; run++ {
					ctx, cancel := context.WithCancel(b.ctx)
					merges := 0
					result, err := Rebuild(ctx, b.deps, p, Options{MergeEvery: 2_000, observe: func(s signal) {
						if merges++; merges == 2 {
							end(b, cancel)
						}
					}})
					cancel()
					if err == nil {
						if run < 3 || !result.Resumed {
							t.Errorf("run %d, result %+v", run, result)
						}
						break
					}
					if run == 20 {
						t.Fatalf("it never ends: %v", err)
					}
					at := b.int(`SELECT position FROM annals.builds`)
					if at <= reached && at < 19_000 {
						t.Fatalf("run %d got from %d to %d: %v", run, reached, at, err)
					}
					reached = at
				}
				if b.rows(p.Spec().Schema()+"."+p.Spec().Name) != before {
					t.Error("the rows differ from those before")
				}
				b.equalsReplay(p)
			})
		}
	}
}

// TestCancelledBeforeSwitch: the old tables stay in use, the status is what it was, the lock is free at once, and the
// finished build isn't made again.
func TestCancelledBeforeSwitch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(5_000)
	p := bulkTotals{}
	b.live(p)
	oid := b.int(`SELECT 'rm_totals_v1.totals'::regclass::oid::bigint`)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	_, err := Rebuild(ctx, b.deps, p, Options{observe: func(s signal) {
		if s == signalSwitch {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if b.int(`SELECT 'rm_totals_v1.totals'::regclass::oid::bigint`) != oid {
		t.Error("the live table was exchanged")
	}
	if n := b.int(`SELECT count(*) FROM annals.subscribers WHERE status = 'running'`); n != 1 {
		t.Error("the status has changed")
	}
	result, err := Rebuild(b.ctx, b.deps, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Resumed || result.Events > chunkEvents {
		t.Errorf("result %+v", result)
	}
	b.equalsReplay(p)
}

// TestStartsOver: what another program, or another DDL, has half built isn't continued, nor is a build whose events an
// operator has since skipped, nor one beyond the end of the log.
func TestStartsOver(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"fingerprint": `UPDATE annals.builds SET fingerprint = 'another'`,
		"skip": `INSERT INTO annals.skipped_events (projection, version, position, reason, actor)
			VALUES ('totals', 1, 17, 'test', 'test')`,
		"dropped":  `DROP SCHEMA build_totals_v1 CASCADE`,
		"position": `UPDATE annals.builds SET position = 1000000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(9_000)
			p := bulkTotals{}
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			_, err := Rebuild(ctx, b.deps, p, Options{MergeEvery: 2_000, observe: func(signal) { cancel() }})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v", err)
			}
			b.must(`UPDATE build_totals_v1.totals SET total = -1`)
			b.must(change)
			result, err := Rebuild(b.ctx, b.deps, p, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if result.Resumed {
				t.Errorf("resumed: %+v", result)
			}
			if n := b.int(`SELECT count(*) FROM rm_totals_v1.totals WHERE total = -1`); n != 0 {
				t.Errorf("%d rows of the earlier build are live", n)
			}
		})
	}
}

// TestLeftovers: schemas of a run that ended between the switch and the drop, or before its state was saved, are dropped.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(100)
	b.must(`CREATE SCHEMA trash_totals_v1; CREATE TABLE trash_totals_v1.totals (x int); CREATE SCHEMA build_totals_v1;
		CREATE TABLE build_totals_v1.totals (x int)`)
	if _, err := Rebuild(b.ctx, b.deps, bulkTotals{}, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := b.schemas(); len(got) != 1 || got[0] != "rm_totals_v1" {
		t.Errorf("left %v", got)
	}
}
