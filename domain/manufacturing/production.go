package manufacturing

import (
	"context"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
)

// RecordProductionCommand reports what a line made in a shift for a work order.
type RecordProductionCommand struct {
	WorkOrderID         string  `json:"work_order_id"` // as sent: Validate says whether it is a UUID
	Line                string  `json:"line"`
	Shift               string  `json:"shift"`
	ProductionDate      string  `json:"production_date"`
	UnitsProduced       *int64  `json:"units_produced"`
	DefectCount         int64   `json:"defect_count"`
	ScrapCount          int64   `json:"scrap_count"`
	ReworkCount         int64   `json:"rework_count"`
	RunTimeHours        string  `json:"run_time_hours"`
	ScheduledHours      string  `json:"scheduled_hours"`
	DowntimeHours       *string `json:"downtime_hours"`
	EmployeesAssigned   *int64  `json:"employees_assigned"`
	IdealCycleTimeHours *string `json:"ideal_cycle_time_hours"`
}

// Validate judges the command's values.
func (c RecordProductionCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.read(&v)
	return v.Fields()
}

func (c RecordProductionCommand) read(v *domain.Validator) production.Record {
	workOrderID := v.ID("/work_order_id", c.WorkOrderID)
	v.Text("/line", c.Line, domain.MaxCode)
	v.Text("/shift", c.Shift, domain.MaxCode)
	date := v.Date("/production_date", c.ProductionDate)
	units := v.RequiredCount("/units_produced", c.UnitsProduced, 0, domain.MaxCount)
	v.Count("/defect_count", c.DefectCount, 0, domain.MaxCount)
	v.Count("/scrap_count", c.ScrapCount, 0, domain.MaxCount)
	v.Count("/rework_count", c.ReworkCount, 0, domain.MaxCount)
	entry := production.Entry{
		WorkOrderID: workOrderID, Line: c.Line, Shift: c.Shift, ProductionDate: date,
		UnitsProduced: units, DefectCount: c.DefectCount, ScrapCount: c.ScrapCount, ReworkCount: c.ReworkCount,
		RunTimeHours:   v.Hours("/run_time_hours", c.RunTimeHours),
		ScheduledHours: v.Hours("/scheduled_hours", c.ScheduledHours),
	}
	if downtime := optionalHours(v, "/downtime_hours", c.DowntimeHours); downtime != nil {
		entry.DowntimeHours = *downtime
	}
	entry.EmployeesAssigned = v.RequiredCount("/employees_assigned", c.EmployeesAssigned, 0, domain.MaxCount)
	return production.Record{
		Entry: entry, CycleTime: optionalHours(v, "/ideal_cycle_time_hours", c.IdealCycleTimeHours),
	}
}

// RecordProduction makes a production entry exist and adds its output to the work order. It refuses with
// invalid-transition unless the order is in the state in which its workflow records output.
func RecordProduction(ctx context.Context, u *domain.UnitOfWork, cmd RecordProductionCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	record := cmd.read(new(domain.Validator))
	entry := domain.OpenNew(u, production.Aggregate)
	u.Create(entry)
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, record.Entry.WorkOrderID)
	if err != nil {
		return err
	}
	output := workorder.RecordOutput{EntryID: entry.ID(), Output: outputOf(record.Entry)}
	if _, err := o.Execute(output); err != nil {
		return err
	}
	record.WorkOrderCycleTime = o.State().IdealCycleTimeHours
	_, err = entry.Execute(record)
	return err
}

// CorrectProductionCommand asks for other values of a production entry. Nil leaves a value as it is.
type CorrectProductionCommand struct {
	EntryID             domain.ID `json:"-"`
	Line                *string   `json:"line"`
	Shift               *string   `json:"shift"`
	ProductionDate      *string   `json:"production_date"`
	UnitsProduced       *int64    `json:"units_produced"`
	DefectCount         *int64    `json:"defect_count"`
	ScrapCount          *int64    `json:"scrap_count"`
	ReworkCount         *int64    `json:"rework_count"`
	RunTimeHours        *string   `json:"run_time_hours"`
	ScheduledHours      *string   `json:"scheduled_hours"`
	DowntimeHours       *string   `json:"downtime_hours"`
	EmployeesAssigned   *int64    `json:"employees_assigned"`
	IdealCycleTimeHours *string   `json:"ideal_cycle_time_hours"`
	Reason              string    `json:"reason"`
}

// Validate judges the command's values: a reason and at least one value must be given.
func (c CorrectProductionCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.read(&v)
	return v.Fields()
}

func (c CorrectProductionCommand) read(v *domain.Validator) production.Correct {
	given := c
	given.EntryID, given.Reason = domain.ID{}, ""
	if given == (CorrectProductionCommand{}) {
		v.Fail("", "one of the entry's values is required beside the reason")
	}
	v.Text("/reason", c.Reason, domain.MaxNote)
	v.OptionalText("/line", c.Line, domain.MaxCode)
	v.OptionalText("/shift", c.Shift, domain.MaxCode)
	correct := production.Correct{
		Line: c.Line, Shift: c.Shift, Reason: c.Reason,
		UnitsProduced: c.UnitsProduced, DefectCount: c.DefectCount, ScrapCount: c.ScrapCount,
		ReworkCount: c.ReworkCount, EmployeesAssigned: c.EmployeesAssigned,
	}
	if c.ProductionDate != nil {
		date := v.Date("/production_date", *c.ProductionDate)
		correct.ProductionDate = &date
	}
	for _, count := range []struct {
		pointer string
		value   *int64
	}{
		{"/units_produced", c.UnitsProduced},
		{"/defect_count", c.DefectCount},
		{"/scrap_count", c.ScrapCount},
		{"/rework_count", c.ReworkCount},
		{"/employees_assigned", c.EmployeesAssigned},
	} {
		if count.value != nil {
			v.Count(count.pointer, *count.value, 0, domain.MaxCount)
		}
	}
	for _, hours := range []struct {
		pointer string
		value   *string
		to      **decimal.Decimal
	}{
		{"/run_time_hours", c.RunTimeHours, &correct.RunTimeHours},
		{"/scheduled_hours", c.ScheduledHours, &correct.ScheduledHours},
		{"/downtime_hours", c.DowntimeHours, &correct.DowntimeHours},
		{"/ideal_cycle_time_hours", c.IdealCycleTimeHours, &correct.IdealCycleTimeHours},
	} {
		*hours.to = optionalHours(v, hours.pointer, hours.value)
	}
	return correct
}

// CorrectProduction gives values of a production entry others, in any state of its work order, and adds the difference in
// output to the order. A correction that changes nothing leaves everything as it is.
func CorrectProduction(ctx context.Context, u *domain.UnitOfWork, cmd CorrectProductionCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	entry, err := domain.OpenExisting(ctx, u, production.Aggregate, cmd.EntryID)
	if err != nil {
		return err
	}
	if err := u.Target(entry); err != nil {
		return err
	}
	before := outputOf(entry.State().Entry)
	if _, err := entry.Execute(cmd.read(new(domain.Validator))); err != nil {
		return err
	}
	after := outputOf(entry.State().Entry)
	if after == before {
		return nil
	}
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, entry.State().WorkOrderID)
	if err != nil {
		return err
	}
	_, err = o.Execute(workorder.CorrectOutput{EntryID: entry.ID(), Difference: workorder.Output{
		UnitsProduced: after.UnitsProduced - before.UnitsProduced,
		Defects:       after.Defects - before.Defects,
		Scrap:         after.Scrap - before.Scrap,
	}})
	return err
}

// outputOf gives what an entry adds to its work order.
func outputOf(e production.Entry) workorder.Output {
	return workorder.Output{UnitsProduced: e.UnitsProduced, Defects: e.DefectCount, Scrap: e.ScrapCount}
}
