package notifications

import (
	"context"
	"fmt"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// DeadLetter is a delivery that was given up.
type DeadLetter struct {
	EventID   domain.ID `db:"event_id"`
	EventType string    `db:"event_type"`
	Position  int64     `db:"position"`
	Attempts  int64     `db:"attempts"`
	Error     string    `db:"last_error"` // why the last attempt failed
	QueuedAt  time.Time `db:"created_at"`
	FailedAt  time.Time `db:"settled_at"` // when it was given up
}

// DeadLetters reads the deliveries that were given up.
type DeadLetters struct{ tenants *eventstore.Tenants }

// NewDeadLetters makes the queries over the one path to tenant data.
func NewDeadLetters(tenants *eventstore.Tenants) *DeadLetters { return &DeadLetters{tenants} }

// List gives at most limit dead letters of a webhook, ascending by the event's position, of those after a position.
// Position is how far the policy has come.
func (q *DeadLetters) List(
	ctx context.Context, client string, webhook domain.ID, after int64, limit int,
) (list projections.List[DeadLetter], err error) {
	err = q.tenants.Read(ctx, client, func(ctx context.Context, db eventstore.Querier) error {
		if list.Position, err = projections.Applied(ctx, db, Spec()); err != nil {
			return err
		}
		list.Items, err = projections.Select[DeadLetter](ctx, db, `
			FROM (SELECT d.event_id, e.event_type, d.position, d.attempts, coalesce(d.last_error, '') AS last_error,
			             d.created_at, d.settled_at
			      FROM annals.deliveries d JOIN annals.events e ON e.position = d.position
			      WHERE d.receiver_id = $1 AND d.client_id = $2 AND d.state = 'dead' AND d.position > $3
			      ORDER BY d.position LIMIT $4) letters ORDER BY position`, webhook.String(), client, after, limit+1)
		return err
	})
	if err != nil {
		return projections.List[DeadLetter]{}, fmt.Errorf("list dead letters: %w", err)
	}
	if len(list.Items) > limit {
		list.Items = list.Items[:limit]
		list.Next = list.Items[limit-1].Position
	}
	return list, nil
}

// Has implements the use cases' DeadLetters.
func (q *DeadLetters) Has(ctx context.Context, client string, webhook, event domain.ID) (found bool, err error) {
	err = q.tenants.Read(ctx, client, func(ctx context.Context, db eventstore.Querier) error {
		return db.GetContext(ctx, &found, `SELECT EXISTS (SELECT FROM annals.deliveries
			WHERE receiver_id = $1 AND event_id = $2 AND client_id = $3 AND state = 'dead')`,
			webhook.String(), event.String(), client)
	})
	if err != nil {
		return false, fmt.Errorf("look for a dead letter: %w", err)
	}
	return found, nil
}
