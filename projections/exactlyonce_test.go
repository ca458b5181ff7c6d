package projections_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/projections"
)

// slowWriter is the totals' fold in two statements, with a point between them at which a test can act: what the first
// wrote must never be seen without the second.
type slowWriter struct {
	*projections.Fold[domain.ID, total]
	between func(ctx context.Context, page projections.Page) error
}

func (s slowWriter) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	half := page
	half.Events = page.Events[:(len(page.Events)+1)/2]
	if err := s.Fold.Apply(ctx, tx, half); err != nil {
		return err
	}
	if err := s.between(ctx, page); err != nil {
		return err
	}
	half.Events = page.Events[len(half.Events):]
	return s.Fold.Apply(ctx, tx, half)
}

// appliedOnce checks that the rows are those of the log up to the checkpoint, and gives the checkpoint.
func (b *bundle) appliedOnce(name string) int64 {
	b.t.Helper()
	var position int64
	if err := b.db.Get(&position, `SELECT position FROM annals.subscribers WHERE name = $1`, name); err != nil {
		b.t.Fatal(err)
	}
	b.checkTotals(name, position)
	return position
}

func TestNackDoesNotApplyAgain(t *testing.T) {
	t.Parallel()
	for name, nackBefore := range map[string]bool{"before the handler": true, "after the handler": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(counts(40)...)
			cfg := b.config()
			var nacks atomic.Int64
			// Outside of everything else, where an error is given back to watermill-sql, which sends the message again in
			// the same transaction.
			projections.SetOuter(&cfg, func(next message.HandlerFunc) message.HandlerFunc {
				return func(msg *message.Message) ([]*message.Message, error) {
					if nackBefore && nacks.Add(1)%3 != 0 {
						return nil, errors.New("nack")
					}
					out, err := next(msg)
					if !nackBefore && nacks.Add(1)%3 != 0 {
						return nil, errors.New("nack")
					}
					return out, err
				}
			})
			var calls atomic.Int64
			g := b.group(cfg, slowWriter{totals("totals", nil), func(context.Context, projections.Page) error {
				calls.Add(1)
				return nil
			}})
			b.run(g)
			b.waitFor(g, "totals", 40)
			b.checkTotals("totals", 40)
			if n := nacks.Load(); n < 3 {
				t.Errorf("%d nacks", n)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("the page was applied %d times", n)
			}
		})
	}
}

func TestForeignMiddleware(t *testing.T) {
	t.Parallel()
	for name, middleware := range map[string]message.HandlerMiddleware{
		"calls twice": func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				next(msg)
				return next(msg)
			}
		},
		"calls twice at once": func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				done := make(chan struct{})
				go func() { defer close(done); next(msg) }()
				out, err := next(msg)
				<-done
				return out, err
			}
		},
		"fails after the handler": func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				next(msg)
				return nil, errors.New("too late")
			}
		},
		"panics after the handler": func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				next(msg)
				panic("too late")
			}
		},
		"fails now and then before the handler": func(next message.HandlerFunc) message.HandlerFunc {
			var calls atomic.Int64
			return func(msg *message.Message) ([]*message.Message, error) {
				if calls.Add(1)%2 == 1 {
					return nil, errors.New("not yet")
				}
				return next(msg)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(counts(120)...)
			cfg := b.config()
			cfg.ErrorPause = time.Millisecond
			cfg.Middleware = []message.HandlerMiddleware{middleware}
			g := b.group(cfg, totals("totals", nil), ledger(new(atomic.Int64)))
			b.run(g)
			b.waitFor(g, "totals", 120)
			head := b.append(counts(10)...)
			b.waitFor(g, "totals", head)
			b.waitFor(g, "ledger", head)
			b.checkTotals("totals", head)
			b.checkLedger()
		})
	}
}

func TestCloseInTheMiddleOfAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(40)...)
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	stopped := slowWriter{totals("totals", nil), func(ctx context.Context, _ projections.Page) error {
		once.Do(func() { close(reached) })
		<-release // doesn't heed the end of its context
		return nil
	}}
	g := b.group(b.config(), stopped)
	stop := b.run(g)
	<-reached
	closed := make(chan struct{})
	go func() { defer close(closed); stop() }()
	// The transaction ends although the handler is still at work.
	pgtest.Eventually(b.t, "the transaction is rolled back", func() bool {
		var n int
		err := b.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'projections' AND xact_start IS NOT NULL`)
		return err == nil && n == 0
	})
	close(release)
	<-closed
	if at := b.appliedOnce("totals"); at != 0 {
		t.Errorf("checkpoint %d", at)
	}
	// The next process takes up where this one left.
	next := b.group(b.config(), totals("totals", nil))
	b.run(next)
	b.waitFor(next, "totals", 40)
	b.checkTotals("totals", 40)
}

// TestCloseWhileAMiddlewareSleeps is the case in which poisoning the transaction isn't enough: the handler is done or has
// not begun, and something around it still runs when the subscriber is closed.
func TestCloseWhileAMiddlewareSleeps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before bool
		want   int64
	}{"before the handler": {true, 0}, "after the handler": {false, 40}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(counts(40)...)
			reached, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			sleep := func() {
				once.Do(func() { close(reached) })
				<-release
			}
			cfg := b.config()
			cfg.Middleware = []message.HandlerMiddleware{func(next message.HandlerFunc) message.HandlerFunc {
				return func(msg *message.Message) ([]*message.Message, error) {
					if c.before {
						sleep()
						return next(msg)
					}
					defer sleep()
					return next(msg)
				}
			}}
			g := b.group(cfg, totals("totals", nil))
			stop := b.run(g)
			<-reached
			closed := make(chan struct{})
			go func() { defer close(closed); stop() }()
			pgtest.Eventually(b.t, "the transaction ended", func() bool {
				var n int
				err := b.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
					AND application_name = 'projections' AND xact_start IS NOT NULL`)
				return err == nil && n == 0
			})
			close(release)
			<-closed
			if at := b.appliedOnce("totals"); at != 0 && at != c.want {
				t.Errorf("checkpoint %d", at)
			}
		})
	}
}

func TestConnectionLostInTheMiddleOfAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(130)...)
	var kills atomic.Int64
	g := b.group(b.config(), slowWriter{totals("totals", nil), func(context.Context, projections.Page) error {
		if kills.Add(1) <= 3 {
			_, err := b.db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
				AND application_name = 'projections'`)
			if err != nil {
				t.Error(err)
			}
		}
		return nil
	}})
	b.run(g)
	b.waitFor(g, "totals", 130)
	b.checkTotals("totals", 130)
	if s := b.state(g, "totals"); s.Status != projections.StatusRunning || s.Failure != nil {
		t.Errorf("a lost connection is no failure of the event: %+v", s)
	}
}

func TestTwoNodesShareTheWork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var first, second atomic.Int64
	one := b.group(b.config(), totals("totals", func(counted) error { first.Add(1); return nil }))
	two := b.group(b.config(), totals("totals", func(counted) error { second.Add(1); return nil }))
	stop := b.run(one)
	b.run(two)
	for range 40 {
		b.append(counts(23)...)
	}
	b.waitFor(two, "totals", 40*23)
	b.waitFor(one, "totals", 40*23)
	b.checkTotals("totals", 40*23)
	if n := first.Load() + second.Load(); n != 40*23 {
		t.Errorf("%d events were applied on the two nodes", n)
	}
	stop()
	head := b.append(counts(100)...)
	b.waitFor(two, "totals", head)
	b.checkTotals("totals", head)
}

func TestStandbyTakesOverWhenANodeDiesInAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	head := b.append(counts(60)...)
	reached := make(chan struct{})
	var once sync.Once
	dying := slowWriter{totals("totals", nil), func(ctx context.Context, _ projections.Page) error {
		once.Do(func() { close(reached) })
		<-ctx.Done() // never comes back, as in a process that is killed
		return ctx.Err()
	}}
	one := b.group(b.config(), dying)
	cfg := b.config()
	looks := b.countLooks(&cfg)
	two := b.group(cfg, totals("totals", nil))
	stop := b.run(one)
	<-reached
	b.run(two)
	// The second node finds the row locked and waits; then the first one's connections are cut.
	looks(3)
	if at := b.appliedOnce("totals"); at != 0 {
		t.Errorf("the standby applied up to %d beside the first node", at)
	}
	stop()
	b.waitFor(two, "totals", head)
	b.checkTotals("totals", head)
}

func TestALongTransactionElsewhereStallsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`CREATE TABLE held (n int); SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	g := b.group(b.config(), totals("totals", nil))
	b.run(g)
	for range 5 {
		b.waitFor(g, "totals", b.append(counts(10)...))
	}
	b.checkTotals("totals", 50)
}

// TestPageThatBreaksOffIsNotTakenForAWholeOne: the server fails in the middle of a page's rows, of which the first are
// with the client already.
func TestPageThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(counts(49)...)
	for _, s := range []string{
		`CREATE SEQUENCE annals.tries`,
		`CREATE FUNCTION annals.break_off(at bigint) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
			IF at = 45 AND nextval('annals.tries') <= 6 THEN
				RAISE EXCEPTION 'could not read block' USING ERRCODE = 'io_error';
			END IF;
			RETURN true;
		END $$`,
		`DROP POLICY events_app ON annals.events`,
		`CREATE POLICY events_app ON annals.events TO annals_app USING (annals.break_off(position))`,
	} {
		if _, err := b.db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	cfg := b.config()
	cfg.ErrorPause = time.Millisecond
	g := b.group(cfg, totals("totals", nil))
	reacts := &recorder{name: "reacts"} // has no transaction that the failure would end
	if err := g.AddPolicies(reacts); err != nil {
		t.Fatal(err)
	}
	b.ensure(g.Specs()...)
	b.run(g)
	b.waitFor(g, "totals", 49)
	b.waitFor(g, "reacts", 49)
	b.checkTotals("totals", 49)
	if n := len(reacts.positions()); n != 49 {
		t.Errorf("the policy handled %d events", n)
	}
	var tries int
	if err := b.db.Get(&tries, `SELECT last_value FROM annals.tries`); err != nil || tries < 8 {
		t.Errorf("%d tries: %v", tries, err)
	}
}
