package kpis

import (
	"context"
	"fmt"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore"
	"annals/projections"
)

// Latest is a key figure of the latest period in which it has data.
type Latest struct {
	Period   string // such as "2026-01-06" or "2026-W02"; empty: the figure never had data
	Value    string // with two fraction digits
	Position int64  // of the log: the value rests on everything up to it and on nothing after it
}

// latest is a Latest as it is read.
type latest struct {
	Position int64  `db:"position"`
	Day      string `db:"latest_day"`
	sums
}

// Latest computes a figure of a client for the latest day or week that has data for it, of one line or, without one, of
// the whole production. Rows and checkpoint are read in one statement, so that they belong together exactly.
func (q *Queries) Latest(
	ctx context.Context, client string, name kpi.Name, period kpi.Period, line *string,
) (found Latest, err error) {
	if client == eventstore.AllClients {
		return Latest{}, fmt.Errorf("read the latest %s: a figure is one client's", name)
	}
	var c projections.Conditions
	c.Client(client)
	switch {
	case line != nil:
		c.And("line = ?", *line)
	case !name.ByLine(): // inspections and deliveries have a line of their own in the index
		c.And("line = ''")
	}
	cells := Spec().Schema() + "." + table + c.Where()
	first, last := "d.day", "d.day"
	if period == kpi.PeriodWeek {
		first, last = "date_trunc('week', d.day::timestamp)::date", "date_trunc('week', d.day::timestamp)::date + 6"
	}
	rest := `FROM (SELECT s.position, coalesce(to_char(d.day::timestamp, 'YYYY-MM-DD'), '') AS latest_day, f.*
		FROM annals.subscribers s
		LEFT JOIN LATERAL (SELECT max(day) AS day FROM ` + cells + " AND " + authority(name) + ` > 0) d ON true
		LEFT JOIN LATERAL (SELECT ` + summed + ` FROM ` + cells + ` AND day BETWEEN ` + first + ` AND ` + last + `) f ON true
		WHERE s.name = ` + c.Arg(Spec().Name) + ` AND s.version = ` + c.Arg(Spec().Version) + `) AS l`
	var rows []latest
	err = q.tenants.Read(ctx, client, func(ctx context.Context, db eventstore.Querier) error {
		rows, err = projections.Select[latest](ctx, db, rest, c.Args...)
		return err
	})
	switch {
	case err != nil:
		return Latest{}, fmt.Errorf("read the latest %s: %w", name, err)
	case len(rows) != 1:
		return Latest{}, fmt.Errorf("read the latest %s: the read model has no checkpoint", name)
	}
	found.Position = rows[0].Position
	if rows[0].Day == "" {
		return found, nil
	}
	value, ok := kpi.Compute(rows[0].toKPI(), line == nil).Figure(name)
	if !ok {
		return found, nil
	}
	day := domain.Date(rows[0].Day)
	found.Value = value
	found.Period, _ = period.GroupBy().Key(kpi.Cell{Day: day})
	return found, nil
}

// authority is the column that counts what a figure is computed from: kpi.Sums.HasData in SQL.
func authority(name kpi.Name) string {
	switch {
	case kpi.Sums{Inspections: 1}.HasData(name):
		return "inspections"
	case kpi.Sums{Shipped: 1}.HasData(name):
		return "shipped"
	default:
		return "entries"
	}
}
