package inspections

import (
	"context"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects quality inspections. Zero members select everything.
type Filter struct {
	WorkOrderID *domain.ID
	Stage       string // incoming, in_process, final
	// From and To bound the day of the inspection, both inclusive.
	From, To domain.Date
}

// Queries reads the quality inspections.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one quality inspection and the log's position that the answer is true at. Without one it refuses with
// not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Inspection, int64, error) {
	return projections.ReadOne[Inspection](ctx, q.tenants, client, Spec(), table, "quality inspection", id)
}

// List gives at most limit quality inspections, ascending by the position of their recording, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Inspection], error) {
	var c projections.Conditions
	if f.WorkOrderID != nil {
		c.And("work_order_id = ?", f.WorkOrderID[:])
	}
	if f.Stage != "" {
		c.And("stage = ?", f.Stage)
	}
	if f.From != "" {
		c.And("inspected_on >= ?", string(f.From))
	}
	if f.To != "" {
		c.And("inspected_on <= ?", string(f.To))
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(i Inspection) int64 { return i.CreatedPosition })
}
