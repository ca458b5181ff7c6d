package manufacturing

import (
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
)

// Contributions gives what an event adds to the key figures, from the event and its aggregate's id alone: entries count on
// their production date, inspections on their day, deliveries on the UTC day of shipping. A correction takes the entry's
// old values away where they counted and adds the new ones where those do. Other events add nothing.
func Contributions(aggregateID domain.ID, event domain.Event) []kpi.Contribution {
	switch e := event.(type) {
	case production.Created:
		return []kpi.Contribution{ofEntry(production.Entry(e))}
	case production.Corrected:
		before := ofEntry(e.Before())
		before.Sums = kpi.Sums{}.Minus(before.Sums)
		return []kpi.Contribution{before, ofEntry(e.Entry)}
	case inspection.Recorded:
		return []kpi.Contribution{ofInspection(inspection.Inspection(e))}
	case workorder.StatusChanged:
		if e.ToStatus == workorder.StatusShipped {
			return []kpi.Contribution{ofDelivery(aggregateID, e)}
		}
	}
	return nil
}

func ofEntry(e production.Entry) kpi.Contribution {
	sums := kpi.Sums{
		Entries: 1, UnitsProduced: e.UnitsProduced, Defects: e.DefectCount, Scrap: e.ScrapCount,
		EarnedHours: e.IdealCycleTimeHours.Mul(decimal.NewFromInt(e.UnitsProduced)),
		StaffHours:  e.ScheduledHours.Mul(decimal.NewFromInt(e.EmployeesAssigned)),
		RunHours:    e.RunTimeHours, ScheduledHours: e.ScheduledHours, DowntimeHours: e.DowntimeHours,
	}
	if e.Estimated {
		sums.Estimated = 1
	}
	cell := kpi.Cell{Day: e.ProductionDate, Line: e.Line, Shift: e.Shift, WorkOrder: e.WorkOrderID}
	return kpi.Contribution{Cell: cell, Sums: sums}
}

func ofInspection(i inspection.Inspection) kpi.Contribution {
	sums := kpi.Sums{
		Inspections: 1, DefectsFound: i.DefectCount,
		Opportunities: decimal.NewFromInt(i.UnitsInspected).Mul(decimal.NewFromInt(i.OpportunitiesPerUnit)),
	}
	units := kpi.StageSums{Inspected: i.UnitsInspected, Passed: i.UnitsPassed, Defective: i.UnitsDefective}
	switch i.Stage {
	case inspection.StageIncoming:
		sums.Incoming = units
	case inspection.StageInProcess:
		sums.InProcess = units
	case inspection.StageFinal:
		sums.Final = units
	}
	return kpi.Contribution{Cell: kpi.Cell{Day: i.InspectedOn, WorkOrder: i.WorkOrderID}, Sums: sums}
}

func ofDelivery(workOrderID domain.ID, e workorder.StatusChanged) kpi.Contribution {
	day := domain.DateOf(e.ChangedAt)
	sums := kpi.Sums{Shipped: 1}
	if day <= e.DueOn {
		sums.ShippedOnTime = 1
	}
	return kpi.Contribution{Cell: kpi.Cell{Day: day, WorkOrder: workOrderID}, Sums: sums}
}
