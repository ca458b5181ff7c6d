package manufacturing

import (
	"context"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/workorder"
)

// RecordInspectionCommand reports what quality control found on a sample of a work order. Without a day it is that of
// the recording, in UTC; without opportunities they are inspection.DefaultOpportunities.
type RecordInspectionCommand struct {
	WorkOrderID          string  `json:"work_order_id"` // as sent: Validate says whether it is a UUID
	Stage                string  `json:"stage"`
	InspectedOn          *string `json:"inspected_on"`
	UnitsInspected       *int64  `json:"units_inspected"`
	UnitsPassed          *int64  `json:"units_passed"`
	UnitsDefective       *int64  `json:"units_defective"`
	UnitsReworked        int64   `json:"units_reworked"`
	UnitsScrapped        int64   `json:"units_scrapped"`
	DefectCount          int64   `json:"defect_count"`
	OpportunitiesPerUnit *int64  `json:"opportunities_per_unit"`
	Inspector            *string `json:"inspector"`
}

// Validate judges the command's values: the units passed and defective are those inspected, and no more are reworked and
// scrapped than are defective.
func (c RecordInspectionCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.read(&v)
	return v.Fields()
}

func (c RecordInspectionCommand) read(v *domain.Validator) inspection.Inspection {
	i := inspection.Inspection{
		WorkOrderID:          v.ID("/work_order_id", c.WorkOrderID),
		Stage:                inspection.Stage(c.Stage),
		OpportunitiesPerUnit: inspection.DefaultOpportunities,
		UnitsReworked:        c.UnitsReworked, UnitsScrapped: c.UnitsScrapped, DefectCount: c.DefectCount,
		Inspector: domain.PersonalPointer(c.Inspector),
	}
	v.OneOf("/stage", c.Stage, names(inspection.Stages())...)
	if c.InspectedOn != nil {
		i.InspectedOn = v.Date("/inspected_on", *c.InspectedOn)
	}
	before := len(v.Fields())
	i.UnitsInspected = v.RequiredCount("/units_inspected", c.UnitsInspected, 0, domain.MaxCount)
	i.UnitsPassed = v.RequiredCount("/units_passed", c.UnitsPassed, 0, domain.MaxCount)
	i.UnitsDefective = v.RequiredCount("/units_defective", c.UnitsDefective, 0, domain.MaxCount)
	v.Count("/units_reworked", c.UnitsReworked, 0, domain.MaxCount)
	v.Count("/units_scrapped", c.UnitsScrapped, 0, domain.MaxCount)
	if len(v.Fields()) == before { // sums of counts that are wrong by themselves say nothing
		if i.UnitsPassed+i.UnitsDefective != i.UnitsInspected {
			v.Fail("/units_inspected", "must be the sum of units_passed and units_defective")
		}
		if i.UnitsReworked+i.UnitsScrapped > i.UnitsDefective {
			v.Fail("/units_defective", "must be at least the sum of units_reworked and units_scrapped")
		}
	}
	v.Count("/defect_count", c.DefectCount, 0, domain.MaxCount)
	if c.OpportunitiesPerUnit != nil {
		i.OpportunitiesPerUnit = *c.OpportunitiesPerUnit
		v.Count("/opportunities_per_unit", i.OpportunitiesPerUnit, 0, domain.MaxCount)
	}
	v.OptionalText("/inspector", c.Inspector, domain.MaxText)
	return i
}

// RecordInspection makes a quality inspection exist, in any state of its work order.
func RecordInspection(ctx context.Context, u *domain.UnitOfWork, cmd RecordInspectionCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	found := cmd.read(new(domain.Validator))
	if found.InspectedOn == "" {
		found.InspectedOn = domain.DateOf(u.Now)
	}
	if _, err := domain.OpenExisting(ctx, u, workorder.Aggregate, found.WorkOrderID); err != nil {
		return err
	}
	i := domain.OpenNew(u, inspection.Aggregate)
	u.Create(i)
	_, err := i.Execute(inspection.Record{Inspection: found})
	return err
}
