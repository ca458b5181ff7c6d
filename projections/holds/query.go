package holds

import (
	"context"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects holds. Zero members select everything.
type Filter struct {
	Status      string // open, resumed
	WorkOrderID *domain.ID
	Category    string
	// From and To bound the UTC day on which the hold was created, both inclusive.
	From, To domain.Date
}

// Queries reads the holds.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one hold and the log's position that the answer is true at. Without one it refuses with not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Hold, int64, error) {
	return projections.ReadOne[Hold](ctx, q.tenants, client, Spec(), table, "hold", id)
}

// List gives at most limit holds, ascending by the position of their creation, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Hold], error) {
	var c projections.Conditions
	if f.Status != "" {
		c.And("status = ?", f.Status)
	}
	if f.WorkOrderID != nil {
		c.And("work_order_id = ?", f.WorkOrderID[:])
	}
	if f.Category != "" {
		c.And("category = ?", f.Category)
	}
	if f.From != "" {
		c.And("created_at >= ?", f.From.Time())
	}
	if f.To != "" {
		c.And("created_at < ?", f.To.Time().Add(24*time.Hour))
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(h Hold) int64 { return h.CreatedPosition })
}
