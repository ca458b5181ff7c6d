package auditlog

import (
	"context"
	"time"

	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects entries. Zero members select everything.
type Filter struct {
	ActorID       string
	EventTypes    []string
	AggregateType string
	AggregateID   *domain.ID
	CorrelationID string
	From, To      time.Time // occurred_at, From inclusive, To exclusive
}

// Queries reads the audit log.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// List gives at most limit entries after a position. Client may be AllClients.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Entry], error) {
	return projections.ReadList(ctx, q.tenants, client, Spec(), "entries", "position", f.conditions(), after, limit,
		func(e Entry) int64 { return e.Position })
}

// exportPage is how many entries an export holds in memory.
const exportPage = 500

// Export gives every entry that matches and was there when it began, in order, page by page: no transaction stays open
// while each works, which may be slow. An error of each ends it and is returned as it is.
func (q *Queries) Export(ctx context.Context, client string, f Filter, each func(Entry) error) error {
	var after, end int64
	for {
		page, err := q.List(ctx, client, f, after, exportPage)
		if err != nil {
			return err
		}
		if end == 0 {
			end = page.Position
		}
		for _, e := range page.Items {
			if e.Position > end {
				return nil
			}
			if err := each(e); err != nil {
				return err
			}
		}
		if page.Next == 0 {
			return nil
		}
		after = page.Next
	}
}

func (f Filter) conditions() *projections.Conditions {
	var c projections.Conditions
	for _, equal := range [...]struct{ column, value string }{
		{"actor_id", f.ActorID}, {"aggregate_type", f.AggregateType}, {"correlation_id", f.CorrelationID},
	} {
		if equal.value != "" {
			c.And(equal.column+" = ?", equal.value)
		}
	}
	if len(f.EventTypes) > 0 {
		c.And("event_type = ANY(?)", pq.Array(f.EventTypes))
	}
	if f.AggregateID != nil {
		c.And("aggregate_id = ?", f.AggregateID[:])
	}
	if !f.From.IsZero() {
		c.And("occurred_at >= ?", f.From)
	}
	if !f.To.IsZero() {
		c.And("occurred_at < ?", f.To)
	}
	return &c
}
