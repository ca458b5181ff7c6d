package projections

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/shopspring/decimal"

	"annals/domain"
)

// copyRows is how many new rows are worth a COPY: it takes two round trips more than an INSERT, and somewhat less time for
// each row.
const copyRows = 1000

// copier is a transaction that can COPY.
type copier interface {
	copyIn(ctx context.Context, query string, rows iter.Seq[[]driver.Value]) error
}

// ConnTx is the Executor of a rebuild: a transaction with the connection that it was begun on, which lets it COPY.
type ConnTx struct {
	*sql.Tx
	Conn *sql.Conn
}

// copyIn has the connection for itself until the COPY is over. Were it used in between, as by the rollback that database/sql
// sends by itself when a transaction's context ends, PostgreSQL and lib/pq would wait for each other for good. The end of ctx
// ends the rows.
func (tx ConnTx) copyIn(ctx context.Context, query string, rows iter.Seq[[]driver.Value]) error {
	err := tx.Conn.Raw(func(connection any) error {
		conn, ok := connection.(driver.ConnPrepareContext)
		if !ok {
			return fmt.Errorf("%T can't prepare", connection)
		}
		statement, err := conn.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		defer statement.Close() // it only fails with an error that came before
		n := 0
		for values := range rows {
			if n++; n%copyRows == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			//lint:ignore SA1019 lib/pq's COPY takes no context
			if _, err := statement.Exec(values); err != nil {
				return err
			}
		}
		//lint:ignore SA1019 as above
		_, err = statement.Exec(nil)
		return err
	})
	if err != nil && ctx.Err() != nil { // lib/pq says that the connection is bad
		return ctx.Err()
	}
	return err
}

// copyIn writes rows that the table doesn't have. It reports false, and has done nothing, when they are few or when the
// transaction can't COPY.
func (t *rowTable[R]) copyIn(ctx context.Context, tx Tx, rows []*R) (done bool, err error) {
	c, ok := tx.Executor.(copier)
	if !ok || len(rows) < copyRows {
		return false, nil
	}
	list := make([]string, len(t.columns))
	for i, c := range t.columns {
		list[i] = pq.QuoteIdentifier(c.name)
	}
	query := fmt.Sprintf("COPY %s.%s (%s) FROM STDIN",
		pq.QuoteIdentifier(tx.Schema), pq.QuoteIdentifier(t.name), strings.Join(list, ", "))
	err = c.copyIn(ctx, query, func(yield func([]driver.Value) bool) {
		values := make([]driver.Value, len(t.columns))
		for _, r := range rows {
			s := reflect.ValueOf(r).Elem()
			for i, c := range t.columns {
				values[i] = copyValue(s.FieldByIndex(c.index).Addr().Interface())
			}
			if !yield(values) {
				return
			}
		}
	})
	if err != nil {
		return false, fmt.Errorf("copy %d rows into %s: %w", len(rows), t.name, err)
	}
	return true, nil
}

// copyValue gives the field that v points to as lib/pq writes it for COPY: the same value that encodeColumn would send.
func copyValue(v any) any {
	switch v := v.(type) {
	case *domain.ID:
		return v.String()
	case *string:
		return *v
	case *int64:
		return *v
	case *time.Time:
		at := time.UnixMicro(v.UnixMicro()).UTC()
		if year := at.Year(); year < 1 || year > 9999 {
			return at // lib/pq knows how to write it
		}
		return at.Format(time.RFC3339Nano) // a fifth of the time that lib/pq's way takes
	case *json.RawMessage:
		if *v == nil {
			return nil
		}
		return string(*v)
	case *[]byte:
		if *v == nil {
			return nil
		}
		return *v
	case *domain.Amount:
		return v.String()
	case *decimal.Decimal:
		return v.String()
	}
	return copyReflected(reflect.ValueOf(v).Elem())
}

func copyReflected(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		return copyValue(v.Interface())
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return nil // refused by the column if it must not be null
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	default:
		return v.Int()
	}
}
