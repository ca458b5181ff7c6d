package webhooks

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"annals/domain"
	"annals/domain/notifications"
	"annals/eventstore"
	"annals/projections"
)

// Queries reads the webhooks.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one webhook and the log's position that the answer is true at. Without one, or when it was deleted, it
// refuses with not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Webhook, int64, error) {
	row, position, err := projections.ReadOne[Webhook](ctx, q.tenants, client, Spec(), table, "webhook", id)
	if err == nil && row.Status == notifications.StatusDeleted {
		return Webhook{}, position, domain.NotFound("webhook", id)
	}
	return row, position, err
}

// List gives at most limit webhooks, ascending by the position of their registration, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, after int64, limit int,
) (projections.List[Webhook], error) {
	var c projections.Conditions
	c.And("status = 'active'")
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(w Webhook) int64 { return w.CreatedPosition })
}

// After gives the webhooks of some clients that an event after a position may be for, and the log's position that the
// answer is true at.
func (q *Queries) After(ctx context.Context, clients []string, position int64) (all []Webhook, at int64, err error) {
	err = q.tenants.Read(ctx, eventstore.AllClients, func(ctx context.Context, db eventstore.Querier) error {
		if at, err = projections.Applied(ctx, db, Spec()); err != nil {
			return err
		}
		rest := "FROM " + Spec().Schema() + "." + table +
			" WHERE client_id = ANY ($1) AND (status = 'active' OR deleted_position > $2) ORDER BY created_position"
		all, err = projections.Select[Webhook](ctx, db, rest, pq.Array(clients), position)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the webhooks: %w", err)
	}
	return all, at, nil
}
