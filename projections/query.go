package projections

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"annals/domain"
	"annals/eventstore"
)

// List is one page of a read model's rows, ascending by the position that created them.
type List[T any] struct {
	Items []T
	// Next is the creation position to go on after; 0: there are no more rows.
	Next int64
	// Position is the log's position that the rows are true at, or later.
	Position int64
}

// Applied reads a read model's checkpoint. In a READ COMMITTED transaction that asks for rows afterwards, the rows are at
// least that current.
func Applied(ctx context.Context, q eventstore.Querier, spec Spec) (int64, error) {
	var position int64
	err := q.GetContext(ctx, &position,
		`SELECT position FROM annals.subscribers WHERE name = $1 AND version = $2`, spec.Name, spec.Version)
	if err != nil {
		return 0, fmt.Errorf("read the checkpoint of %s: %w", spec.Name, err)
	}
	return position, nil
}

// Select reads rows into structs whose fields name their columns in db tags. rest is the statement from FROM on.
func Select[T any](ctx context.Context, q eventstore.Querier, rest string, args ...any) ([]T, error) {
	columns, err := columnsOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryxContext(ctx, "SELECT "+names(columns)+" "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	targets := make([]any, len(columns))
	for rows.Next() {
		var row T
		s := reflect.ValueOf(&row).Elem()
		for i, c := range columns {
			targets[i] = scanTarget(s.FieldByIndex(c.index).Addr().Interface())
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// Conditions collects the conditions of a query and their arguments.
type Conditions struct {
	text strings.Builder
	Args []any
}

// Arg binds a value and gives its placeholder.
func (c *Conditions) Arg(value any) string {
	c.Args = append(c.Args, value)
	return "$" + strconv.Itoa(len(c.Args))
}

// And adds a condition, in which each question mark stands for a value.
func (c *Conditions) And(condition string, values ...any) {
	if c.text.Len() > 0 {
		c.text.WriteString(" AND ")
	}
	for _, v := range values {
		before, after, _ := strings.Cut(condition, "?")
		c.text.WriteString(before + c.Arg(v))
		condition = after
	}
	c.text.WriteString(condition)
}

// Where gives the WHERE clause, empty without a condition.
func (c *Conditions) Where() string {
	if c.text.Len() == 0 {
		return ""
	}
	return " WHERE " + c.text.String()
}

// Client adds the condition for a client's rows, unless it is AllClients. Row-level security says the same: the two don't
// depend on each other.
func (c *Conditions) Client(client string) {
	if client != eventstore.AllClients {
		c.And("client_id = ?", client)
	}
}

// ReadList reads one page of a table's rows in a client's transaction, ascending by a position column: those after a
// position, at most limit. The checkpoint is read first.
func ReadList[T any](
	ctx context.Context, tenants *eventstore.Tenants, client string, spec Spec, table, order string,
	c *Conditions, after int64, limit int, position func(T) int64,
) (list List[T], err error) {
	c.Client(client)
	if after > 0 {
		c.And(order+" > ?", after)
	}
	rest := "FROM " + spec.Schema() + "." + table + c.Where() + " ORDER BY " + order + " LIMIT " + c.Arg(limit+1)
	err = tenants.ReadInOrder(ctx, client, func(ctx context.Context, q eventstore.Querier) error {
		if list.Position, err = Applied(ctx, q, spec); err != nil {
			return err
		}
		list.Items, err = Select[T](ctx, q, rest, c.Args...)
		return err
	})
	if err == nil {
		err = eventstore.OpenRows(ctx, tenants.Vault(), client, list.Items)
	}
	if err != nil {
		return List[T]{}, fmt.Errorf("list %s: %w", spec.Name, err)
	}
	if len(list.Items) > limit {
		list.Items = list.Items[:limit]
		list.Next = position(list.Items[limit-1])
	}
	return list, nil
}

// ReadOne reads the row with an id in a client's transaction, and the checkpoint before it. Without a row for the client
// it refuses with not-found, and gives the position that it looked at all the same.
func ReadOne[T any](
	ctx context.Context, tenants *eventstore.Tenants, client string, spec Spec, table, what string, id domain.ID,
) (row T, position int64, err error) {
	var c Conditions
	c.And("id = ?", id[:])
	c.Client(client)
	var rows []T
	err = tenants.Read(ctx, client, func(ctx context.Context, q eventstore.Querier) error {
		if position, err = Applied(ctx, q, spec); err != nil {
			return err
		}
		rows, err = Select[T](ctx, q, "FROM "+spec.Schema()+"."+table+c.Where(), c.Args...)
		return err
	})
	if err == nil {
		err = eventstore.OpenRows(ctx, tenants.Vault(), client, rows)
	}
	switch {
	case err != nil:
		return row, 0, fmt.Errorf("read from %s: %w", spec.Name, err)
	case len(rows) == 0:
		return row, position, domain.NotFound(what, id)
	}
	return rows[0], position, nil
}
