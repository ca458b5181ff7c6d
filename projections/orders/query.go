package orders

import (
	"context"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects orders. Zero members select everything.
type Filter struct {
	CustomerID string
	Status     string
}

// Queries reads the orders.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one order and the log's position that the answer is true at. Without one it refuses with not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Order, int64, error) {
	return projections.ReadOne[Order](ctx, q.tenants, client, Spec(), table, "order", id)
}

// List gives at most limit orders, ascending by the position of their creation, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Order], error) {
	var c projections.Conditions
	if f.CustomerID != "" {
		c.And("customer_id = ?", f.CustomerID)
	}
	if f.Status != "" {
		c.And("status = ?", f.Status)
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(o Order) int64 { return o.CreatedPosition })
}
