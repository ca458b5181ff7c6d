package production

import (
	"fmt"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// State is a production entry as its events leave it.
type State struct {
	Entry
	Recorded bool `json:"recorded"`
}

// DefaultCycleTime is the ideal cycle time of an entry for which nobody gave one: a quarter of an hour per piece.
func DefaultCycleTime() decimal.Decimal { return decimal.New(25, -2) }

// Command is something a production entry can be asked to do.
type Command interface {
	decide(State) ([]Event, error)
}

// Record makes the entry exist. The ideal cycle time is the entry's own, else the work order's, else DefaultCycleTime.
type Record struct {
	Entry              Entry // IdealCycleTimeHours and Estimated are ignored
	CycleTime          *decimal.Decimal
	WorkOrderCycleTime *decimal.Decimal
}

// Correct gives values others; nil leaves a value as it is. A correction that changes nothing states nothing.
type Correct struct {
	Line                *string
	Shift               *string
	ProductionDate      *domain.Date
	UnitsProduced       *int64
	DefectCount         *int64
	ScrapCount          *int64
	ReworkCount         *int64
	RunTimeHours        *decimal.Decimal
	ScheduledHours      *decimal.Decimal
	DowntimeHours       *decimal.Decimal
	EmployeesAssigned   *int64
	IdealCycleTimeHours *decimal.Decimal // ends an estimate, also with the value that was estimated
	Reason              string
}

// Aggregate holds the rules of a production entry.
var Aggregate = &domain.Aggregate[State, Command, Event]{
	Type:         "production_entry",
	StateVersion: 1,
	Initial:      func() State { return State{} },
	Decide:       func(s State, c Command) ([]Event, error) { return c.decide(s) },
	Evolve:       evolve,
}

func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Created:
		return State{Entry: Entry(e), Recorded: true}
	case Corrected:
		s.Entry = e.Entry
	}
	return s
}

func (c Record) decide(s State) ([]Event, error) {
	if s.Recorded {
		return nil, fmt.Errorf("the production entry of work order %s is recorded already", s.WorkOrderID)
	}
	entry := c.Entry
	entry.Estimated = false
	switch {
	case c.CycleTime != nil:
		entry.IdealCycleTimeHours = *c.CycleTime
	case c.WorkOrderCycleTime != nil:
		entry.IdealCycleTimeHours = *c.WorkOrderCycleTime
	default:
		entry.IdealCycleTimeHours, entry.Estimated = DefaultCycleTime(), true
	}
	return []Event{Created(entry)}, nil
}

func (c Correct) decide(s State) ([]Event, error) {
	entry := s.Entry
	changes := Changes{
		Line:                correct(&entry.Line, c.Line),
		Shift:               correct(&entry.Shift, c.Shift),
		ProductionDate:      correct(&entry.ProductionDate, c.ProductionDate),
		UnitsProduced:       correct(&entry.UnitsProduced, c.UnitsProduced),
		DefectCount:         correct(&entry.DefectCount, c.DefectCount),
		ScrapCount:          correct(&entry.ScrapCount, c.ScrapCount),
		ReworkCount:         correct(&entry.ReworkCount, c.ReworkCount),
		RunTimeHours:        correctHours(&entry.RunTimeHours, c.RunTimeHours),
		ScheduledHours:      correctHours(&entry.ScheduledHours, c.ScheduledHours),
		DowntimeHours:       correctHours(&entry.DowntimeHours, c.DowntimeHours),
		EmployeesAssigned:   correct(&entry.EmployeesAssigned, c.EmployeesAssigned),
		IdealCycleTimeHours: correctHours(&entry.IdealCycleTimeHours, c.IdealCycleTimeHours),
	}
	if c.IdealCycleTimeHours != nil {
		known := false
		changes.Estimated = correct(&entry.Estimated, &known)
	}
	if changes == (Changes{}) {
		return nil, nil
	}
	return []Event{Corrected{Reason: c.Reason, Changes: changes, Entry: entry}}, nil
}

// correct sets a value and gives the change, nil when there is none.
func correct[T comparable](value, to *T) *Change[T] {
	if to == nil || *to == *value {
		return nil
	}
	change := &Change[T]{Old: *value, New: *to}
	*value = *to
	return change
}

// correctHours is correct for decimal numbers, which have several forms of one value.
func correctHours(value, to *decimal.Decimal) *Change[decimal.Decimal] {
	if to == nil || to.Equal(*value) {
		return nil
	}
	change := &Change[decimal.Decimal]{Old: *value, New: *to}
	*value = *to
	return change
}
