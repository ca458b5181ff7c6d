package manufacturing_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
)

// model is the plant as the rules describe it, kept without events: orders with their output and holds, and plain lists
// of what the key figures count.
type model struct {
	*plant
	rapid       *rapid.T
	orders      map[domain.ID]*modelOrder
	holds       map[domain.ID]*modelHold
	entries     map[domain.ID]*modelEntry
	inspections []modelInspection
	deliveries  []modelDelivery
	cells       map[kpi.Cell]kpi.Sums // what the events' contributions add up to
}

type modelOrder struct {
	workflow, status, beforeHold string
	approved                     bool
	due                          string
}

type modelHold struct {
	order    domain.ID
	quantity int64
	open     bool
}

func TestCommandSequences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			plant: newPlant(t), rapid: t, orders: make(map[domain.ID]*modelOrder), holds: make(map[domain.ID]*modelHold),
			entries: make(map[domain.ID]*modelEntry), cells: make(map[kpi.Cell]kpi.Sums),
		}
		m.createOrder()
		m.createOrder()
		t.Repeat(map[string]func(*rapid.T){
			"":             func(*rapid.T) { m.check() },
			"create order": func(*rapid.T) { m.createOrder() },
			"transition":   func(*rapid.T) { m.transition() },
			"go on":        func(*rapid.T) { m.goOn() },
			"approve":      func(*rapid.T) { m.approve() },
			"produce":      func(*rapid.T) { m.recordProduction() },
			"correct":      func(*rapid.T) { m.correct() },
			"inspect":      func(*rapid.T) { m.inspect() },
			"hold":         func(*rapid.T) { m.createHold() },
			"resume":       func(*rapid.T) { m.resume() },
			"wait":         func(*rapid.T) { m.Now = m.Now.Add(time.Duration(m.number("hours", 1, 200)) * time.Hour) },
		})
		m.Replay()
		m.checkFigures()
	})
}

func (m *model) number(label string, low, high int64) int64 {
	return rapid.Int64Range(low, high).Draw(m.rapid, label)
}

func (m *model) day(label string) string {
	return time.Date(2025, 12, 28, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(m.number(label, 0, 9))).Format(time.DateOnly)
}

// pick draws one of the ids, and sometimes one that names nothing.
func pick[V any](m *model, label string, from map[domain.ID]V) domain.ID {
	ids := slices.SortedFunc(maps.Keys(from), func(a, b domain.ID) int { return slices.Compare(a[:], b[:]) })
	return rapid.SampledFrom(append(ids, nobody)).Draw(m.rapid, label)
}

// expect executes a use case, which must be refused with the code, or succeed when the code is empty, and adds up what
// its events contribute.
func expect[C any](m *model, use useCase[C], cmd C, code domain.Code) (domaintest.Outcome, bool) {
	m.t.Helper()
	if code != "" {
		before := m.Dump()
		_, err := m.Run(func(ctx context.Context, u *domain.UnitOfWork) error { return use(ctx, u, cmd) })
		if got := domain.CodeOf(err); got != code {
			m.t.Fatalf("%T: got %v, want %s", cmd, err, code)
		}
		if diff := cmp.Diff(before, m.Dump()); diff != "" {
			m.t.Fatalf("a refused %T changed something:\n%s", cmd, diff)
		}
		return domaintest.Outcome{}, false
	}
	out := must(m.plant, use, cmd)
	for _, e := range out.Events {
		for _, c := range manufacturing.Contributions(out.ID, e) {
			m.cells[c.Cell] = m.cells[c.Cell].Plus(c.Sums)
		}
	}
	return out, true
}

// createOrder stops at three, so that the orders get far.
func (m *model) createOrder() {
	if len(m.orders) == 3 {
		return
	}
	o := &modelOrder{
		workflow: string(rapid.SampledFrom(workorder.Workflows()).Draw(m.rapid, "workflow")), status: "received",
		due: m.day("due"),
	}
	cmd := anOrder("WO " + string(rune('A'+len(m.orders))))
	cmd.Workflow, cmd.DueOn = &o.workflow, o.due
	out, _ := expect(m, manufacturing.CreateWorkOrder, cmd, "")
	m.orders[out.ID] = o
}

// mainLine is each workflow's way to the end.
var mainLine = map[string][]string{
	"standard": {"received", "released", "in_progress", "completed", "shipped", "closed"},
	"with_qc":  {"received", "released", "in_progress", "completed", "shipped", "closed"},
	"express":  {"received", "in_progress", "completed", "closed"},
	"minimal":  {"received", "completed", "closed"},
}

func (m *model) transition() {
	to := rapid.SampledFrom(workorder.Statuses()).Draw(m.rapid, "to")
	m.moveTo(pick(m, "order", m.orders), string(to))
}

// goOn takes the next step of the main line, so that orders get far.
func (m *model) goOn() {
	id := pick(m, "order", m.orders)
	if o := m.orders[id]; o != nil {
		line := mainLine[o.workflow]
		if i := slices.Index(line, o.status); i >= 0 && i+1 < len(line) {
			m.moveTo(id, line[i+1])
		}
	}
}

// possible is the table of transitions, as rules: the main line and the ways off it.
func (o *modelOrder) possible(to string) bool {
	line := mainLine[o.workflow]
	at, next := slices.Index(line, o.status), slices.Index(line, to)
	long := len(line) == 6
	switch to {
	case "on_hold", "received":
		return false
	case "cancelled":
		return slices.Contains([]string{"received", "released", "in_progress", "on_hold", "demoted"}, o.status)
	case "rejected":
		return o.status == "in_progress" || o.status == "completed"
	case "demoted":
		return o.status == "released"
	case "released":
		return long && (o.status == "received" || o.status == "demoted")
	case "closed":
		return o.status == "completed" || o.status == "shipped"
	default:
		return at >= 0 && next == at+1
	}
}

func (m *model) moveTo(id domain.ID, to string) {
	o := m.orders[id]
	var code domain.Code
	switch {
	case o == nil:
		code = domain.CodeNotFound
	case !o.possible(to):
		code = domain.CodeInvalidTransition
	case to == "completed" && o.workflow != "minimal" && m.outputOf(id).UnitsProduced == 0:
		code = domain.CodeOutputRequired
	case !o.approved && (to == "shipped" || to == "completed" && o.workflow == "with_qc"):
		code = domain.CodeQCApprovalRequired
	}
	if _, done := expect(m, manufacturing.TransitionWorkOrder, transition(id, workorder.Status(to)), code); !done {
		return
	}
	o.status = to
	if to == "shipped" {
		m.deliveries = append(m.deliveries, modelDelivery{order: id, day: m.Now.Format(time.DateOnly), due: o.due})
	}
}

func (m *model) approve() {
	id := pick(m, "order", m.orders)
	o := m.orders[id]
	var code domain.Code
	switch {
	case o == nil:
		code = domain.CodeNotFound
	case o.approved:
	case slices.Contains([]string{"shipped", "closed", "cancelled", "rejected"}, o.status):
		code = domain.CodeInvalidTransition
	}
	if _, done := expect(m, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{WorkOrderID: id}, code); done {
		o.approved = true
	}
}

func (m *model) createHold() {
	id := pick(m, "order", m.orders)
	o, quantity := m.orders[id], m.number("quantity", 0, 3)
	var code domain.Code
	switch {
	case o == nil:
		code = domain.CodeNotFound
	case !slices.Contains([]string{"received", "released", "in_progress", "demoted", "on_hold"}, o.status):
		code = domain.CodeInvalidTransition
	}
	out, done := expect(m, manufacturing.CreateHold, aHold(id, quantity), code)
	if !done {
		return
	}
	m.holds[out.ID] = &modelHold{order: id, quantity: quantity, open: true}
	if o.status != "on_hold" {
		o.beforeHold, o.status = o.status, "on_hold"
	}
}

func (m *model) resume() {
	id := pick(m, "hold", m.holds)
	h, released, scrapped := m.holds[id], m.number("released", 0, 2), m.number("scrapped", 0, 2)
	var code domain.Code
	switch {
	case h == nil:
		code = domain.CodeNotFound
	case !h.open:
		code = domain.CodeHoldClosed
	case released+scrapped != h.quantity:
		code = domain.CodeValidation
	}
	if _, done := expect(m, manufacturing.ResumeHold, resume(id, released, scrapped), code); !done {
		return
	}
	h.open = false
	if o := m.orders[h.order]; o.status == "on_hold" && m.openHolds(h.order) == 0 {
		o.status = o.beforeHold
	}
}

func (m *model) openHolds(order domain.ID) int {
	n := 0
	for _, h := range m.holds {
		if h.order == order && h.open {
			n++
		}
	}
	return n
}

func (m *model) outputOf(order domain.ID) (sum workorder.Output) {
	for _, e := range m.entries {
		if e.order == order {
			sum.UnitsProduced += e.units
			sum.Defects += e.defects
			sum.Scrap += e.scrap
		}
	}
	return sum
}

// check compares every aggregate with the model.
func (m *model) check() {
	m.t.Helper()
	for id, o := range m.orders {
		got := m.order(id)
		if string(got.Status) != o.status || got.QCApproved != o.approved || len(got.OpenHolds) != m.openHolds(id) ||
			got.Output != m.outputOf(id) {
			m.t.Fatalf("the work order is %+v, want %+v with %d holds", got, o, m.openHolds(id))
		}
		if o.status == "on_hold" && m.openHolds(id) == 0 {
			m.t.Fatalf("on hold without a hold: %+v", got)
		}
	}
	for id, h := range m.holds {
		got := m.holdState(id)
		if (got.CheckOpen() == nil) != h.open || !h.open && got.QuantityReleased+got.QuantityScrapped != got.Quantity {
			m.t.Fatalf("hold %+v, want %+v", got, h)
		}
	}
	for id, e := range m.entries {
		got, _ := domaintest.Read(m.World, production.Aggregate, id)
		if got.UnitsProduced != e.units || got.Line != e.line || got.Estimated != e.estimated {
			m.t.Fatalf("entry %+v, want %+v", got, e)
		}
	}
}
