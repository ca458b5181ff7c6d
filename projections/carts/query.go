package carts

import (
	"context"
	"fmt"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/eventstore"
	"annals/projections"
)

// Queries reads the carts.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one cart and the log's position that the answer is true at. Without one it refuses with not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Cart, int64, error) {
	return projections.ReadOne[Cart](ctx, q.tenants, client, Spec(), table, "cart", id)
}

// Idle is an open cart without an event for some time.
type Idle struct {
	ID       domain.ID `db:"id"`
	ClientID string    `db:"client_id"`
	Version  int64     `db:"version"`
}

// Idle gives at most limit open carts of all clients whose last event occurred longer ago than lifetime by the database's
// clock, the longest idle first, and the log's position that the answer is true at.
func (q *Queries) Idle(ctx context.Context, lifetime time.Duration, limit int) (idle []Idle, position int64, err error) {
	err = q.tenants.Read(ctx, eventstore.AllClients, func(ctx context.Context, db eventstore.Querier) error {
		if position, err = projections.Applied(ctx, db, Spec()); err != nil {
			return err
		}
		idle, err = projections.Select[Idle](ctx, db, `FROM `+Spec().Schema()+`.`+table+`
			WHERE status = $1 AND updated_at < now() - make_interval(secs => $2) ORDER BY updated_at, id LIMIT $3`,
			string(cart.StatusOpen), lifetime.Seconds(), limit)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read idle carts: %w", err)
	}
	return idle, position, nil
}
