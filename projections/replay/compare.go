package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// Comparison tells how the rebuilt rows differ from the live ones. Both were read in one snapshot.
type Comparison struct {
	// LivePosition is the live checkpoint in that snapshot. With DryRun the rebuilt rows are of the same position, and
	// every difference is an error of one of them; with Until they also differ by the events in between.
	LivePosition int64        `json:"live_position"`
	Position     int64        `json:"position"` // of the rebuilt rows
	Schema       string       `json:"schema"`   // where the rebuilt rows are kept, "" when they aren't
	Tables       []TableCount `json:"tables"`
	Differences  []Difference `json:"differences"` // the first Options.MaxDifferences
}

// TableCount counts one table's rows.
type TableCount struct {
	Table       string `json:"table"`
	LiveRows    int64  `json:"live_rows"`
	RebuiltRows int64  `json:"rebuilt_rows"`
	Missing     int64  `json:"missing"` // rebuilt rows that the live table lacks
	Surplus     int64  `json:"surplus"` // live rows that the rebuilt table lacks
	Changed     int64  `json:"changed"` // rows in both that differ in at least one byte
}

// Difference is one row that isn't the same in both tables. Rows are JSON objects; "" stands for no row.
type Difference struct {
	Table   string `json:"table"`
	Key     string `json:"key"` // JSON object of the primary key
	Live    string `json:"live"`
	Rebuilt string `json:"rebuilt"`
}

// Equal reports whether there is no difference at all.
func (c *Comparison) Equal() bool { return c.Count() == 0 }

// Count is the number of rows that differ, listed or not.
func (c *Comparison) Count() int64 {
	var n int64
	for _, t := range c.Tables {
		n += t.Missing + t.Surplus + t.Changed
	}
	return n
}

// compare looks at both in one snapshot, which is undone afterwards: of a dry run the log's rest up to the live
// checkpoint is applied within it, so that neither has to wait for the other.
func (b *builder) compare(ctx context.Context) error {
	b.report(PhaseCompare)
	found, events := &Comparison{}, int64(0)
	err := b.session.inTx(ctx, sql.LevelRepeatableRead, func(tx *sql.Tx) (err error) {
		if events, err = b.meet(ctx, tx, found); err != nil {
			return err
		}
		names, err := b.comparable(ctx, tx)
		if err != nil {
			return err
		}
		for _, t := range names {
			if err := b.compareTable(ctx, tx, t, found); err != nil {
				return err
			}
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		return err
	}
	b.result.Position, b.result.Comparison = found.Position, found
	b.result.Events += events
	b.state.position = found.Position // in the report of the end; what is kept of the build says its own
	if b.opts.Until > 0 && !b.opts.DryRun {
		found.Schema = b.spec.BuildSchema()
		return nil
	}
	return b.discard(ctx)
}

var errUndo = errors.New("the comparison is undone")

// meet brings the built tables to the position they are compared at.
func (b *builder) meet(ctx context.Context, tx *sql.Tx, found *Comparison) (events int64, err error) {
	live, err := readCheckpoint(ctx, tx, b.spec)
	if err != nil {
		return 0, err
	}
	if !live.exists {
		return 0, ErrNoLiveTables
	}
	found.LivePosition, found.Position = live.position, live.position
	if b.opts.Until > 0 {
		found.Position = b.opts.Until
	}
	next, events, err := b.applyRest(ctx, tx, found.Position)
	if err != nil {
		return 0, err
	}
	return events, checkSkips(ctx, tx, b.spec, next)
}

// discard drops the build.
func (b *builder) discard(ctx context.Context) error {
	return b.session.inTx(ctx, sql.LevelReadCommitted, func(tx *sql.Tx) error {
		if err := dropSchema(ctx, tx, b.spec.BuildSchema()); err != nil {
			return err
		}
		return b.forget(ctx, tx)
	})
}

// shape is a table's columns and types, to see whether rows can be compared, and its primary key, quoted.
type shape struct {
	columns string
	key     []string
}

func readShapes(ctx context.Context, tx *sql.Tx, schema string) (map[string]shape, []string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.relname,
			(SELECT coalesce(string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
				ORDER BY a.attnum), '') FROM pg_attribute a
				WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
			ARRAY(SELECT quote_ident(a.attname) FROM pg_index i, unnest(i.indkey::int[]) WITH ORDINALITY k(attnum, n),
				pg_attribute a WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid
				AND a.attnum = k.attnum ORDER BY k.n)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname`, schema)
	if err != nil {
		return nil, nil, fmt.Errorf("read the tables of %s: %w", schema, err)
	}
	defer rows.Close()
	shapes, names := make(map[string]shape), []string{}
	for rows.Next() {
		var name string
		var s shape
		if err := rows.Scan(&name, &s.columns, pq.Array(&s.key)); err != nil {
			return nil, nil, fmt.Errorf("read the tables of %s: %w", schema, err)
		}
		shapes[name] = s
		names = append(names, name)
	}
	return shapes, names, rows.Err()
}

// table is one that exists on both sides alike.
type table struct {
	name string
	key  []string
}

func (b *builder) comparable(ctx context.Context, tx *sql.Tx) ([]table, error) {
	live, liveNames, err := readShapes(ctx, tx, b.spec.Schema())
	if err != nil {
		return nil, err
	}
	built, builtNames, err := readShapes(ctx, tx, b.spec.BuildSchema())
	if err != nil {
		return nil, err
	}
	for _, n := range liveNames {
		if _, ok := built[n]; !ok {
			return nil, &ShapeError{n, "only the live tables have it"}
		}
	}
	list := make([]table, 0, len(builtNames))
	for _, n := range builtNames {
		l, ok := live[n]
		switch {
		case !ok:
			return nil, &ShapeError{n, "the live tables lack it"}
		case l.columns != built[n].columns:
			return nil, &ShapeError{n, fmt.Sprintf("live it has (%s), rebuilt (%s)", l.columns, built[n].columns)}
		case len(built[n].key) == 0:
			return nil, &ShapeError{n, "it has no primary key to compare by"}
		}
		list = append(list, table{n, built[n].key})
	}
	return list, nil
}

// compareTable has the server find the rows that differ, so that only those travel. The operator *<> compares the stored
// bytes: 1.0 is not 1.00, and json is compared too.
func (b *builder) compareTable(ctx context.Context, tx *sql.Tx, t table, found *Comparison) error {
	live, rebuilt := qualified(b.spec.Schema(), t.name), qualified(b.spec.BuildSchema(), t.name)
	count := TableCount{Table: t.name}
	err := tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM `+live+`), (SELECT count(*) FROM `+rebuilt+`)`).
		Scan(&count.LiveRows, &count.RebuiltRows)
	if err != nil {
		return fmt.Errorf("count the rows of %s: %w", t.name, err)
	}
	rows, err := tx.QueryContext(ctx, differenceQuery(live, rebuilt, t.key))
	if err != nil {
		return fmt.Errorf("compare %s: %w", t.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		d := Difference{Table: t.name}
		if err := rows.Scan(&d.Key, &d.Live, &d.Rebuilt); err != nil {
			return fmt.Errorf("compare %s: %w", t.name, err)
		}
		switch {
		case d.Live == "":
			count.Missing++
		case d.Rebuilt == "":
			count.Surplus++
		default:
			count.Changed++
		}
		if len(found.Differences) < b.opts.MaxDifferences {
			found.Differences = append(found.Differences, d)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("compare %s: %w", t.name, err)
	}
	found.Tables = append(found.Tables, count)
	return nil
}

func differenceQuery(live, rebuilt string, key []string) string {
	var pairs, order, join []string
	for _, k := range key {
		either := fmt.Sprintf("coalesce(l.%s, b.%s)", k, k)
		pairs = append(pairs, pq.QuoteLiteral(strings.Trim(k, `"`))+", "+either)
		order = append(order, either)
		join = append(join, fmt.Sprintf("l.%s = b.%s", k, k))
	}
	return fmt.Sprintf(`SELECT json_build_object(%s)::text,
			CASE WHEN l.%[2]s IS NULL THEN '' ELSE row_to_json(l)::text END,
			CASE WHEN b.%[2]s IS NULL THEN '' ELSE row_to_json(b)::text END
		FROM %[3]s l FULL JOIN %[4]s b ON %[5]s
		WHERE l.%[2]s IS NULL OR b.%[2]s IS NULL OR l.* *<> b.*
		ORDER BY %[6]s`, strings.Join(pairs, ", "), key[0], live, rebuilt, strings.Join(join, " AND "),
		strings.Join(order, ", "))
}
