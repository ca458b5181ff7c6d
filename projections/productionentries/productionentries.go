// Package productionentries is the read model of production entries.
package productionentries

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/production"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "production_entries"

// Entry is a row of the read model: a production entry with the values that its corrections left. Times are those at
// which the first and the last event occurred.
type Entry struct {
	ID                domain.ID       `db:"id,key"`
	ClientID          string          `db:"client_id"`
	WorkOrderID       domain.ID       `db:"work_order_id"`
	Line              string          `db:"line"`
	Shift             string          `db:"shift"`
	ProductionDate    domain.Date     `db:"production_date,type=date"`
	UnitsProduced     int64           `db:"units_produced"`
	DefectCount       int64           `db:"defect_count"`
	ScrapCount        int64           `db:"scrap_count"`
	ReworkCount       int64           `db:"rework_count"`
	RunTimeHours      decimal.Decimal `db:"run_time_hours"`
	ScheduledHours    decimal.Decimal `db:"scheduled_hours"`
	DowntimeHours     decimal.Decimal `db:"downtime_hours"`
	EmployeesAssigned int64           `db:"employees_assigned"`
	// IdealCycleTimeHours, per piece, was resolved when the entry was recorded. Estimated: nobody had given one.
	IdealCycleTimeHours decimal.Decimal `db:"ideal_cycle_time_hours"`
	Estimated           bool            `db:"estimated"`
	Corrections         int64           `db:"corrections"` // how many there were
	Version             int64           `db:"version"`
	CreatedPosition     int64           `db:"created_position"`
	LastPosition        int64           `db:"last_position"`
	CreatedAt           time.Time       `db:"created_at"`
	UpdatedAt           time.Time       `db:"updated_at"`
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "production_entries", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: projections.EventTypesOf(production.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Entry] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Entry]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

// step needs nothing of the row: both events repeat all values of the entry.
func step(_ domain.ID, row *Entry, e projections.Event) (projections.Outcome, error) {
	switch event := e.Payload.(type) {
	case production.Created:
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
		row.set(production.Entry(event))
	case production.Corrected:
		row.Corrections++
		row.set(event.Entry)
	default:
		return projections.Keep, fmt.Errorf("%s is not a production entry's event", e.EventType)
	}
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	return projections.Write, nil
}

func (r *Entry) set(e production.Entry) {
	r.WorkOrderID, r.Line, r.Shift, r.ProductionDate = e.WorkOrderID, e.Line, e.Shift, e.ProductionDate
	r.UnitsProduced, r.DefectCount, r.ScrapCount, r.ReworkCount = e.UnitsProduced, e.DefectCount, e.ScrapCount, e.ReworkCount
	r.RunTimeHours, r.ScheduledHours, r.DowntimeHours = e.RunTimeHours, e.ScheduledHours, e.DowntimeHours
	r.EmployeesAssigned, r.IdealCycleTimeHours, r.Estimated = e.EmployeesAssigned, e.IdealCycleTimeHours, e.Estimated
}
