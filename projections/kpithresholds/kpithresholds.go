// Package kpithresholds is the read model of the thresholds that watch key figures.
package kpithresholds

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "kpi_thresholds"

// Threshold is a row of the read model. Times and CreatedPosition are those of the event that set it, or that set it again
// after it was removed, and of the last event. The row of a removed threshold stays and is never shown.
type Threshold struct {
	ID              domain.ID       `db:"id,key"`
	ClientID        string          `db:"client_id"`
	KPI             kpi.Name        `db:"kpi"`
	Line            *string         `db:"line"` // nil: the whole production
	Direction       kpi.Direction   `db:"direction"`
	Limit           decimal.Decimal `db:"threshold"`
	Period          kpi.Period      `db:"period"`
	Active          bool            `db:"active"`
	Violated        bool            `db:"violated"` // the figure was beyond the limit when it was judged last
	Version         int64           `db:"version"`
	CreatedPosition int64           `db:"created_position"`
	LastPosition    int64           `db:"last_position"`
	CreatedAt       time.Time       `db:"created_at"`
	UpdatedAt       time.Time       `db:"updated_at"`
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "kpi_thresholds", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: projections.EventTypesOf(kpi.Definition()),
	}
}

// New makes the read model's projector.
func New() *projections.Fold[domain.ID, Threshold] {
	return projections.MustFold(projections.FoldConfig[domain.ID, Threshold]{
		Spec: Spec(), Table: table,
		Keys:    func(e projections.Event, keys []domain.ID) []domain.ID { return append(keys, e.AggregateID) },
		Creates: func(e projections.Event) bool { return e.AggregateVersion == 1 },
		Step:    step,
	})
}

func step(_ domain.ID, row *Threshold, e projections.Event) (projections.Outcome, error) {
	event, ok := e.Payload.(kpi.Event)
	if !ok {
		return projections.Keep, fmt.Errorf("%s is not a threshold's event", e.EventType)
	}
	after := kpi.Aggregate.Evolve(row.state(), event)
	if after.Active && !row.Active {
		row.ClientID, row.CreatedPosition, row.CreatedAt = e.ClientID, e.Position, e.OccurredAt
	}
	row.set(after)
	row.Version, row.UpdatedAt = e.AggregateVersion, e.OccurredAt
	return projections.Write, nil
}

// state is the aggregate's state, without what only judgements need: what an event means is written down once.
func (t *Threshold) state() kpi.State {
	return kpi.State{
		Active: t.Active, KPI: t.KPI, Direction: t.Direction, Limit: t.Limit, Period: t.Period,
		Scope: kpi.Scope{Line: t.Line}, Violated: t.Violated,
	}
}

func (t *Threshold) set(s kpi.State) {
	t.Active, t.KPI, t.Direction, t.Limit, t.Period = s.Active, s.KPI, s.Direction, s.Limit, s.Period
	t.Line, t.Violated = s.Scope.Line, s.Violated
}
