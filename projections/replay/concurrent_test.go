package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"

	"annals/projections"
)

// TestRebuildUnderLoad rebuilds again and again while writers append, two nodes apply and readers query. Readers never
// see less than the checkpoint they read before says, and in the end live and replay are the same.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]projections.Projector{"fold": bulkTotals{}, "journal": entries{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(6_000)
			b.live(p)
			stop := make(chan struct{})
			g, ctx := errgroup.WithContext(b.ctx)
			until := func(work func() error) {
				g.Go(func() error {
					for {
						select {
						case <-stop:
							return nil
						case <-ctx.Done():
							return ctx.Err()
						default:
						}
						if err := work(); err != nil {
							return err
						}
					}
				})
			}
			until(func() error { return fill(ctx, b.DB.DB, 37) })
			until(func() error { return fill(ctx, b.DB.DB, 1) })
			for range 2 {
				until(func() error { _, err := node{b, p}.page(ctx); return err })
				until(func() error { return b.query(ctx, p.Spec()) })
			}
			for range 2 {
				result, err := Rebuild(ctx, b.deps, p, Options{MergeEvery: 1_000})
				if err != nil {
					t.Error(err)
					break
				}
				if !result.Switched {
					t.Errorf("not switched: %+v", result)
				}
			}
			close(stop)
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			b.live(p)
			b.equalsReplay(p)
		})
	}
}

// query reads as the API does: in READ COMMITTED, the checkpoint before the rows.
func (b *bundle) query(ctx context.Context, spec projections.Spec) error {
	tx, err := b.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	cp, err := readCheckpoint(ctx, tx, spec)
	if err != nil {
		return err
	}
	want, column := cp.position, "count(*)"
	if spec.Name == "totals" {
		want, column = cp.position-cp.position/10, "coalesce(sum(events), 0)"
	}
	var got int64
	err = tx.QueryRowContext(ctx, `SELECT `+column+` FROM `+spec.Schema()+`.`+spec.Name).Scan(&got)
	if err != nil {
		return err
	}
	if got < want {
		return fmt.Errorf("a reader saw %d events in the rows at checkpoint %d, which has %d", got, cp.position, want)
	}
	return tx.Commit()
}

// reader holds on to the live table of totals, as a long query does.
func (b *bundle) reader() *sql.Tx {
	b.t.Helper()
	tx, err := b.BeginTx(b.ctx, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := tx.ExecContext(b.ctx, `SELECT count(*) FROM rm_totals_v1.totals`); err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// TestLockTimeout: a reader that holds on to the live table delays the switch, not the live projector, and nothing but
// the switch.
func TestLockTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3_000)
	p := bulkTotals{}
	b.live(p)
	reader := b.reader()
	defer reader.Rollback()
	refused := 0
	result, err := Rebuild(b.ctx, b.deps, p, Options{observe: func(s signal) {
		if s != signalRefused {
			return
		}
		refused++
		b.fill(10)
		b.live(p)
		if at := b.int(`SELECT position FROM annals.subscribers WHERE name = 'totals'`); at != int64(3_000+10*refused) {
			t.Errorf("the live projector stands at %d between attempts", at)
		}
		if refused == 2 {
			if err := reader.Rollback(); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if refused < 2 || result.Position != int64(3_000+10*refused) {
		t.Errorf("refused %d times, switched at %d", refused, result.Position)
	}
	b.equalsReplay(p)
}

// TestLiveProjectorHoldsCheckpoint: the switch waits for a page that is being applied and doesn't lose it.
func TestLiveProjectorHoldsCheckpoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(100)
	p := bulkTotals{}
	b.live(p)
	b.fill(50)
	tx, err := b.BeginTx(b.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := lockCheckpoint(b.ctx, tx, p.Spec()); err != nil {
		t.Fatal(err)
	}
	refused := false
	result, err := Rebuild(b.ctx, b.deps, p, Options{observe: func(s signal) {
		if s == signalRefused {
			refused = true
			_ = tx.Rollback()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !refused || result.Position != 150 {
		t.Errorf("refused %v, result %+v", refused, result)
	}
	b.equalsReplay(p)
}

// TestGapGrows: what is appended between catching up and switching is in the tables after the switch, also when it is
// more than a page.
func TestGapGrows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3_000)
	p := bulkTotals{}
	b.live(p)
	once, caughtUp := true, 0
	result, err := Rebuild(b.ctx, b.deps, p, Options{observe: func(s signal) {
		if s == signalMerged && !once {
			caughtUp++
		}
		if s == signalSwitch && once {
			once = false
			b.fill(chunkEvents + 5_000)
			b.live(p)
			b.fill(100)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(3_000 + chunkEvents + 5_100); result.Position != want {
		t.Errorf("switched at %d, want %d", result.Position, want)
	}
	if caughtUp == 0 {
		t.Error("more than a page was applied while the live projector and the queries waited")
	}
	b.equalsReplay(p)
}

// TestNewVersion: version 2 is built while version 1 serves and goes on.
func TestNewVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(5_000)
	first, second := bulkTotals{totals{version: 1}}, bulkTotals{totals{version: 2}}
	b.live(first)
	result, err := Rebuild(b.ctx, b.deps, second, Options{MergeEvery: 1_000, observe: func(s signal) {
		if s == signalMerged {
			b.fill(100)
			b.live(first)
			if err := b.query(b.ctx, first.Spec()); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if at := b.int(`SELECT position FROM annals.subscribers WHERE version = 2`); at != result.Position {
		t.Errorf("version 2 stands at %d, want %d", at, result.Position)
	}
	b.live(first)
	b.live(second)
	if b.rows("rm_totals_v1.totals") != b.rows("rm_totals_v2.totals") {
		t.Error("the versions differ")
	}
	dropped, err := Prune(b.ctx, b.DB.DB.DB, []projections.Spec{second.Spec()})
	if err != nil {
		t.Fatal(err)
	}
	if len(dropped) != 1 || dropped[0] != "rm_totals_v1" {
		t.Errorf("pruned %v", dropped)
	}
	if n := b.int(`SELECT count(*) FROM annals.subscribers`); n != 1 {
		t.Errorf("%d checkpoints are left", n)
	}
	b.equalsReplay(second)
}

// TestPruneKeeps: newer versions, unknown projections and foreign schemas stay, and so does what is being rebuilt.
func TestPruneKeeps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.must(`CREATE SCHEMA rm_totals_v3; CREATE SCHEMA rm_other_v1; CREATE SCHEMA rm_totals; CREATE SCHEMA build_totals_v1;
		CREATE SCHEMA trash_totals_v1`)
	keep := []projections.Spec{totals{version: 2}.Spec()}
	s, err := openSession(b.ctx, b.deps.DB, totals{version: 1}.Spec())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Prune(b.ctx, b.deps.DB, keep); !errors.Is(err, ErrAlreadyBuilding) {
		t.Errorf("pruning what is being rebuilt: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	dropped, err := Prune(b.ctx, b.deps.DB, keep)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(dropped), "[build_totals_v1 trash_totals_v1]"; got != want {
		t.Errorf("pruned %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(b.schemas()), "[rm_other_v1 rm_totals rm_totals_v3]"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}

// TestTheSwitchTellsTheLiveProjector: each attempt to switch holds the checkpoint, and says when it is over, so that a
// projector that looked meanwhile doesn't stand by.
func TestTheSwitchTellsTheLiveProjector(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(100)
	p := bulkTotals{}
	b.live(p)
	reader := b.reader()
	defer reader.Rollback()
	news := pq.NewListener(b.DSN, time.Second, time.Second, nil)
	defer news.Close()
	if err := news.Listen("annals_progress"); err != nil {
		t.Fatal(err)
	}
	told := func(what string) {
		select {
		case n := <-news.Notify:
			if n == nil || n.Extra != "totals 1 !" {
				t.Errorf("%s: told %+v", what, n)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the live projector wasn't told", what)
		}
	}
	refused := false
	if _, err := Rebuild(b.ctx, b.deps, p, Options{observe: func(s signal) {
		if s == signalRefused && !refused {
			refused = true
			told("after an attempt that failed")
			if err := reader.Rollback(); err != nil {
				t.Error(err)
			}
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if !refused {
		t.Fatal("no attempt failed: the test tests nothing")
	}
	told("after the switch")
}
