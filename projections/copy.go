package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/lib/pq"
)

// Copier is implemented by projectors whose rows repeat what the log says of each event: their pages needn't leave the
// database. Apply makes the same rows of pages that have left it.
type Copier interface {
	Projector
	// Copy is how rows are copied; nil: they aren't.
	Copy() *Copy
}

// CopyOf gives how a projector's rows are copied; nil: they aren't.
func CopyOf(p Projector) *Copy {
	if c, ok := p.(Copier); ok {
		return c.Copy()
	}
	return nil
}

// Copy copies the log's columns into a read model's table, a row for each event.
type Copy struct {
	spec            Spec
	table           string
	columns, values []string // of the table, and what is written into each of an event e
}

// newCopy makes the copy of a row's columns. renamed has the log's columns, by those of the row that have another name. Row can
// only repeat what a subscriber is given.
func newCopy(spec Spec, table string, columns []column, renamed map[string]string) (*Copy, error) {
	if !spec.Raw || spec.EventTypes != nil {
		return nil, errors.New("rows that repeat the log are of every event, as it was recorded")
	}
	c, given, used := &Copy{spec: spec, table: table}, eventColumns[:columnCount(spec)], 0
	for _, column := range columns {
		source, ok := renamed[column.name]
		if ok {
			used++
		} else {
			source = column.name
		}
		if !slices.Contains(given, source) {
			return nil, fmt.Errorf("a subscriber is given no column %s of the log", source)
		}
		c.columns, c.values = append(c.columns, column.name), append(c.values, "e."+source)
	}
	if used < len(renamed) {
		return nil, errors.New("a column is repeated that the rows don't have")
	}
	return c, nil
}

// insert is the statement that writes the rows of the events that a condition selects.
func (c *Copy) insert(schema, condition string) string {
	return `INSERT INTO ` + schema + `.` + c.table + ` (` + strings.Join(c.columns, ", ") + `)
	SELECT ` + strings.Join(c.values, ", ") + ` FROM annals.events e
	WHERE ` + condition + ` ORDER BY e.position`
}

// Rows writes the rows of the events from < position <= to that aren't among the skipped ones, and gives their number. It fails as
// the database does, such as on a row that exists; the transaction is then aborted.
func (c *Copy) Rows(ctx context.Context, tx Tx, from, to int64, skipped []int64) (int64, error) {
	result, err := tx.ExecContext(ctx, c.insert(tx.Schema, `e.position > $1 AND e.position <= $2 AND e.position <> ALL ($3::bigint[])`),
		from, to, pq.Array(append([]int64{}, skipped...))) // not null, of which nothing is known
	if err != nil {
		return 0, fmt.Errorf("copy the events after %d: %w", from, err)
	}
	return result.RowsAffected()
}

// page is the statement that does all of a live page: it takes the checkpoint, writes the rows and moves the checkpoint. It is
// a transaction by itself. $1 name, $2 version, $3 the most positions, $4 synchronous_commit. Its row has the page's bounds
// and whether it was copied; without a row the checkpoint isn't ours.
//
// Rows are written because the checkpoint was moved: where it isn't at the page's beginning any more, there are none.
func (c *Copy) page() string {
	return takeCheckpoint + `, bounds AS MATERIALIZED (
	SELECT c.position AS low,
		least(c.position + $3, ` + headBeyond(`c.position`) + `) AS high,
		set_config('synchronous_commit', $4, true) AS durability
	FROM checkpoint c
), moved AS (
	UPDATE annals.subscribers s SET position = b.high, ` + checkpointMoves + `
	FROM bounds b
	WHERE s.name = $1 AND s.version = $2 AND s.position = b.low AND b.high > b.low
	RETURNING b.low, b.high
), copied AS (
	` + c.insert(c.spec.Schema(), `e.position > (SELECT m.low FROM moved m) AND e.position <= (SELECT m.high FROM moved m)
	  AND e.position NOT IN (SELECT s.position FROM annals.skipped_events s WHERE s.projection = $1 AND s.version = $2)`) + `
)
SELECT b.low, b.high, EXISTS (SELECT FROM moved) FROM bounds b`
}

// beginCopy begins a page that is to be copied, or gives nil when it is to be read: where nothing new is known of, so that a look
// that finds nothing isn't a page; beside another node that has the checkpoint; and after a page that couldn't be copied, since
// reading finds the event at fault.
func (f *feed) beginCopy() *pageTx {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copying = f.copy != "" && !f.bisect && f.heard > f.after && f.next != waitStandby
	if !f.copying {
		return nil
	}
	return &pageTx{feed: f, bounds: bounds{from: f.position, to: f.position}, expected: min(f.heard, f.position+f.span())}
}

// copyPage copies the page after the checkpoint, if there is one, and gives where the checkpoint stands then.
func (f *feed) copyPage(ctx context.Context, tx *pageTx) (to int64, err error) {
	b, copied, err := f.execCopy(ctx)
	switch {
	case err != nil:
		b = bounds{from: tx.bounds.from, to: tx.expected}
	case b.to > b.from && !copied:
		// Another node moved the checkpoint after the statement's snapshot, which shows both it and newer events.
		b = bounds{taken: true, from: b.from, to: b.from, again: true}
	default:
		b.full = b.taken && b.to == b.from+f.span()
	}
	tx.found(b)
	return b.to, err
}

// execCopy reads the statement's result to its end: that its commit failed is told after its row.
func (f *feed) execCopy(ctx context.Context) (b bounds, copied bool, err error) {
	rows, err := f.group.cfg.DB.QueryContext(ctx, f.copy, f.spec.Name, f.spec.Version, f.span(), durability(f.spec))
	if err != nil {
		return b, false, err
	}
	defer rows.Close()
	for rows.Next() {
		b.taken = true
		if err := rows.Scan(&b.from, &b.to, &copied); err != nil {
			return b, false, fmt.Errorf("scan a page's bounds: %w", err)
		}
	}
	return b, copied, rows.Err()
}

// copyOrder is what watermill-sql reads where a page is to be copied: a row without columns, of which it makes the message that
// has the handler copy the page.
type copyOrder struct {
	from  int64 // where the page is expected to begin
	given bool
}

// Next implements wsql.Rows.
func (o *copyOrder) Next() bool {
	first := !o.given
	o.given = true
	return first
}

// Scan implements wsql.Rows.
func (*copyOrder) Scan(...any) error { return nil }

// Close implements wsql.Rows.
func (*copyOrder) Close() error { return nil }

func (o *copyOrder) message(spec Spec) wsql.Row {
	id := spec.Name + "/" + strconv.FormatInt(o.from, 10) + "-"
	return wsql.Row{Offset: 1, UUID: []byte(id), Msg: message.NewMessage(id, nil)}
}
