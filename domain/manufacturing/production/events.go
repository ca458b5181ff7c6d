// Package production is the production entry aggregate: what a line made in a shift for a work order. An entry is
// corrected by further events, never edited or deleted.
package production

import (
	"github.com/shopspring/decimal"

	"annals/domain"
)

// Event is a fact about a production entry.
type Event interface {
	domain.Event
	productionEvent()
}

// Entry holds the values of a production entry: counts of pieces and of people from 0 to domain.MaxCount, hours from 0 to
// 1,000,000 with at most four fraction digits. Defects and scrap may exceed the pieces produced.
type Entry struct {
	WorkOrderID       domain.ID       `json:"work_order_id"`
	Line              string          `json:"line"`
	Shift             string          `json:"shift"`
	ProductionDate    domain.Date     `json:"production_date"`
	UnitsProduced     int64           `json:"units_produced"`
	DefectCount       int64           `json:"defect_count"`
	ScrapCount        int64           `json:"scrap_count"`
	ReworkCount       int64           `json:"rework_count"`
	RunTimeHours      decimal.Decimal `json:"run_time_hours"`
	ScheduledHours    decimal.Decimal `json:"scheduled_hours"`
	DowntimeHours     decimal.Decimal `json:"downtime_hours"`
	EmployeesAssigned int64           `json:"employees_assigned"`
	// IdealCycleTimeHours, per piece, was resolved when the entry was recorded. Estimated: neither the entry nor the work
	// order gave one, so it is DefaultCycleTime.
	IdealCycleTimeHours decimal.Decimal `json:"ideal_cycle_time_hours"`
	Estimated           bool            `json:"estimated"`
}

// Created: the entry is recorded.
type Created Entry

// Corrected: some values are others. Entry repeats all values after the correction, so that whoever reads this event
// alone knows the entry before (see Before) and after it.
type Corrected struct {
	Reason  string  `json:"reason"`
	Changes Changes `json:"changes"`
	Entry   Entry   `json:"entry"`
}

// Changes holds each value that a correction changed.
type Changes struct {
	Line                *Change[string]          `json:"line,omitempty"`
	Shift               *Change[string]          `json:"shift,omitempty"`
	ProductionDate      *Change[domain.Date]     `json:"production_date,omitempty"`
	UnitsProduced       *Change[int64]           `json:"units_produced,omitempty"`
	DefectCount         *Change[int64]           `json:"defect_count,omitempty"`
	ScrapCount          *Change[int64]           `json:"scrap_count,omitempty"`
	ReworkCount         *Change[int64]           `json:"rework_count,omitempty"`
	RunTimeHours        *Change[decimal.Decimal] `json:"run_time_hours,omitempty"`
	ScheduledHours      *Change[decimal.Decimal] `json:"scheduled_hours,omitempty"`
	DowntimeHours       *Change[decimal.Decimal] `json:"downtime_hours,omitempty"`
	EmployeesAssigned   *Change[int64]           `json:"employees_assigned,omitempty"`
	IdealCycleTimeHours *Change[decimal.Decimal] `json:"ideal_cycle_time_hours,omitempty"`
	Estimated           *Change[bool]            `json:"estimated,omitempty"`
}

// Change is a value before and after; the two differ.
type Change[T any] struct {
	Old T `json:"old"`
	New T `json:"new"`
}

// Before gives the entry as it was before the correction.
func (e Corrected) Before() Entry {
	before, c := e.Entry, e.Changes
	undo(&before.Line, c.Line)
	undo(&before.Shift, c.Shift)
	undo(&before.ProductionDate, c.ProductionDate)
	undo(&before.UnitsProduced, c.UnitsProduced)
	undo(&before.DefectCount, c.DefectCount)
	undo(&before.ScrapCount, c.ScrapCount)
	undo(&before.ReworkCount, c.ReworkCount)
	undo(&before.RunTimeHours, c.RunTimeHours)
	undo(&before.ScheduledHours, c.ScheduledHours)
	undo(&before.DowntimeHours, c.DowntimeHours)
	undo(&before.EmployeesAssigned, c.EmployeesAssigned)
	undo(&before.IdealCycleTimeHours, c.IdealCycleTimeHours)
	undo(&before.Estimated, c.Estimated)
	return before
}

func undo[T any](value *T, change *Change[T]) {
	if change != nil {
		*value = change.Old
	}
}

// EventType implements domain.Event.
func (Created) EventType() string { return "production_entry.created" }

// EventType implements domain.Event.
func (Corrected) EventType() string { return "production_entry.corrected" }

func (Created) productionEvent()   {}
func (Corrected) productionEvent() {}

// Definition registers the aggregate and its events.
func Definition() domain.Definition {
	return domain.Definition{
		Aggregate: Aggregate,
		Events: []domain.EventDefinition{
			domain.DefineEvent[Created](),
			domain.DefineEvent[Corrected](),
		},
	}
}
