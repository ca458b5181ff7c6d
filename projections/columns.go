package projections

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// A read model's rows are structs whose fields name their columns:
//
//	ID     domain.ID     `db:"id,key"`          // part of the primary key
//	Price  domain.Amount `db:"price"`
//	DueOn  domain.Date   `db:"due_on,type=date"` // a string or a type that marshals as text, cast to the column's type
//
// Whole columns travel as one array each, in PostgreSQL's binary format, so that a statement writes a page at once.

// kind is how a column travels.
type kind int

const (
	kindUUID kind = iota
	kindInt8
	kindText
	kindBool
	kindTime
	kindJSON
	kindBytes
	kindCast // as text, cast in the statement
)

// wire gives the array's type in SQL and its elements' type in the binary format.
var wire = [...]struct {
	array string
	oid   uint32
}{
	kindUUID: {"uuid[]", 2950}, kindInt8: {"bigint[]", 20}, kindText: {"text[]", 25}, kindBool: {"boolean[]", 16},
	kindTime: {"timestamptz[]", 1184}, kindJSON: {"json[]", 114}, kindBytes: {"bytea[]", 17}, kindCast: {"text[]", 25},
}

// column is one column of a row struct.
type column struct {
	name  string
	index []int // of the field
	key   bool
	kind  kind
	cast  string // the column's type, for kindCast
}

// placeholder is the parameter that carries the column.
func (c column) placeholder(n int) string { return fmt.Sprintf("$%d::%s", n, wire[c.kind].array) }

// value is the column in the SELECT list over the unnested arrays.
func (c column) value(alias string) string {
	if c.kind == kindCast {
		return alias + "." + c.name + "::" + c.cast
	}
	return alias + "." + c.name
}

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	kinds         = map[reflect.Type]kind{
		reflect.TypeFor[domain.ID]():       kindUUID,
		reflect.TypeFor[time.Time]():       kindTime,
		reflect.TypeFor[json.RawMessage](): kindJSON,
		reflect.TypeFor[[]byte]():          kindBytes,
	}
)

// columnsOf reads the db tags of a row struct.
func columnsOf(row reflect.Type) ([]column, error) {
	if row.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%s is not a struct", row)
	}
	var columns []column
	for _, field := range reflect.VisibleFields(row) {
		tag, ok := field.Tag.Lookup("db")
		if !ok || field.Anonymous {
			continue
		}
		options := strings.Split(tag, ",")
		c := column{name: options[0], index: field.Index}
		for _, o := range options[1:] {
			switch {
			case o == "key":
				c.key = true
			case strings.HasPrefix(o, "type="):
				c.cast = strings.TrimPrefix(o, "type=")
			default:
				return nil, fmt.Errorf("%s.%s: unknown option %q", row, field.Name, o)
			}
		}
		if err := c.setKind(field.Type); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", row, field.Name, err)
		}
		columns = append(columns, c)
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("%s has no field with a db tag", row)
	}
	return columns, nil
}

func (c *column) setKind(t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if c.cast != "" {
		c.kind = kindCast
		if t.Kind() == reflect.String || t.Implements(textMarshaler) {
			return nil
		}
		return fmt.Errorf("a %s can't be written as text", t)
	}
	if k, ok := kinds[t]; ok {
		c.kind = k
		return nil
	}
	switch {
	case t == reflect.TypeFor[domain.Amount](), t == reflect.TypeFor[decimal.Decimal]():
		c.kind, c.cast = kindCast, "numeric"
	case t.Kind() == reflect.String:
		c.kind = kindText
	case t.Kind() == reflect.Bool:
		c.kind = kindBool
	case t.Kind() == reflect.Int64, t.Kind() == reflect.Int, t.Kind() == reflect.Int32:
		c.kind = kindInt8
	default:
		return fmt.Errorf("no column type for %s; name one with type=", t)
	}
	return nil
}

// encodeColumn appends an array in PostgreSQL's binary format. Values are pointers to fields; a nil pointer in a field is
// null.
func encodeColumn(buf []byte, k kind, values []any) []byte {
	if len(values) == 0 {
		return append(buf, 0, 0, 0, 0, 0, 0, 0, 0, byte(wire[k].oid>>24), byte(wire[k].oid>>16), byte(wire[k].oid>>8), byte(wire[k].oid))
	}
	buf = binary.BigEndian.AppendUint32(buf, 1) // dimensions
	flags := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, 0)
	buf = binary.BigEndian.AppendUint32(buf, wire[k].oid)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(values)))
	buf = binary.BigEndian.AppendUint32(buf, 1) // lower bound
	for _, v := range values {
		at := len(buf)
		buf = binary.BigEndian.AppendUint32(buf, 0)
		var null bool
		if buf, null = appendValue(buf, v); null {
			binary.BigEndian.PutUint32(buf[at:], ^uint32(0))
			buf[flags+3] = 1
			continue
		}
		binary.BigEndian.PutUint32(buf[at:], uint32(len(buf)-at-4))
	}
	return buf
}

// appendValue appends one element, which v points to. Common types come first; the rest is done by reflection.
func appendValue(buf []byte, v any) (out []byte, null bool) {
	switch v := v.(type) {
	case *domain.ID:
		return append(buf, v[:]...), false
	case *string:
		return append(buf, *v...), false
	case *int64:
		return binary.BigEndian.AppendUint64(buf, uint64(*v)), false
	case *time.Time:
		return binary.BigEndian.AppendUint64(buf, uint64(v.UnixMicro()-postgresEpoch)), false
	case *json.RawMessage:
		return append(buf, *v...), *v == nil
	case *[]byte:
		return append(buf, *v...), *v == nil
	case *domain.Amount:
		return append(buf, v.String()...), false
	case *decimal.Decimal:
		return append(buf, v.String()...), false
	}
	return appendReflected(buf, reflect.ValueOf(v).Elem())
}

func appendReflected(buf []byte, v reflect.Value) (out []byte, null bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return buf, true
		}
		return appendValue(buf, v.Interface())
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return buf, true // refused by the column if it must not be null
		}
		return append(buf, text...), false
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(buf, 1), false
		}
		return append(buf, 0), false
	case reflect.String:
		return append(buf, v.String()...), false
	default:
		return binary.BigEndian.AppendUint64(buf, uint64(v.Int())), false
	}
}

// scanTarget gives what rows.Scan needs to fill the field that v points to.
func scanTarget(v any) any {
	switch v.(type) {
	case *string, *int64, *bool, *int, *int32:
		return v
	}
	return fieldScanner{v}
}

// fieldScanner reads a column into the field that it points to.
type fieldScanner struct{ to any }

// Scan implements sql.Scanner.
func (f fieldScanner) Scan(src any) error {
	field := reflect.ValueOf(f.to).Elem()
	if field.Kind() == reflect.Pointer {
		if src == nil {
			field.SetZero()
			return nil
		}
		field.Set(reflect.New(field.Type().Elem()))
		return fieldScanner{field.Interface()}.Scan(src)
	}
	switch to := f.to.(type) {
	case *time.Time:
		t, ok := src.(time.Time)
		if !ok {
			return fmt.Errorf("a time can't be read from %T", src)
		}
		*to = t.UTC()
		return nil
	case *json.RawMessage:
		*to = append((*to)[:0:0], bytesOf(src)...)
		return nil
	case *[]byte:
		*to = append((*to)[:0:0], bytesOf(src)...)
		return nil
	case *domain.Amount:
		return to.UnmarshalJSON([]byte(`"` + string(bytesOf(src)) + `"`))
	case *decimal.Decimal:
		return to.Scan(src)
	case encoding.TextUnmarshaler:
		if t, ok := src.(time.Time); ok { // a date
			return to.UnmarshalText([]byte(t.Format(time.DateOnly)))
		}
		return to.UnmarshalText(bytesOf(src))
	}
	return scanReflected(field, src)
}

func scanReflected(field reflect.Value, src any) error {
	v := reflect.ValueOf(src)
	switch {
	case src == nil:
		return fmt.Errorf("null can't be read into %s", field.Type())
	case field.Kind() == reflect.String:
		if t, ok := src.(time.Time); ok { // a date
			src = t.Format(time.DateOnly)
		}
		field.SetString(string(bytesOf(src)))
	case v.CanConvert(field.Type()):
		field.Set(v.Convert(field.Type()))
	default:
		return fmt.Errorf("a %T can't be read into %s", src, field.Type())
	}
	return nil
}

func bytesOf(src any) []byte {
	switch s := src.(type) {
	case []byte:
		return s
	case string:
		return []byte(s)
	case nil:
		return nil
	default:
		return fmt.Append(nil, src)
	}
}

// JSON is a column of type json in a row struct, tagged type=json.
type JSON[T any] struct{ Value T }

// MarshalText writes the column's text.
func (j JSON[T]) MarshalText() ([]byte, error) { return json.Marshal(j.Value) }

// UnmarshalText reads the column's text.
func (j *JSON[T]) UnmarshalText(text []byte) error {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	j.Value = v
	return nil
}

// MarshalJSON writes the value itself.
func (j JSON[T]) MarshalJSON() ([]byte, error) { return json.Marshal(j.Value) }
