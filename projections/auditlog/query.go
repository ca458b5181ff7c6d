package auditlog

import (
	"context"
	"math"
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

// pageSpan is how many positions a page looks at for entries that no index finds: what a request costs doesn't grow with
// the log.
const pageSpan = 100_000

// List gives at most limit entries after a position. Client may be AllClients. There may be more after fewer than limit, or
// none: then Next says where to go on.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Entry], error) {
	return q.list(ctx, client, f, after, limit, pageSpan)
}

func (q *Queries) list(
	ctx context.Context, client string, f Filter, after int64, limit int, span int64,
) (projections.List[Entry], error) {
	conditions, end := f.conditions(), int64(math.MaxInt64)
	if f.looks() && after < end-span {
		end = after + span
		conditions.And("position <= ?", end)
	}
	list, err := projections.ReadList(ctx, q.tenants, client, Spec(), "entries", "position", conditions, after, limit,
		func(e Entry) int64 { return e.Position })
	if err != nil {
		return list, err
	}
	if list.Next == 0 && list.Position > end {
		list.Next = end
	}
	recorded := make([]eventstore.Recorded, len(list.Items))
	for i := range list.Items {
		e := &list.Items[i]
		recorded[i] = eventstore.Recorded{Client: e.ClientID, EventType: e.EventType, EventID: e.EventID, Data: &e.EventData}
	}
	return list, q.tenants.Vault().OpenData(ctx, recorded)
}

// An export holds a page in memory: about as many bytes whether its entries are small or large.
const (
	exportPage  = 500     // entries of the first page, and of any
	exportBytes = 1 << 20 // about what later ones hold
	entryBytes  = 512     // of an entry without its data, about
)

// Export gives every entry that matches, from after (exclusive) to upTo (inclusive; 0: what is there when it begins), in
// order, page by page: no transaction stays open while each works, which may be slow. An error of each ends it and is
// returned as it is.
func (q *Queries) Export(ctx context.Context, client string, f Filter, after, upTo int64, each func(Entry) error) error {
	for limit := exportPage; ; {
		page, err := q.List(ctx, client, f, after, limit)
		if err != nil {
			return err
		}
		if upTo <= 0 {
			upTo = page.Position
		}
		size := 0
		for _, e := range page.Items {
			if e.Position > upTo {
				return nil
			}
			if err := each(e); err != nil {
				return err
			}
			size += entryBytes + len(e.EventData)
		}
		if page.Next == 0 || page.Next >= upTo {
			return nil
		}
		after = page.Next
		if size > 0 {
			limit = min(max(len(page.Items)*exportBytes/size, 1), exportPage)
		}
	}
}

// looks reports that entries are found by looking at them, one after the other: the log and its clients, aggregates and
// correlations have indexes.
func (f Filter) looks() bool {
	others := f.ActorID != "" || len(f.EventTypes) > 0 || f.AggregateType != "" || !f.From.IsZero() || !f.To.IsZero()
	return others && f.AggregateID == nil && f.CorrelationID == ""
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
