// Package inspections is the read model of quality inspections.
package inspections

import (
	_ "embed"
	"fmt"
	"time"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "quality_inspections"

// Inspection is a row of the read model. An inspection is recorded once and doesn't change.
type Inspection struct {
	ID                   domain.ID        `db:"id,key"`
	ClientID             string           `db:"client_id"`
	WorkOrderID          domain.ID        `db:"work_order_id"`
	Stage                inspection.Stage `db:"stage"`
	InspectedOn          domain.Date      `db:"inspected_on,type=date"`
	UnitsInspected       int64            `db:"units_inspected"`
	UnitsPassed          int64            `db:"units_passed"`
	UnitsDefective       int64            `db:"units_defective"`
	UnitsReworked        int64            `db:"units_reworked"`
	UnitsScrapped        int64            `db:"units_scrapped"`
	DefectCount          int64            `db:"defect_count"`
	OpportunitiesPerUnit int64            `db:"opportunities_per_unit"`
	Inspector            *domain.Personal `db:"inspector"`
	Version              int64            `db:"version"`
	CreatedPosition      int64            `db:"created_position"`
	CreatedAt            time.Time        `db:"created_at"`
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "quality_inspections", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: projections.EventTypesOf(inspection.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Journal[Inspection] {
	return projections.MustJournal(projections.JournalConfig[Inspection]{Spec: Spec(), Table: table, Row: row})
}

func row(e projections.Event) (Inspection, bool, error) {
	i, ok := e.Payload.(inspection.Recorded)
	if !ok {
		return Inspection{}, false, fmt.Errorf("%s is not a quality inspection's event", e.EventType)
	}
	return Inspection{
		ID: e.AggregateID, ClientID: e.ClientID, WorkOrderID: i.WorkOrderID, Stage: i.Stage, InspectedOn: i.InspectedOn,
		UnitsInspected: i.UnitsInspected, UnitsPassed: i.UnitsPassed, UnitsDefective: i.UnitsDefective,
		UnitsReworked: i.UnitsReworked, UnitsScrapped: i.UnitsScrapped, DefectCount: i.DefectCount,
		OpportunitiesPerUnit: i.OpportunitiesPerUnit, Inspector: i.Inspector,
		Version: e.AggregateVersion, CreatedPosition: e.Position, CreatedAt: e.OccurredAt,
	}, true, nil
}
