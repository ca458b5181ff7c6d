package productionentries

import (
	"context"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects production entries. Zero members select everything.
type Filter struct {
	WorkOrderID *domain.ID
	Line        string
	Shift       string
	// From and To bound the production date, both inclusive.
	From, To domain.Date
}

// Queries reads the production entries.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one production entry and the log's position that the answer is true at. Without one it refuses with
// not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Entry, int64, error) {
	return projections.ReadOne[Entry](ctx, q.tenants, client, Spec(), table, "production entry", id)
}

// List gives at most limit production entries, ascending by the position of their recording, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Entry], error) {
	var c projections.Conditions
	if f.WorkOrderID != nil {
		c.And("work_order_id = ?", f.WorkOrderID[:])
	}
	if f.Line != "" {
		c.And("line = ?", f.Line)
	}
	if f.Shift != "" {
		c.And("shift = ?", f.Shift)
	}
	if f.From != "" {
		c.And("production_date >= ?", string(f.From))
	}
	if f.To != "" {
		c.And("production_date <= ?", string(f.To))
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(e Entry) int64 { return e.CreatedPosition })
}
