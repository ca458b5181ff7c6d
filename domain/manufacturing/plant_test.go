package manufacturing_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/workorder"
)

// plant is a world with the manufacturing context in it.
type plant struct {
	*domaintest.World
	t domaintest.T
}

func newPlant(t domaintest.T) *plant {
	t.Helper()
	return &plant{World: domaintest.NewWorld(t, manufacturing.Definitions()...), t: t}
}

type useCase[C any] func(context.Context, *domain.UnitOfWork, C) error

// try executes a use case.
func try[C any](p *plant, use useCase[C], cmd C) (domaintest.Outcome, error) {
	p.t.Helper()
	return p.Run(func(ctx context.Context, u *domain.UnitOfWork) error { return use(ctx, u, cmd) })
}

// must executes a use case that isn't refused.
func must[C any](p *plant, use useCase[C], cmd C) domaintest.Outcome {
	p.t.Helper()
	out, err := try(p, use, cmd)
	if err != nil {
		p.t.Fatalf("%T: %v", cmd, err)
	}
	return out
}

// refused executes a use case that is refused with the code and leaves the world as it was.
func refused[C any](p *plant, use useCase[C], cmd C, code domain.Code, pointers ...string) {
	p.t.Helper()
	before := p.Dump()
	_, err := try(p, use, cmd)
	domaintest.Refused(p.t, err, code, pointers...)
	if diff := cmp.Diff(before, p.Dump()); diff != "" {
		p.t.Errorf("a refused %T changed something:\n%s", cmd, diff)
	}
}

// refusedAt is refused with a precondition on the target's version.
func refusedAt[C any](p *plant, version int64, use useCase[C], cmd C, code domain.Code) {
	p.t.Helper()
	match := &domain.Precondition{Versions: []int64{version}}
	_, err := p.RunMatching(match, func(ctx context.Context, u *domain.UnitOfWork) error { return use(ctx, u, cmd) })
	domaintest.Refused(p.t, err, code)
}

// create makes a work order of a workflow.
func (p *plant) create(number string, workflow workorder.Workflow) domain.ID {
	p.t.Helper()
	cmd := anOrder(number)
	cmd.Workflow = ptr(string(workflow))
	return must(p, manufacturing.CreateWorkOrder, cmd).ID
}

// move takes a work order through states.
func (p *plant) move(id domain.ID, to ...workorder.Status) {
	p.t.Helper()
	for _, status := range to {
		must(p, manufacturing.TransitionWorkOrder, transition(id, status))
	}
}

func (p *plant) produce(id domain.ID, units int64) domain.ID {
	p.t.Helper()
	return must(p, manufacturing.RecordProduction, anEntry(id, units)).ID
}

func (p *plant) hold(id domain.ID, quantity int64) domain.ID {
	p.t.Helper()
	return must(p, manufacturing.CreateHold, aHold(id, quantity)).ID
}

func (p *plant) order(id domain.ID) workorder.State {
	p.t.Helper()
	state, _ := domaintest.Read(p.World, workorder.Aggregate, id)
	return state
}

func (p *plant) holdState(id domain.ID) hold.State {
	p.t.Helper()
	state, _ := domaintest.Read(p.World, hold.Aggregate, id)
	return state
}

// is fails the test unless the work order is in the state.
func (p *plant) is(id domain.ID, status workorder.Status) {
	p.t.Helper()
	if got := p.order(id).Status; got != status {
		p.t.Errorf("the work order is %s, want %s", got, status)
	}
}

func anOrder(number string) manufacturing.CreateWorkOrderCommand {
	return manufacturing.CreateWorkOrderCommand{
		Number: number, ProductCode: "P-7", QuantityOrdered: ptr(int64(500)),
		ReceivedOn: "2026-01-05", DueOn: "2026-01-30",
	}
}

func transition(id domain.ID, to workorder.Status) manufacturing.TransitionWorkOrderCommand {
	return manufacturing.TransitionWorkOrderCommand{WorkOrderID: id, To: string(to)}
}

func anEntry(id domain.ID, units int64) manufacturing.RecordProductionCommand {
	return manufacturing.RecordProductionCommand{
		WorkOrderID: id.String(), Line: "L1", Shift: "A", ProductionDate: "2026-01-06", UnitsProduced: &units,
		RunTimeHours: "8.5", ScheduledHours: "8.50", EmployeesAssigned: ptr(int64(5)),
	}
}

func anInspection(id domain.ID, passed, defective int64) manufacturing.RecordInspectionCommand {
	inspected := passed + defective
	return manufacturing.RecordInspectionCommand{
		WorkOrderID: id.String(), Stage: "final", UnitsInspected: &inspected, UnitsPassed: &passed,
		UnitsDefective: &defective,
	}
}

func aHold(id domain.ID, quantity int64) manufacturing.CreateHoldCommand {
	return manufacturing.CreateHoldCommand{
		WorkOrderID: id.String(), Category: "material", Reason: "awaiting resin", Quantity: &quantity,
	}
}

func ptr[T any](v T) *T { return &v }

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// stated fails the test unless the command stated exactly these events, in this order.
func stated(t *testing.T, out domaintest.Outcome, want ...domain.Event) {
	t.Helper()
	if diff := cmp.Diff(want, out.Events); diff != "" && len(want)+len(out.Events) > 0 {
		t.Errorf("other events (-want +got):\n%s", diff)
	}
}

// nobody is an id that names nothing.
var nobody = domain.MustParseID("0190a000-0000-7000-8000-ffffffffffff")
