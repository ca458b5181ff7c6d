package workorders

import (
	"context"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects work orders. Zero members select everything.
type Filter struct {
	Status string
	Number string
	// Overdue selects the orders that should have been shipped before Today, the UTC day of the question, or, when it is
	// false, all others. Nil selects both.
	Overdue *bool
	Today   domain.Date
	// From and To bound the day on which the order was received, both inclusive.
	From, To domain.Date
}

// overdue is workorder.State.Overdue in SQL. The condition on the status is the one of work_orders_open_idx.
const overdue = "(due_on < ? AND status NOT IN ('shipped', 'closed', 'cancelled', 'rejected'))"

// Queries reads the work orders.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one work order and the log's position that the answer is true at. Without one it refuses with not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (WorkOrder, int64, error) {
	return projections.ReadOne[WorkOrder](ctx, q.tenants, client, Spec(), table, "work order", id)
}

// List gives at most limit work orders, ascending by the position of their creation, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[WorkOrder], error) {
	var c projections.Conditions
	if f.Status != "" {
		c.And("status = ?", f.Status)
	}
	if f.Number != "" {
		c.And("number = ?", f.Number)
	}
	switch {
	case f.Overdue == nil:
	case *f.Overdue:
		c.And(overdue, string(f.Today))
	default:
		c.And("NOT "+overdue, string(f.Today))
	}
	if f.From != "" {
		c.And("received_on >= ?", string(f.From))
	}
	if f.To != "" {
		c.And("received_on <= ?", string(f.To))
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(o WorkOrder) int64 { return o.CreatedPosition })
}
