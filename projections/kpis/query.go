package kpis

import (
	"context"
	"fmt"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects what counts. Empty members select everything. Line and Shift leave out inspections and deliveries, which
// belong to none: the figures that come from them are then nil.
type Filter struct {
	From, To    domain.Date // both inclusive
	Line, Shift string
	WorkOrderID *domain.ID
}

// Group holds the key figures of one group.
type Group struct {
	Key     string // such as "2026-01-06", "2026-W02", a line, a shift, a work order's id, or "total"
	Figures kpi.Figures
	Sums    kpi.Sums // what the figures are computed from
}

// Groups is one page of groups, ascending by key (byte by byte).
type Groups struct {
	Items []Group
	// Next is the key to go on after; empty: there are no more groups.
	Next string
	// Position is the log's position that the groups are true at, or later.
	Position int64
}

// Queries reads the key figures.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// grouped is a group as it is read.
type grouped struct {
	Key string `db:"key"`
	sums
}

// keySQL is kpi.GroupBy.Key in SQL.
func keySQL(by kpi.GroupBy) (string, error) {
	switch by {
	case kpi.ByDay:
		return "to_char(day::timestamp, 'YYYY-MM-DD')", nil
	case kpi.ByWeek:
		return `to_char(day::timestamp, 'IYYY-"W"IW')`, nil
	case kpi.ByLine:
		return "line", nil
	case kpi.ByShift:
		return "shift", nil
	case kpi.ByWorkOrder:
		return "work_order_id::text", nil
	case kpi.ByTotal:
		return "'" + kpi.TotalKey + "'::text", nil
	default:
		return "", fmt.Errorf("key figures can't be grouped by %q", by)
	}
}

// Groups gives at most limit groups of those after a key. A group exists when something counts in it.
func (q *Queries) Groups(
	ctx context.Context, client string, by kpi.GroupBy, f Filter, after string, limit int,
) (groups Groups, err error) {
	var c projections.Conditions
	c.Client(client)
	f.add(&c)
	rest, err := groupsSQL(&c, by, after, limit+1)
	if err != nil {
		return Groups{}, err
	}
	var rows []grouped
	err = q.tenants.Read(ctx, client, func(ctx context.Context, db eventstore.Querier) error {
		if groups.Position, err = projections.Applied(ctx, db, Spec()); err != nil {
			return err
		}
		rows, err = projections.Select[grouped](ctx, db, rest, c.Args...)
		return err
	})
	if err != nil {
		return Groups{}, fmt.Errorf("read key figures by %s: %w", by, err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		groups.Next = rows[limit-1].Key
	}
	complete := by.Complete() && f.Line == "" && f.Shift == ""
	for _, r := range rows {
		s := r.toKPI()
		groups.Items = append(groups.Items, Group{Key: r.Key, Figures: kpi.Compute(s, complete), Sums: s})
	}
	return groups, nil
}

// groupsSQL is the statement for groups from FROM on.
func groupsSQL(c *projections.Conditions, by kpi.GroupBy, after string, limit int) (string, error) {
	key, err := keySQL(by)
	if err != nil {
		return "", err
	}
	if !by.Complete() {
		c.And(key + " <> ''")
	}
	order := "1"
	if by == kpi.ByDay {
		order = "day" // as the primary key has them, so that a page reads its own days alone
	}
	if day, err := domain.ParseDate(after); err == nil && by == kpi.ByDay {
		c.And("day > ?", string(day))
	} else if after != "" {
		c.And("("+key+`) COLLATE "C" > ?`, after)
	}
	return `FROM (SELECT (` + key + `) COLLATE "C" AS key, ` + summed + ` FROM ` + Spec().Schema() + "." + table + c.Where() + `
		GROUP BY ` + order + ` HAVING sum(entries) > 0 OR sum(inspections) > 0 OR sum(shipped) > 0
		ORDER BY ` + order + ` LIMIT ` + c.Arg(limit) + `) AS g ORDER BY key`, nil
}

func (f Filter) add(c *projections.Conditions) {
	if f.From != "" {
		c.And("day >= ?", string(f.From))
	}
	if f.To != "" {
		c.And("day <= ?", string(f.To))
	}
	if f.Line != "" {
		c.And("line = ?", f.Line)
	}
	if f.Shift != "" {
		c.And("shift = ?", f.Shift)
	}
	if f.WorkOrderID != nil {
		c.And("work_order_id = ?", f.WorkOrderID[:])
	}
}
