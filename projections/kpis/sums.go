package kpis

import (
	"github.com/shopspring/decimal"

	"annals/domain/manufacturing/kpi"
)

// sums is kpi.Sums as columns.
type sums struct {
	Entries            int64           `db:"entries"`
	Estimated          int64           `db:"estimated"`
	UnitsProduced      int64           `db:"units_produced"`
	Defects            int64           `db:"defects"`
	Scrap              int64           `db:"scrap"`
	EarnedHours        decimal.Decimal `db:"earned_hours"`
	StaffHours         decimal.Decimal `db:"staff_hours"`
	RunHours           decimal.Decimal `db:"run_hours"`
	ScheduledHours     decimal.Decimal `db:"scheduled_hours"`
	DowntimeHours      decimal.Decimal `db:"downtime_hours"`
	Inspections        int64           `db:"inspections"`
	IncomingInspected  int64           `db:"incoming_inspected"`
	IncomingPassed     int64           `db:"incoming_passed"`
	IncomingDefective  int64           `db:"incoming_defective"`
	InProcessInspected int64           `db:"in_process_inspected"`
	InProcessPassed    int64           `db:"in_process_passed"`
	InProcessDefective int64           `db:"in_process_defective"`
	FinalInspected     int64           `db:"final_inspected"`
	FinalPassed        int64           `db:"final_passed"`
	FinalDefective     int64           `db:"final_defective"`
	DefectsFound       int64           `db:"defects_found"`
	Opportunities      decimal.Decimal `db:"opportunities"`
	Shipped            int64           `db:"shipped"`
	ShippedOnTime      int64           `db:"shipped_on_time"`
}

// summed is the SELECT list that sums the columns of sums over rows; without rows they are zero. Sums of counts stay
// within a bigint: each count is at most 10⁹.
const summed = `
	coalesce(sum(entries), 0)::bigint AS entries,
	coalesce(sum(estimated), 0)::bigint AS estimated,
	coalesce(sum(units_produced), 0)::bigint AS units_produced,
	coalesce(sum(defects), 0)::bigint AS defects,
	coalesce(sum(scrap), 0)::bigint AS scrap,
	coalesce(sum(earned_hours), 0) AS earned_hours,
	coalesce(sum(staff_hours), 0) AS staff_hours,
	coalesce(sum(run_hours), 0) AS run_hours,
	coalesce(sum(scheduled_hours), 0) AS scheduled_hours,
	coalesce(sum(downtime_hours), 0) AS downtime_hours,
	coalesce(sum(inspections), 0)::bigint AS inspections,
	coalesce(sum(incoming_inspected), 0)::bigint AS incoming_inspected,
	coalesce(sum(incoming_passed), 0)::bigint AS incoming_passed,
	coalesce(sum(incoming_defective), 0)::bigint AS incoming_defective,
	coalesce(sum(in_process_inspected), 0)::bigint AS in_process_inspected,
	coalesce(sum(in_process_passed), 0)::bigint AS in_process_passed,
	coalesce(sum(in_process_defective), 0)::bigint AS in_process_defective,
	coalesce(sum(final_inspected), 0)::bigint AS final_inspected,
	coalesce(sum(final_passed), 0)::bigint AS final_passed,
	coalesce(sum(final_defective), 0)::bigint AS final_defective,
	coalesce(sum(defects_found), 0)::bigint AS defects_found,
	coalesce(sum(opportunities), 0) AS opportunities,
	coalesce(sum(shipped), 0)::bigint AS shipped,
	coalesce(sum(shipped_on_time), 0)::bigint AS shipped_on_time`

func (s sums) toKPI() kpi.Sums {
	return kpi.Sums{
		Entries: s.Entries, Estimated: s.Estimated, UnitsProduced: s.UnitsProduced, Defects: s.Defects, Scrap: s.Scrap,
		EarnedHours: s.EarnedHours, StaffHours: s.StaffHours, RunHours: s.RunHours,
		ScheduledHours: s.ScheduledHours, DowntimeHours: s.DowntimeHours,
		Inspections:  s.Inspections,
		Incoming:     kpi.StageSums{Inspected: s.IncomingInspected, Passed: s.IncomingPassed, Defective: s.IncomingDefective},
		InProcess:    kpi.StageSums{Inspected: s.InProcessInspected, Passed: s.InProcessPassed, Defective: s.InProcessDefective},
		Final:        kpi.StageSums{Inspected: s.FinalInspected, Passed: s.FinalPassed, Defective: s.FinalDefective},
		DefectsFound: s.DefectsFound, Opportunities: s.Opportunities,
		Shipped: s.Shipped, ShippedOnTime: s.ShippedOnTime,
	}
}

func sumsOf(s kpi.Sums) sums {
	return sums{
		Entries: s.Entries, Estimated: s.Estimated, UnitsProduced: s.UnitsProduced, Defects: s.Defects, Scrap: s.Scrap,
		EarnedHours: s.EarnedHours, StaffHours: s.StaffHours, RunHours: s.RunHours,
		ScheduledHours: s.ScheduledHours, DowntimeHours: s.DowntimeHours,
		Inspections:       s.Inspections,
		IncomingInspected: s.Incoming.Inspected, IncomingPassed: s.Incoming.Passed, IncomingDefective: s.Incoming.Defective,
		InProcessInspected: s.InProcess.Inspected, InProcessPassed: s.InProcess.Passed, InProcessDefective: s.InProcess.Defective,
		FinalInspected: s.Final.Inspected, FinalPassed: s.Final.Passed, FinalDefective: s.Final.Defective,
		DefectsFound: s.DefectsFound, Opportunities: s.Opportunities,
		Shipped: s.Shipped, ShippedOnTime: s.ShippedOnTime,
	}
}
