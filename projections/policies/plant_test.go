package policies_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/kpialerts"
	"annals/projections/kpis"
	"annals/projections/kpithresholds"
	"annals/projections/policies"
)

// plant is the manufacturing of one test's database.
type plant struct {
	*pgtest.DB
	t        testing.TB
	registry *domain.Registry
	client   string
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	registry, err := domain.NewRegistry(manufacturing.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	return &plant{DB: pgtest.New(t), t: t, registry: registry, client: "acme"}
}

// minimumFPY is the limit of the tests' quality holds.
var minimumFPY = decimal.NewFromInt(90)

// watch runs the read models and the policies of manufacturing on a node. Its commands go through runner.
func (p *plant) watch(n *node, runner eventstore.Runner) *projections.Group {
	p.t.Helper()
	pool, err := eventstore.OpenPreparedDB(p.DSN, eventstore.RoleApp, 8, "projections")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { pool.Close() })
	quiet := slog.New(slog.DiscardHandler)
	g, err := projections.New(projections.Config{
		DB: pool, Registry: p.registry, Waker: n.Sequencer.Signal(), Tail: n.Sequencer.Tail(), ListenDSN: p.DSN, Logger: quiet,
		StandbyPause: 10 * time.Millisecond, ErrorPause: 10 * time.Millisecond, Lease: time.Second,
	}, kpis.New(), kpithresholds.New(), kpialerts.New())
	if err != nil {
		p.t.Fatal(err)
	}
	holds, err := policies.NewQualityHolds(runner, minimumFPY, quiet)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := g.AddPolicies(watchOf(n, runner, g), policies.NewCloseOnShip(runner, quiet), holds); err != nil {
		p.t.Fatal(err)
	}
	if err := projections.EnsureSchemas(context.Background(), p.DB.DB, g.Specs()...); err != nil {
		p.t.Fatal(err)
	}
	return g
}

func watchOf(n *node, runner eventstore.Runner, g *projections.Group) *policies.KPIWatch {
	return policies.NewKPIWatch(policies.KPIWatchConfig{
		Figures: kpis.NewQueries(n.Tenants), Thresholds: kpithresholds.NewQueries(n.Tenants), Commands: runner,
		WaitFor: g.WaitFor, Logger: slog.New(slog.DiscardHandler),
	})
}

// command executes a use case for the plant's client.
func command[C any](
	p *plant, n *node, use func(context.Context, *domain.UnitOfWork, C) error, cmd C,
) eventstore.CommandResult {
	p.t.Helper()
	result, err := n.Runner.Run(context.Background(), eventstore.Command{Client: p.client, Actor: "tester", RequestID: "r"},
		func(ctx context.Context, u *domain.UnitOfWork) error { return use(ctx, u, cmd) })
	if err != nil {
		p.t.Fatalf("%T: %v", cmd, err)
	}
	return result
}

func ptr[T any](v T) *T { return &v }

// order creates a work order and takes it through states.
func (p *plant) order(n *node, number string, closeOnShip bool, to ...string) domain.ID {
	p.t.Helper()
	id := command(p, n, manufacturing.CreateWorkOrder, manufacturing.CreateWorkOrderCommand{
		Number: number, ProductCode: "P-7", QuantityOrdered: ptr(int64(5)), ReceivedOn: "2026-01-05", DueOn: "2026-01-30",
		CloseOnShip: closeOnShip,
	}).ID
	for _, status := range to {
		p.move(n, id, status)
	}
	return id
}

func (p *plant) move(n *node, id domain.ID, to string) int64 {
	p.t.Helper()
	return command(p, n, manufacturing.TransitionWorkOrder, manufacturing.TransitionWorkOrderCommand{WorkOrderID: id, To: to}).Position
}

// produce records an entry of 100 units and gives its id and position.
func (p *plant) produce(n *node, order domain.ID, line, day string, defects int64) (domain.ID, int64) {
	p.t.Helper()
	result := command(p, n, manufacturing.RecordProduction, manufacturing.RecordProductionCommand{
		WorkOrderID: order.String(), Line: line, Shift: "A", ProductionDate: day, UnitsProduced: ptr(int64(100)),
		DefectCount: defects, RunTimeHours: "8", ScheduledHours: "8", EmployeesAssigned: ptr(int64(5)),
	})
	return result.ID, result.Position
}

func (p *plant) correct(n *node, entry domain.ID, defects int64) int64 {
	p.t.Helper()
	return command(p, n, manufacturing.CorrectProduction, manufacturing.CorrectProductionCommand{
		EntryID: entry, DefectCount: &defects, Reason: "recount",
	}).Position
}

func (p *plant) inspect(n *node, order domain.ID, stage string, passed, defective int64) eventstore.CommandResult {
	p.t.Helper()
	return command(p, n, manufacturing.RecordInspection, manufacturing.RecordInspectionCommand{
		WorkOrderID: order.String(), Stage: stage, UnitsInspected: ptr(passed + defective), UnitsPassed: &passed,
		UnitsDefective: &defective,
	})
}

// ship takes an order that is in progress to the end of the line.
func (p *plant) ship(n *node, order domain.ID) int64 {
	p.t.Helper()
	p.produce(n, order, "L1", "2026-01-06", 0)
	p.move(n, order, "completed")
	command(p, n, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{WorkOrderID: order})
	return p.move(n, order, "shipped")
}

// atLeast sets a threshold below which a figure mustn't fall.
func (p *plant) atLeast(n *node, kpi, limit, period string, line *string) int64 {
	p.t.Helper()
	return command(p, n, manufacturing.SetThreshold, manufacturing.SetThresholdCommand{
		KPI: kpi, Direction: "min", Limit: limit, Period: period, Line: line,
	}).Position
}

// handled waits until a policy has handled a position.
func (p *plant) handled(g *projections.Group, policy string, position int64) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := g.WaitFor(ctx, policy, position); err != nil {
		p.t.Fatal(err)
	}
}

// stated counts the events of a type.
func (p *plant) stated(eventType string) int {
	p.t.Helper()
	return count(p.t, p.DB.DB, `SELECT count(*) FROM annals.events WHERE event_type = $1`, eventType)
}

// alerts expects so many violations and recoveries.
func (p *plant) alerts(what string, violated, recovered int) {
	p.t.Helper()
	if v, r := p.stated("kpi.threshold_violated"), p.stated("kpi.threshold_recovered"); v != violated || r != recovered {
		p.t.Errorf("%s: %d violations and %d recoveries, want %d and %d", what, v, r, violated, recovered)
	}
}
