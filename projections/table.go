package projections

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"
)

// lastPosition is the column in which a fold's row keeps the position of the last event that changed it.
const lastPosition = "last_position"

// chunk is how many rows a statement carries at most.
const chunk = 4000

// rowTable writes and reads rows of type R in one table.
type rowTable[R any] struct {
	name    string
	columns []column
	keys    []column
	last    []int // the field of lastPosition; nil when there is none
}

func newRowTable[R any](name string) (*rowTable[R], error) {
	columns, err := columnsOf(reflect.TypeFor[R]())
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", name, err)
	}
	t := &rowTable[R]{name: name, columns: columns}
	for _, c := range columns {
		if c.key {
			t.keys = append(t.keys, c)
		}
		if c.name == lastPosition {
			t.last = c.index
		}
	}
	if len(t.keys) == 0 {
		return nil, fmt.Errorf("table %s: no field of %s is tagged as key", name, reflect.TypeFor[R]())
	}
	return t, nil
}

func names(columns []column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return strings.Join(list, ", ")
}

// unnest is a FROM item u with one column per array parameter, from $1 on.
func unnest(columns []column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.placeholder(i + 1)
	}
	return "unnest(" + strings.Join(list, ", ") + ") AS u (" + names(columns) + ")"
}

// values is the SELECT list over unnest.
func values(columns []column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.value("u")
	}
	return strings.Join(list, ", ")
}

// onConflict says what an insert does with a row that exists.
type onConflict int

const (
	conflictFails   onConflict = iota // the rows are known to be new
	conflictUpdates                   // the later state wins
)

// insertStatement writes rows; its parameters are the columns' arrays.
func (t *rowTable[R]) insertStatement(tx Tx, conflict onConflict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) SELECT %s FROM %s",
		tx.Table(t.name), names(t.columns), values(t.columns), unnest(t.columns))
	if conflict == conflictUpdates {
		fmt.Fprintf(&b, " ON CONFLICT (%s) DO UPDATE SET ", names(t.keys))
		separator := ""
		for _, c := range t.columns {
			if !c.key {
				fmt.Fprintf(&b, "%s%s = excluded.%s", separator, c.name, c.name)
				separator = ", "
			}
		}
	}
	return b.String()
}

// insert writes rows in order.
func (t *rowTable[R]) insert(ctx context.Context, tx Tx, rows []*R, conflict onConflict) error {
	if conflict == conflictFails {
		if done, err := t.copyIn(ctx, tx, rows); done || err != nil {
			return err
		}
	}
	for len(rows) > 0 {
		part := rows[:min(chunk, len(rows))]
		rows = rows[len(part):]
		if _, err := tx.ExecContext(ctx, t.insertStatement(tx, conflict), t.arrays(t.columns, part)...); err != nil {
			return fmt.Errorf("write %d rows of %s: %w", len(part), t.name, err)
		}
	}
	return nil
}

// arrays encodes columns of rows, one parameter each.
func (t *rowTable[R]) arrays(columns []column, rows []*R) []any {
	args := make([]any, len(columns))
	structs := make([]reflect.Value, len(rows))
	for i, r := range rows {
		structs[i] = reflect.ValueOf(r).Elem()
	}
	pointers := make([]any, len(rows))
	for i, c := range columns {
		for j, s := range structs {
			pointers[j] = s.FieldByIndex(c.index).Addr().Interface()
		}
		args[i] = encodeColumn(make([]byte, 0, 20+len(rows)*24), c.kind, pointers)
	}
	return args
}

// load gives the rows with the keys of the given rows to each, in no order.
func (t *rowTable[R]) load(ctx context.Context, tx Tx, keys []*R, each func(*R)) error {
	for len(keys) > 0 {
		part := keys[:min(chunk, len(keys))]
		keys = keys[len(part):]
		if err := t.loadChunk(ctx, tx, part, each); err != nil {
			return fmt.Errorf("read %d rows of %s: %w", len(part), t.name, err)
		}
	}
	return nil
}

func (t *rowTable[R]) loadChunk(ctx context.Context, tx Tx, keys []*R, each func(*R)) error {
	rows, err := tx.QueryContext(ctx, "SELECT "+names(t.columns)+" FROM "+tx.Table(t.name)+" WHERE "+t.matches(),
		t.arrays(t.keys, keys)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	targets := make([]any, len(t.columns))
	for rows.Next() {
		row := new(R)
		s := reflect.ValueOf(row).Elem()
		for i, c := range t.columns {
			targets[i] = scanTarget(s.FieldByIndex(c.index).Addr().Interface())
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		each(row)
	}
	return rows.Err()
}

// matches is the condition for the rows whose keys are the array parameters.
func (t *rowTable[R]) matches() string {
	if len(t.keys) == 1 && t.keys[0].kind != kindCast {
		return t.keys[0].name + " = ANY (" + t.keys[0].placeholder(1) + ")"
	}
	return "(" + names(t.keys) + ") IN (SELECT " + values(t.keys) + " FROM " + unnest(t.keys) + ")"
}

// remove deletes rows by their keys.
func (t *rowTable[R]) remove(ctx context.Context, tx Tx, rows []*R) error {
	for len(rows) > 0 {
		part := rows[:min(chunk, len(rows))]
		rows = rows[len(part):]
		_, err := tx.ExecContext(ctx, "DELETE FROM "+tx.Table(t.name)+" WHERE "+t.matches(), t.arrays(t.keys, part)...)
		if err != nil {
			return fmt.Errorf("delete %d rows of %s: %w", len(part), t.name, err)
		}
	}
	return nil
}

// position is the row's last position.
func (t *rowTable[R]) position(row *R) *int64 {
	return reflect.ValueOf(row).Elem().FieldByIndex(t.last).Addr().Interface().(*int64)
}

var _ Executor = (*sql.Tx)(nil)
