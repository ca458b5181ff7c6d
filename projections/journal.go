package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// JournalConfig defines a read model with one row per event.
type JournalConfig[R any] struct {
	Spec Spec
	// Table holds the rows. R's fields name its columns in db tags; those tagged as key are the primary key.
	Table string
	// Row makes an event's row; ok is false for an event that has none. It reads nothing but the event, and no two events
	// have the same key.
	Row func(e Event) (row R, ok bool, err error)
	// Repeats, unless nil, says that every event has a row and that the row repeats columns of the log: those of the same name,
	// or those given here by the row's column. Rows are then copied within the database, and Row makes the same.
	Repeats map[string]string
}

// Journal is the Projector of a JournalConfig: a page's rows are written in one statement. A row that exists is an error:
// pages are applied exactly once, so somebody else wrote it. It is safe for concurrent use.
type Journal[R any] struct {
	JournalConfig[R]
	table *rowTable[R]
	copy  *Copy
}

// NewJournal checks a definition. It fails when the row's type doesn't fit.
func NewJournal[R any](cfg JournalConfig[R]) (*Journal[R], error) {
	if err := cfg.Spec.Validate(); err != nil {
		return nil, err
	}
	table, err := newRowTable[R](cfg.Table)
	if err != nil {
		return nil, fmt.Errorf("projection %s: %w", cfg.Spec.Name, err)
	}
	j := &Journal[R]{JournalConfig: cfg, table: table}
	if cfg.Repeats != nil {
		if j.copy, err = newCopy(cfg.Spec, cfg.Table, table.columns, cfg.Repeats); err != nil {
			return nil, fmt.Errorf("projection %s: %w", cfg.Spec.Name, err)
		}
	}
	return j, nil
}

// MustJournal is NewJournal for definitions in code; it panics on one that doesn't fit.
func MustJournal[R any](cfg JournalConfig[R]) *Journal[R] {
	j, err := NewJournal(cfg)
	if err != nil {
		panic("projections: " + err.Error())
	}
	return j
}

// Spec implements Projector.
func (j *Journal[R]) Spec() Spec { return j.JournalConfig.Spec }

// Copy implements Copier.
func (j *Journal[R]) Copy() *Copy { return j.copy }

// Apply implements Projector.
func (j *Journal[R]) Apply(ctx context.Context, tx Tx, page Page) error {
	rows, err := j.rows(nil, page)
	if err != nil {
		return err
	}
	err = j.table.insert(ctx, tx, rows, conflictFails)
	var refused *pq.Error
	if errors.As(err, &refused) && refused.Code == pqerror.UniqueViolation {
		return fmt.Errorf("an event's row is there already: another writer made it, or the checkpoint was set back; a rebuild (annals replay %s) makes the rows anew: %w",
			j.JournalConfig.Spec.Name, err)
	}
	return err
}

func (j *Journal[R]) rows(rows []*R, page Page) ([]*R, error) {
	made := make([]R, 0, len(page.Events))
	for _, e := range page.Events {
		row, ok, err := j.Row(e)
		if err != nil {
			return nil, fmt.Errorf("position %d: %w", e.Position, err)
		}
		if ok {
			made = append(made, row)
			rows = append(rows, &made[len(made)-1])
		}
	}
	return rows, nil
}

// NewBuild implements Bulk.
func (j *Journal[R]) NewBuild() Build { return &journalBuild[R]{journal: j} }

type journalBuild[R any] struct {
	journal *Journal[R]
	rows    []*R
}

// Add implements Build. Rows never change, so that they are written as soon as they are worth a COPY.
func (b *journalBuild[R]) Add(ctx context.Context, tx Tx, page Page) (err error) {
	b.rows, err = b.journal.rows(b.rows, page)
	if err != nil || len(b.rows) < copyRows {
		return err
	}
	return b.Merge(ctx, tx)
}

// Merge implements Build.
func (b *journalBuild[R]) Merge(ctx context.Context, tx Tx) error {
	if err := b.journal.table.insert(ctx, tx, b.rows, conflictFails); err != nil {
		return err
	}
	clear(b.rows)
	b.rows = b.rows[:0]
	return nil
}
