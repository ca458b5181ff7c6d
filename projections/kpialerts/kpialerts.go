// Package kpialerts is the read model of alerts: key figures that went beyond a threshold, and when they came back.
package kpialerts

import (
	"context"
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

const table = "kpi_alerts"

// Alert is a row of the read model.
type Alert struct {
	ID            domain.ID       `db:"id,key"` // of the event that stated the violation
	ClientID      string          `db:"client_id"`
	ThresholdID   domain.ID       `db:"threshold_id"`
	KPI           kpi.Name        `db:"kpi"`
	Line          *string         `db:"line"` // nil: the whole production
	Value         decimal.Decimal `db:"value"`
	Limit         decimal.Decimal `db:"threshold"`
	Direction     kpi.Direction   `db:"direction"`
	Period        string          `db:"period"` // the one judged, such as "2026-01-06" or "2026-W02"
	ViolatedAt    time.Time       `db:"violated_at"`
	RecoveredAt   *time.Time      `db:"recovered_at"`   // nil: the alert is open
	Position      int64           `db:"position"`       // of the event that stated the violation
	EndedPosition *int64          `db:"ended_position"` // of the recovery, or of the threshold's removal
}

// ValueText is the value with two fraction digits, as figures are written.
func (a Alert) ValueText() string { return a.Value.StringFixed(2) }

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "kpi_alerts", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: []string{
			kpi.ThresholdViolated{}.EventType(), kpi.ThresholdRecovered{}.EventType(), kpi.ThresholdRemoved{}.EventType(),
		},
	}
}

// Projector writes the alerts. A recovery doesn't name the alert that it ends, so that this is no Fold: violations are
// journalled, and then what ends an alert is the first recovery or removal of its threshold after it. Alerts are few.
type Projector struct {
	violations *projections.Journal[Alert]
}

// New makes the read model's projector.
func New() *Projector {
	return &Projector{projections.MustJournal(projections.JournalConfig[Alert]{Spec: Spec(), Table: table, Row: row})}
}

// Spec implements projections.Projector.
func (p *Projector) Spec() projections.Spec { return Spec() }

// Apply implements projections.Projector.
func (p *Projector) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	if err := p.violations.Apply(ctx, tx, page); err != nil {
		return err
	}
	return end(ctx, tx, page.Events)
}

func row(e projections.Event) (Alert, bool, error) {
	switch event := e.Payload.(type) {
	case kpi.ThresholdViolated:
		return Alert{
			ID: e.EventID, ClientID: e.ClientID, ThresholdID: e.AggregateID, KPI: event.KPI, Line: event.Scope.Line,
			Value: event.Value, Limit: event.Limit, Direction: event.Direction, Period: event.Period,
			ViolatedAt: e.OccurredAt, Position: e.Position,
		}, true, nil
	case kpi.ThresholdRecovered, kpi.ThresholdRemoved:
		return Alert{}, false, nil
	default:
		return Alert{}, false, fmt.Errorf("%s starts and ends no alert", e.EventType)
	}
}
