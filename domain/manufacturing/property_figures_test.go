package manufacturing_test

import (
	"fmt"
	"math/big"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/kpi"
)

// The part of the model that the key figures count: plain lists, and the formulas written down again over them.

type modelEntry struct {
	order                           domain.ID
	line, shift, day                string
	units, defects, scrap, staff    int64
	run, scheduled, downtime, cycle int64 // tenths of an hour
	estimated                       bool
}

type modelInspection struct {
	order                                            domain.ID
	day, stage                                       string
	inspected, passed, defective, defects, perUnit10 int64
}

type modelDelivery struct {
	order    domain.ID
	day, due string
}

func tenths(n int64) *string {
	s := decimal.New(n, -1).String()
	return &s
}

func (m *model) recordProduction() {
	id := pick(m, "order", m.orders)
	e := &modelEntry{
		order: id, line: rapid.SampledFrom([]string{"L1", "L2"}).Draw(m.rapid, "line"),
		shift: rapid.SampledFrom([]string{"A", "B"}).Draw(m.rapid, "shift"), day: m.day("day"),
		units: m.number("units", 0, 30), defects: m.number("defects", 0, 5), scrap: m.number("scrap", 0, 5),
		staff: m.number("staff", 0, 3), run: m.number("run", 0, 90), scheduled: m.number("scheduled", 0, 90),
		downtime: m.number("downtime", 0, 20), cycle: m.number("cycle", 0, 4),
	}
	cmd := manufacturing.RecordProductionCommand{
		WorkOrderID: id.String(), Line: e.line, Shift: e.shift, ProductionDate: e.day, UnitsProduced: &e.units,
		DefectCount: e.defects, ScrapCount: e.scrap, EmployeesAssigned: &e.staff, RunTimeHours: *tenths(e.run),
		ScheduledHours: *tenths(e.scheduled), DowntimeHours: tenths(e.downtime), IdealCycleTimeHours: tenths(e.cycle),
	}
	if e.cycle == 0 {
		cmd.IdealCycleTimeHours, e.estimated = nil, true
	}
	o := m.orders[id]
	var code domain.Code
	switch {
	case o == nil:
		code = domain.CodeNotFound
	case o.workflow == "minimal" && o.status != "received", o.workflow != "minimal" && o.status != "in_progress":
		code = domain.CodeInvalidTransition
	}
	if out, done := expect(m, manufacturing.RecordProduction, cmd, code); done {
		m.entries[out.ID] = e
	}
}

func (m *model) correct() {
	id := pick(m, "entry", m.entries)
	cmd := manufacturing.CorrectProductionCommand{EntryID: id, Reason: "recount"}
	e := m.entries[id]
	if e == nil {
		cmd.Line = ptr("L1")
		expect(m, manufacturing.CorrectProduction, cmd, domain.CodeNotFound)
		return
	}
	after := *e
	switch m.number("field", 0, 4) {
	case 0:
		after.units, after.defects = m.number("units", 0, 30), m.number("defects", 0, 5)
		cmd.UnitsProduced, cmd.DefectCount = &after.units, &after.defects
	case 1:
		after.day, after.line = m.day("day"), "L3"
		cmd.ProductionDate, cmd.Line = &after.day, &after.line
	case 2:
		after.cycle, after.estimated = m.number("cycle", 1, 4), false
		cmd.IdealCycleTimeHours = tenths(after.cycle)
	case 3:
		after.scrap, after.shift = m.number("scrap", 0, 5), "C"
		cmd.ScrapCount, cmd.Shift = &after.scrap, &after.shift
	default:
		after.run, after.scheduled, after.downtime = m.number("run", 0, 9), m.number("scheduled", 0, 9), m.number("down", 0, 9)
		after.staff = m.number("staff", 0, 3)
		cmd.RunTimeHours, cmd.ScheduledHours = tenths(after.run), tenths(after.scheduled)
		cmd.DowntimeHours, cmd.EmployeesAssigned = tenths(after.downtime), &after.staff
	}
	out, _ := expect(m, manufacturing.CorrectProduction, cmd, "")
	if changed := after != *e; changed != (len(out.Events) > 0) {
		m.t.Fatalf("a correction of %+v to %+v stated %v", *e, after, out.Events)
	}
	*e = after
}

func (m *model) inspect() {
	id := pick(m, "order", m.orders)
	i := modelInspection{
		order: id, day: m.day("day"), passed: m.number("passed", 0, 20), defective: m.number("defective", 0, 5),
		stage:   rapid.SampledFrom([]string{"incoming", "in_process", "final"}).Draw(m.rapid, "stage"),
		defects: m.number("defects", 0, 20), perUnit10: m.number("opportunities", 1, 2),
	}
	i.inspected = i.passed + i.defective
	cmd := anInspection(id, i.passed, i.defective)
	cmd.Stage, cmd.InspectedOn, cmd.DefectCount = i.stage, &i.day, i.defects
	if i.perUnit10 != 1 { // 10 is what an inspection has without opportunities
		cmd.OpportunitiesPerUnit = ptr(10 * i.perUnit10)
	}
	var code domain.Code
	if m.orders[id] == nil {
		code = domain.CodeNotFound
	}
	if _, done := expect(m, manufacturing.RecordInspection, cmd, code); done {
		m.inspections = append(m.inspections, i)
	}
}

// checkFigures compares, for every grouping, the figures of the summed contributions with those of the lists.
func (m *model) checkFigures() {
	m.t.Helper()
	for _, by := range kpi.GroupBys() {
		groups := make(map[string]kpi.Sums)
		for cell, sums := range m.cells {
			if key, ok := by.Key(cell); ok {
				groups[key] = groups[key].Plus(sums)
			}
		}
		got := make(map[string]kpi.Figures)
		for key, sums := range groups {
			if !sums.Empty() {
				got[key] = kpi.Compute(sums, by.Complete())
			}
		}
		if diff := cmp.Diff(m.naive(string(by)), got); diff != "" {
			m.t.Fatalf("figures by %s (-want +got):\n%s", by, diff)
		}
	}
}

// naive computes every group of a grouping from the lists.
func (m *model) naive(by string) map[string]kpi.Figures {
	figures := make(map[string]kpi.Figures)
	lists := make(map[string]*listsOf)
	group := func(order domain.ID, day, line, shift string) *listsOf {
		key := naiveKey(by, order, day, line, shift)
		if lists[key] == nil {
			lists[key] = &listsOf{}
		}
		return lists[key]
	}
	for _, e := range m.entries {
		g := group(e.order, e.day, e.line, e.shift)
		g.entries = append(g.entries, e)
	}
	if by != "line" && by != "shift" {
		for _, i := range m.inspections {
			g := group(i.order, i.day, "", "")
			g.inspections = append(g.inspections, i)
		}
		for _, d := range m.deliveries {
			g := group(d.order, d.day, "", "")
			g.deliveries = append(g.deliveries, d)
		}
	}
	for key, g := range lists {
		figures[key] = g.figures(by != "line" && by != "shift")
	}
	return figures
}

func naiveKey(by string, order domain.ID, day, line, shift string) string {
	switch by {
	case "day":
		return day
	case "week":
		date, err := time.Parse(time.DateOnly, day)
		if err != nil {
			panic(err)
		}
		year, week := date.ISOWeek()
		return fmt.Sprintf("%d-W%02d", year, week)
	case "line":
		return line
	case "shift":
		return shift
	case "work_order":
		return order.String()
	default:
		return "total"
	}
}

type listsOf struct {
	entries     []*modelEntry
	inspections []modelInspection
	deliveries  []modelDelivery
}

// cycle is in hundredths of an hour, because the default is.
func (e modelEntry) hundredths() int64 {
	if e.estimated {
		return 25
	}
	return 10 * e.cycle
}

func (l *listsOf) figures(complete bool) kpi.Figures {
	var f kpi.Figures
	var earned, staff, run, scheduled, up, units, good int64 // hours in hundredths
	for _, e := range l.entries {
		earned += e.units * e.hundredths()
		staff += 10 * e.staff * e.scheduled
		run += 10 * e.run
		scheduled += 10 * e.scheduled
		up += 10 * (e.scheduled - e.downtime)
		units += e.units
		good += e.units - e.defects - e.scrap
		f.Estimated = f.Estimated || e.estimated
	}
	efficiency, performance := least(quotient(earned, staff), 150), least(quotient(earned, run), 150)
	availability, quality := quotient(up, scheduled), quotient(good, units)
	if quality.Sign() < 0 {
		quality = new(big.Rat)
	}
	oee := new(big.Rat).Mul(new(big.Rat).Mul(availability, performance), quality)
	f.Efficiency, f.Performance = rounded(efficiency), rounded(performance)
	f.Availability, f.QualityRate = rounded(availability), rounded(quality)
	f.OEE = rounded(oee.Quo(oee, big.NewRat(10000, 1)))
	if complete {
		l.inspectionFigures(&f)
	}
	return f
}

func (l *listsOf) inspectionFigures(f *kpi.Figures) {
	var inspected, passed, defective, defects, opportunities, onTime int64
	stageInspected, stagePassed := map[string]int64{}, map[string]int64{}
	for _, i := range l.inspections {
		inspected += i.inspected
		passed += i.passed
		defective += i.defective
		defects += i.defects
		opportunities += i.inspected * 10 * i.perUnit10
		stageInspected[i.stage] += i.inspected
		stagePassed[i.stage] += i.passed
	}
	for _, d := range l.deliveries {
		if d.day <= d.due {
			onTime++
		}
	}
	rty, stages := big.NewRat(100, 1), 0
	stage := func(name string) string {
		fpy := quotient(stagePassed[name], stageInspected[name])
		if stageInspected[name] > 0 {
			rty.Mul(rty, fpy).Quo(rty, big.NewRat(100, 1))
			stages++
		}
		return rounded(fpy)
	}
	f.FPYByStage = &kpi.StageFPY{Incoming: stage("incoming"), InProcess: stage("in_process"), Final: stage("final")}
	if stages == 0 {
		rty = new(big.Rat)
	}
	f.PPM = ptr(rounded(quotient(10_000*defective, inspected)))
	f.DPMO = ptr(rounded(quotient(10_000*defects, opportunities)))
	f.FPY, f.RTY = ptr(rounded(quotient(passed, inspected))), ptr(rounded(rty))
	f.OTD = ptr(rounded(quotient(onTime, int64(len(l.deliveries)))))
}

// quotient is in percent.
func quotient(a, b int64) *big.Rat {
	if b == 0 {
		return new(big.Rat)
	}
	return big.NewRat(100*a, b)
}

func least(q *big.Rat, limit int64) *big.Rat {
	if top := big.NewRat(limit, 1); q.Cmp(top) > 0 {
		return top
	}
	return q
}

// rounded rounds half away from zero by adding half a hundredth and cutting off.
func rounded(q *big.Rat) string {
	scaled := new(big.Rat).Mul(new(big.Rat).Abs(q), big.NewRat(100, 1))
	scaled.Add(scaled, big.NewRat(1, 2))
	cut := new(big.Int).Quo(scaled.Num(), scaled.Denom())
	if q.Sign() < 0 {
		cut.Neg(cut)
	}
	return decimal.NewFromBigInt(cut, -2).StringFixed(2)
}
