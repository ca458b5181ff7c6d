package policies_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore"
)

// interruption strikes after a policy's first decision is in the log, before the policy's checkpoint is.
type interruption struct {
	name string
	// strike gives the error that the policy is told instead of success; nil: none.
	strike func(ctx context.Context, p *plant, decided chan<- struct{}) error
	// takeover: the first node stops and another goes on.
	takeover bool
}

func interruptions() []interruption {
	return []interruption{
		{"the node stops", func(ctx context.Context, _ *plant, decided chan<- struct{}) error {
			close(decided)
			<-ctx.Done()
			return ctx.Err()
		}, true},
		{"its connections are terminated", func(ctx context.Context, p *plant, decided chan<- struct{}) error {
			_, err := p.DB.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'projections'`)
			close(decided)
			return err
		}, false},
		{"the reply is lost", func(_ context.Context, _ *plant, decided chan<- struct{}) error {
			close(decided)
			return eventstore.ErrOutcomeUnknown
		}, false},
	}
}

// runner gives a runner that is interrupted once.
func (i interruption) runner(p *plant, runner eventstore.Runner, decided chan<- struct{}) eventstore.Runner {
	var struck atomic.Bool
	return runnerFunc(func(
		ctx context.Context, cmd eventstore.Command, use func(context.Context, *domain.UnitOfWork) error,
	) (eventstore.CommandResult, error) {
		result, err := runner.Run(ctx, cmd, use)
		if err == nil && len(result.Events) > 0 && struck.CompareAndSwap(false, true) {
			err = i.strike(ctx, p, decided)
		}
		return result, err
	})
}

// decision is something a policy decides.
type decision struct {
	policy string
	cause  func(p *plant, n *node, order domain.ID) (position int64)
	effect string // counts the effects
}

func decisions() []decision {
	return []decision{
		{
			policy: watch,
			cause: func(p *plant, n *node, order domain.ID) int64 {
				p.atLeast(n, "quality_rate", "90", "day", nil)
				_, position := p.produce(n, order, "L1", "2026-01-06", 50)
				return position
			},
			effect: `SELECT count(*) FROM annals.events WHERE event_type = 'kpi.threshold_violated'`,
		},
		{
			policy: "close_on_ship",
			cause:  func(p *plant, n *node, order domain.ID) int64 { return p.ship(n, order) },
			effect: `SELECT count(*) FROM annals.events WHERE data->>'to_status' = 'closed'`,
		},
		{
			policy: "quality_holds",
			cause: func(p *plant, n *node, order domain.ID) int64 {
				return p.inspect(n, order, "final", 1, 9).Position
			},
			effect: `SELECT count(*) FROM annals.events WHERE event_type = 'hold.created'`,
		},
	}
}

// Whatever happens between a policy's decision and its checkpoint, the decision takes effect once.
func TestDecisionsTakeEffectOnceWhenInterrupted(t *testing.T) {
	t.Parallel()
	for _, d := range decisions() {
		for _, i := range interruptions() {
			t.Run(d.policy+", "+i.name, func(t *testing.T) {
				t.Parallel()
				p := newPlant(t)
				one, two := open(t, p.DB, p.registry), open(t, p.DB, p.registry)
				order := p.order(two, "WO-1", true, "released", "in_progress")
				decided := make(chan struct{})
				g := p.watch(one, i.runner(p, one.Runner, decided))
				start(t, g)
				position := d.cause(p, two, order)
				select {
				case <-decided:
				case <-time.After(30 * time.Second):
					t.Fatal("nothing was decided")
				}
				if i.takeover {
					if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.subscribers WHERE name = $1 AND position >= $2`, d.policy, position); n != 0 {
						t.Error("the checkpoint passed the event before the interruption")
					}
					g.Close()
					g = p.watch(two, two.Runner)
					start(t, g)
				}
				p.handled(g, d.policy, position)
				// Another event of no consequence: the policy goes on.
				p.handled(g, d.policy, p.inspect(two, order, "incoming", 1, 0).Position)
				if n := count(t, p.DB.DB, d.effect); n != 1 {
					t.Errorf("took effect %d times", n)
				}
			})
		}
	}
}
