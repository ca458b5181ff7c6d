package kpithresholds

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects thresholds. Zero members select everything.
type Filter struct {
	KPI  kpi.Name
	Line string // empty: thresholds of any line and of the whole production
}

// Queries reads the thresholds.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives the threshold of a figure and a line, nil for the whole production, and the log's position that the answer is
// true at. Without one it refuses with not-found and gives the position all the same.
func (q *Queries) Get(ctx context.Context, client string, name kpi.Name, line *string) (Threshold, int64, error) {
	var c projections.Conditions
	c.And("kpi = ?", string(name))
	if line == nil {
		c.And("line IS NULL")
	} else {
		c.And("line = ?", *line)
	}
	found, err := q.list(ctx, client, &c, 0, 1)
	switch {
	case err != nil:
		return Threshold{}, 0, err
	case len(found.Items) == 0:
		return Threshold{}, found.Position, domain.Refuse(domain.CodeNotFound, "there is no such threshold for %s", name)
	}
	return found.Items[0], found.Position, nil
}

// List gives at most limit thresholds, ascending by the position at which they were set, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Threshold], error) {
	var c projections.Conditions
	if f.KPI != "" {
		c.And("kpi = ?", string(f.KPI))
	}
	if f.Line != "" {
		c.And("line = ?", f.Line)
	}
	return q.list(ctx, client, &c, after, limit)
}

// Concerned gives a client's thresholds of the whole production, those of lines, and those with an id, and the log's
// position that the answer is true at.
func (q *Queries) Concerned(
	ctx context.Context, client string, lines []string, ids []domain.ID,
) (found []Threshold, position int64, err error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	var c projections.Conditions
	c.And("active")
	c.Client(client)
	c.And("(line IS NULL OR line = ANY(?) OR id = ANY(?::text[]::uuid[]))", pq.Array(lines), pq.Array(texts))
	err = q.tenants.Read(ctx, client, func(ctx context.Context, db eventstore.Querier) error {
		if position, err = projections.Applied(ctx, db, Spec()); err != nil {
			return err
		}
		rest := "FROM " + Spec().Schema() + "." + table + c.Where() + " ORDER BY created_position"
		found, err = projections.Select[Threshold](ctx, db, rest, c.Args...)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the thresholds of %s: %w", client, err)
	}
	return found, position, nil
}

func (q *Queries) list(
	ctx context.Context, client string, c *projections.Conditions, after int64, limit int,
) (projections.List[Threshold], error) {
	c.And("active")
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", c, after, limit,
		func(t Threshold) int64 { return t.CreatedPosition })
}
