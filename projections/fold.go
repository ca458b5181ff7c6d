package projections

import (
	"context"
	"fmt"
	"reflect"
)

// Outcome is what a step makes of a row.
type Outcome int

// What a step can make of a row.
const (
	Keep   Outcome = iota // the event doesn't concern the row: it stays as it was before the step
	Write                 // the row is as the step left it
	Delete                // the row ceases to exist
)

// FoldConfig defines a read model in which an event changes rows that are found by key.
type FoldConfig[K comparable, R any] struct {
	Spec Spec
	// Table holds the rows. R's fields name its columns in db tags; those tagged as key are the primary key, and a field
	// of type int64 is tagged last_position: the Fold keeps the position of the last event there that changed the row, and
	// an event at or before it changes nothing.
	Table string
	// Keys appends the keys of the rows that an event touches. K is the type of the key field, or a struct with a field
	// of the same type for each key field, in the same order.
	Keys func(e Event, keys []K) []K
	// Creates reports that an event is the first of the rows it touches, which are then not looked up. Nil: it never is.
	Creates func(e Event) bool
	// Step applies an event to a row. A row that doesn't exist comes with its keys set and everything else zero. Step
	// reads nothing but its arguments: no clock, no random source.
	Step func(key K, row *R, e Event) (Outcome, error)
}

// Fold is the Projector of a FoldConfig: a page's rows are loaded in one query, folded in memory, and written in one
// statement. It is safe for concurrent use.
type Fold[K comparable, R any] struct {
	FoldConfig[K, R]
	table  *rowTable[R]
	single bool // the key is a value, not a struct of values
}

// NewFold checks a definition. It fails when the row's or the key's type doesn't fit.
func NewFold[K comparable, R any](cfg FoldConfig[K, R]) (*Fold[K, R], error) {
	if err := cfg.Spec.Validate(); err != nil {
		return nil, err
	}
	table, err := newRowTable[R](cfg.Table)
	if err != nil {
		return nil, fmt.Errorf("projection %s: %w", cfg.Spec.Name, err)
	}
	if table.last == nil || reflect.TypeFor[R]().FieldByIndex(table.last).Type.Kind() != reflect.Int64 {
		return nil, fmt.Errorf("projection %s: %s needs an int64 field tagged %s",
			cfg.Spec.Name, reflect.TypeFor[R](), lastPosition)
	}
	f := &Fold[K, R]{FoldConfig: cfg, table: table}
	if err := f.checkKey(); err != nil {
		return nil, fmt.Errorf("projection %s: %w", cfg.Spec.Name, err)
	}
	return f, nil
}

// MustFold is NewFold for definitions in code; it panics on one that doesn't fit.
func MustFold[K comparable, R any](cfg FoldConfig[K, R]) *Fold[K, R] {
	f, err := NewFold(cfg)
	if err != nil {
		panic("projections: " + err.Error())
	}
	return f
}

func (f *Fold[K, R]) checkKey() error {
	key, row := reflect.TypeFor[K](), reflect.TypeFor[R]()
	if len(f.table.keys) == 1 && row.FieldByIndex(f.table.keys[0].index).Type == key {
		f.single = true
		return nil
	}
	if key.Kind() != reflect.Struct || key.NumField() != len(f.table.keys) {
		return fmt.Errorf("the key %s doesn't fit the key fields of %s", key, row)
	}
	for i, c := range f.table.keys {
		if t := row.FieldByIndex(c.index).Type; key.Field(i).Type != t {
			return fmt.Errorf("key field %d of %s is %s, the row's is %s", i, key, key.Field(i).Type, t)
		}
	}
	return nil
}

// newRow makes a row with its keys set.
func (f *Fold[K, R]) newRow(key K) *R {
	row := new(R)
	s, k := reflect.ValueOf(row).Elem(), reflect.ValueOf(&key).Elem()
	if f.single {
		s.FieldByIndex(f.table.keys[0].index).Set(k)
		return row
	}
	for i, c := range f.table.keys {
		s.FieldByIndex(c.index).Set(k.Field(i))
	}
	return row
}

// keyOf gives a row's key.
func (f *Fold[K, R]) keyOf(row *R) (key K) {
	s, k := reflect.ValueOf(row).Elem(), reflect.ValueOf(&key).Elem()
	if f.single {
		k.Set(s.FieldByIndex(f.table.keys[0].index))
		return key
	}
	for i, c := range f.table.keys {
		k.Field(i).Set(s.FieldByIndex(c.index))
	}
	return key
}

// Spec implements Projector.
func (f *Fold[K, R]) Spec() Spec { return f.FoldConfig.Spec }

// Apply implements Projector.
func (f *Fold[K, R]) Apply(ctx context.Context, tx Tx, page Page) error {
	b := f.newBuild()
	if err := b.Add(ctx, tx, page); err != nil {
		return err
	}
	return b.Merge(ctx, tx)
}

// NewBuild implements Bulk.
func (f *Fold[K, R]) NewBuild() Build {
	b := f.newBuild()
	b.begins = true
	return b
}

func (f *Fold[K, R]) newBuild() *foldBuild[K, R] {
	return &foldBuild[K, R]{fold: f, rows: make(map[K]*foldRow[R])}
}
