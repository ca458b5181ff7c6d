package kpi

import (
	"fmt"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Sums is what the figures of a group are computed from: exact sums over everything that counts in it. Products are taken
// per entry or inspection before they are summed.
type Sums struct {
	Entries        int64           `json:"entries"`
	Estimated      int64           `json:"estimated"` // entries whose cycle time was estimated
	UnitsProduced  int64           `json:"units_produced"`
	Defects        int64           `json:"defects"`
	Scrap          int64           `json:"scrap"`
	EarnedHours    decimal.Decimal `json:"earned_hours"` // Σ units × ideal cycle time
	StaffHours     decimal.Decimal `json:"staff_hours"`  // Σ employees × scheduled hours
	RunHours       decimal.Decimal `json:"run_hours"`
	ScheduledHours decimal.Decimal `json:"scheduled_hours"`
	DowntimeHours  decimal.Decimal `json:"downtime_hours"`

	Inspections   int64           `json:"inspections"`
	Incoming      StageSums       `json:"incoming"`
	InProcess     StageSums       `json:"in_process"`
	Final         StageSums       `json:"final"`
	DefectsFound  int64           `json:"defects_found"`
	Opportunities decimal.Decimal `json:"opportunities"` // Σ units inspected × opportunities per unit

	Shipped       int64 `json:"shipped"` // work orders
	ShippedOnTime int64 `json:"shipped_on_time"`
}

// StageSums counts the units of the inspections of one stage.
type StageSums struct {
	Inspected int64 `json:"inspected"`
	Passed    int64 `json:"passed"`
	Defective int64 `json:"defective"`
}

// Plus adds sums.
func (s Sums) Plus(o Sums) Sums { return s.combine(o, 1) }

// Minus takes sums away, such as those of an entry before its correction.
func (s Sums) Minus(o Sums) Sums { return s.combine(o, -1) }

// Empty reports whether nothing counts in the group: it doesn't exist then.
func (s Sums) Empty() bool { return s.Entries == 0 && s.Inspections == 0 && s.Shipped == 0 }

func (s Sums) combine(o Sums, sign int64) Sums {
	factor := decimal.NewFromInt(sign)
	s.Entries += sign * o.Entries
	s.Estimated += sign * o.Estimated
	s.UnitsProduced += sign * o.UnitsProduced
	s.Defects += sign * o.Defects
	s.Scrap += sign * o.Scrap
	s.EarnedHours = s.EarnedHours.Add(o.EarnedHours.Mul(factor))
	s.StaffHours = s.StaffHours.Add(o.StaffHours.Mul(factor))
	s.RunHours = s.RunHours.Add(o.RunHours.Mul(factor))
	s.ScheduledHours = s.ScheduledHours.Add(o.ScheduledHours.Mul(factor))
	s.DowntimeHours = s.DowntimeHours.Add(o.DowntimeHours.Mul(factor))
	s.Inspections += sign * o.Inspections
	s.Incoming = s.Incoming.combine(o.Incoming, sign)
	s.InProcess = s.InProcess.combine(o.InProcess, sign)
	s.Final = s.Final.combine(o.Final, sign)
	s.DefectsFound += sign * o.DefectsFound
	s.Opportunities = s.Opportunities.Add(o.Opportunities.Mul(factor))
	s.Shipped += sign * o.Shipped
	s.ShippedOnTime += sign * o.ShippedOnTime
	return s
}

func (s StageSums) combine(o StageSums, sign int64) StageSums {
	return StageSums{
		Inspected: s.Inspected + sign*o.Inspected,
		Passed:    s.Passed + sign*o.Passed,
		Defective: s.Defective + sign*o.Defective,
	}
}

// allStages gives the units of the inspections of every stage.
func (s Sums) allStages() StageSums {
	return s.Incoming.combine(s.InProcess, 1).combine(s.Final, 1)
}

// Cell is the finest part of a client's production that figures are grouped from. Line and Shift are empty for
// inspections and deliveries.
type Cell struct {
	Day       domain.Date // production date, day of inspection, or UTC day of shipping
	Line      string
	Shift     string
	WorkOrder domain.ID
}

// GroupBy says how cells are grouped.
type GroupBy string

// The groupings.
const (
	ByDay       GroupBy = "day"
	ByWeek      GroupBy = "week" // of ISO 8601
	ByLine      GroupBy = "line"
	ByShift     GroupBy = "shift"
	ByWorkOrder GroupBy = "work_order"
	ByTotal     GroupBy = "total"
)

// GroupBys lists the groupings.
func GroupBys() []GroupBy {
	return []GroupBy{ByDay, ByWeek, ByLine, ByShift, ByWorkOrder, ByTotal}
}

// TotalKey is the key of the one group that holds everything.
const TotalKey = "total"

// Complete reports whether the groups have inspection figures and on-time delivery: lines and shifts have none.
func (g GroupBy) Complete() bool { return g != ByLine && g != ByShift }

// Key gives the key of the cell's group; ok is false when the cell counts in no group, as an inspection does by line.
func (g GroupBy) Key(c Cell) (key string, ok bool) {
	switch g {
	case ByDay:
		return string(c.Day), true
	case ByWeek:
		return WeekKey(c.Day), true
	case ByLine:
		return c.Line, c.Line != ""
	case ByShift:
		return c.Shift, c.Shift != ""
	case ByWorkOrder:
		return c.WorkOrder.String(), true
	default:
		return TotalKey, true
	}
}

// WeekKey gives the ISO week of a day, such as "2026-W02". Its year is that of the week's Thursday.
func WeekKey(day domain.Date) string {
	year, week := day.Time().ISOWeek()
	return fmt.Sprintf("%04d-W%02d", year, week)
}

// Contribution is what one event adds to a cell. A correction takes the entry's old sums away and adds the new ones.
type Contribution struct {
	Cell Cell
	Sums Sums
}
