package kpialerts

import (
	"context"
	"time"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects alerts. Zero members select everything.
type Filter struct {
	KPI  kpi.Name
	Line string // empty: alerts of any line and of the whole production
	Open *bool  // nil: both
	// From and To bound the UTC day of the violation, both inclusive.
	From, To domain.Date
}

// Queries reads the alerts.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// List gives at most limit alerts, ascending by the position of their violation, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Alert], error) {
	var c projections.Conditions
	if f.KPI != "" {
		c.And("kpi = ?", string(f.KPI))
	}
	if f.Line != "" {
		c.And("line = ?", f.Line)
	}
	if f.Open != nil {
		c.And("(recovered_at IS NULL) = ?", *f.Open)
	}
	if f.From != "" {
		c.And("violated_at >= ?", f.From.Time())
	}
	if f.To != "" {
		c.And("violated_at < ?", f.To.Time().Add(24*time.Hour))
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "position", &c, after, limit,
		func(a Alert) int64 { return a.Position })
}
