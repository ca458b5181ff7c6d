package policies_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/policies"
)

func (p *plant) state(n *node, id domain.ID) workorder.State {
	p.t.Helper()
	found, err := n.States.Current(context.Background(), p.client, "work_order", id)
	if err != nil {
		p.t.Fatal(err)
	}
	return found.State.(workorder.State)
}

func TestShippedOrdersCloseThemselves(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	one, two := open(t, p.DB, p.registry), open(t, p.DB, p.registry)
	g := p.watch(one, one.Runner)
	start(t, g)
	start(t, p.watch(two, two.Runner))
	closing := p.order(one, "WO-1", true, "released", "in_progress")
	staying := p.order(one, "WO-2", false, "released", "in_progress")
	p.ship(one, closing)
	p.handled(g, "close_on_ship", p.ship(two, staying))
	if status := p.state(one, closing).Status; status != workorder.StatusClosed {
		t.Errorf("the order that closes itself is %s", status)
	}
	if status := p.state(one, staying).Status; status != workorder.StatusShipped {
		t.Errorf("the other order is %s", status)
	}
	if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.events WHERE event_type = 'work_order.status_changed'
		AND data->>'to_status' = 'closed' AND data->>'trigger_source' = 'system' AND actor_id = 'policy:close_on_ship'`); n != 1 {
		t.Errorf("closed %d times", n)
	}
	if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.idempotency_keys`); n != 1 {
		t.Errorf("%d keys are kept for one order", n)
	}
}

func TestFailedInspectionsHoldTheirOrders(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	one, two := open(t, p.DB, p.registry), open(t, p.DB, p.registry)
	g := p.watch(one, one.Runner)
	start(t, g)
	start(t, p.watch(two, two.Runner))
	failing := p.order(one, "WO-1", false, "released", "in_progress")
	passing := p.order(one, "WO-2", false, "released", "in_progress")
	cancelled := p.order(one, "WO-3", false, "cancelled")
	p.inspect(one, failing, "in_process", 0, 10)
	p.inspect(two, passing, "final", 90, 10)
	p.inspect(one, cancelled, "final", 1, 10)
	p.handled(g, "quality_holds", p.inspect(one, failing, "final", 89, 11).Position)
	if s := p.state(one, failing); s.Status != workorder.StatusOnHold || len(s.OpenHolds) != 1 {
		t.Errorf("the order that failed %+v", s)
	}
	if s := p.state(one, passing); s.Status != workorder.StatusInProgress {
		t.Errorf("the order that passed %+v", s)
	}
	if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.events WHERE event_type = 'hold.created'
		AND data->>'category' = 'quality' AND (data->>'quantity')::int = 11 AND actor_id = 'policy:quality_holds'`); n != 1 {
		t.Errorf("%d holds", n)
	}
	states, err := g.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Failure != nil {
			t.Errorf("%s failed: %+v", s.Name, s.Failure)
		}
	}
}

// That an order can't be held is no failure, and it is settled: the answer is kept.
func TestAnOrderThatCannotBeHeld(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	order := p.order(n, "WO-1", false, "released", "in_progress")
	p.produce(n, order, "L1", "2026-01-06", 0)
	p.move(n, order, "completed")
	position := p.inspect(n, order, "final", 1, 9).Position
	holds, err := policies.NewQualityHolds(n.Runner, minimumFPY, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := holds.Handle(context.Background(), p.pageOf(holds.Spec(), 0, position)); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.stated("hold.created"); n != 0 {
		t.Errorf("%d holds", n)
	}
	if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.idempotency_keys
		WHERE scope = 'policy:quality_holds' AND first_position IS NULL`); n != 1 {
		t.Errorf("%d answers are kept", n)
	}
}

func TestQualityHoldsAreOffByDefault(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	order := p.order(n, "WO-1", false)
	position := p.inspect(n, order, "final", 0, 10).Position
	off, err := policies.NewQualityHolds(n.Runner, decimal.Decimal{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := off.Handle(context.Background(), p.pageOf(off.Spec(), 0, position)); err != nil || p.stated("hold.created") != 0 {
		t.Errorf("a hold nobody asked for: %v", err)
	}
	for _, limit := range []string{"-1", "100.01"} {
		if _, err := policies.NewQualityHolds(n.Runner, decimal.RequireFromString(limit), nil); err == nil {
			t.Errorf("a limit of %s is taken", limit)
		}
	}
}

// runnerFunc is what happens to the commands of a policy.
type runnerFunc func(context.Context, eventstore.Command, func(context.Context, *domain.UnitOfWork) error) (eventstore.CommandResult, error)

func (f runnerFunc) Run(
	ctx context.Context, cmd eventstore.Command, use func(context.Context, *domain.UnitOfWork) error,
) (eventstore.CommandResult, error) {
	return f(ctx, cmd, use)
}

func TestWhichErrorsStopAPolicy(t *testing.T) {
	t.Parallel()
	inspected := projections.Page{To: 1, Events: []projections.Event{{
		Envelope: eventstore.Envelope{Position: 1, ClientID: "acme"},
		Payload:  inspection.Recorded{Stage: inspection.StageFinal, UnitsInspected: 1, UnitsDefective: 1},
	}}}
	failure := errors.New("disk full")
	for _, c := range []struct {
		name string
		err  error
		want error // nil: the policy goes on
	}{
		{"done", nil, nil},
		{"the aggregate has gone on", domain.Refuse(domain.CodeInvalidTransition, "closed"), nil},
		{"there is no such aggregate", domain.Refuse(domain.CodeNotFound, "nothing"), nil},
		{"no time", domain.Refuse(domain.CodeConcurrentChange, "busy"), context.DeadlineExceeded},
		{"unavailable", eventstore.ErrUnavailable, eventstore.ErrUnavailable},
		{"unknown outcome", eventstore.ErrOutcomeUnknown, eventstore.ErrOutcomeUnknown},
		{"a failure", failure, failure},
	} {
		t.Run(c.name, func(t *testing.T) {
			runner := runnerFunc(func(context.Context, eventstore.Command, func(context.Context, *domain.UnitOfWork) error) (eventstore.CommandResult, error) {
				return eventstore.CommandResult{}, c.err
			})
			holds, err := policies.NewQualityHolds(runner, minimumFPY, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := holds.Handle(context.Background(), inspected); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A policy isn't stopped by events of aggregates that don't exist, as after an operator's repair.
func TestEventsOfNothing(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	nobody := domain.MustParseID("0190a000-0000-7000-8000-ffffffffffff")
	page := projections.Page{To: 2, Events: []projections.Event{
		{Envelope: eventstore.Envelope{Position: 1, EventID: nobody, ClientID: "acme", AggregateID: nobody},
			Payload: workorder.StatusChanged{ToStatus: workorder.StatusShipped}},
	}}
	quiet := slog.New(slog.DiscardHandler)
	if err := policies.NewCloseOnShip(n.Runner, quiet).Handle(context.Background(), page); err != nil {
		t.Error(err)
	}
	page.Events[0].Payload = inspection.Recorded{Stage: inspection.StageFinal, UnitsInspected: 1, UnitsDefective: 1}
	holds, err := policies.NewQualityHolds(n.Runner, minimumFPY, quiet)
	if err == nil {
		err = holds.Handle(context.Background(), page)
	}
	if err != nil {
		t.Error(err)
	}
}
