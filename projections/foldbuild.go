package projections

import (
	"context"
	"fmt"
)

// cachedRows bounds the rows that a build keeps in memory between merges: at most twice as many, beside those that
// changed since the last merge.
const cachedRows = 250_000

// foldRow is a row in memory.
type foldRow[R any] struct {
	row    *R
	stored bool // the table may have it
	exists bool // it exists after the events so far
	dirty  bool // it must be written
}

// foldBuild folds events into rows in memory. Apply uses one for each page, a rebuild one for the whole log.
type foldBuild[K comparable, R any] struct {
	fold  *Fold[K, R]
	rows  map[K]*foldRow[R]
	old   map[K]*foldRow[R] // not touched for a while: the next to be dropped
	dirty []*foldRow[R]     // in the order of their first change
	// fresh: the tables began empty and every row ever stored is in memory, so that nothing needs to be looked up.
	fresh  bool
	begins bool // the next page is the first of a rebuild: after position 0 the tables are empty
	keys   []K  // of the page's events, one after the other
}

// Add implements Build.
func (b *foldBuild[K, R]) Add(ctx context.Context, tx Tx, page Page) error {
	if b.begins {
		b.begins, b.fresh = false, page.From == 0
	}
	b.keys = b.keys[:0]
	ends := make([]int, len(page.Events))
	var missing []*R
	for i, e := range page.Events {
		from := len(b.keys)
		b.keys = b.fold.Keys(e, b.keys)
		ends[i] = len(b.keys)
		creates := b.fold.Creates != nil && b.fold.Creates(e)
		for _, key := range b.keys[from:] {
			if b.find(key) != nil {
				continue
			}
			// A row that is looked up and not found is new; only a creating event leaves that open.
			r := &foldRow[R]{row: b.fold.newRow(key), stored: !b.fresh && creates}
			b.rows[key] = r
			if !b.fresh && !creates {
				missing = append(missing, r.row)
			}
		}
	}
	if len(missing) > 0 {
		err := b.fold.table.load(ctx, tx, missing, func(row *R) {
			b.rows[b.fold.keyOf(row)] = &foldRow[R]{row: row, stored: true, exists: true}
		})
		if err != nil {
			return err
		}
	}
	from := 0
	for i, e := range page.Events {
		for _, key := range b.keys[from:ends[i]] {
			if err := b.step(key, e); err != nil {
				return fmt.Errorf("position %d: %w", e.Position, err)
			}
		}
		from = ends[i]
	}
	return nil
}

// find gives a row that is in memory.
func (b *foldBuild[K, R]) find(key K) *foldRow[R] {
	if r := b.rows[key]; r != nil {
		return r
	}
	r := b.old[key]
	if r != nil {
		b.rows[key] = r
		delete(b.old, key)
	}
	return r
}

func (b *foldBuild[K, R]) step(key K, e Event) error {
	r := b.rows[key]
	if *b.fold.table.position(r.row) >= e.Position {
		return nil // applied before
	}
	before := *r.row
	outcome, err := b.fold.Step(key, r.row, e)
	if err != nil {
		return err
	}
	switch outcome {
	case Keep:
		*r.row = before
		return nil
	case Write:
		r.exists = true
		*b.fold.table.position(r.row) = e.Position
	case Delete:
		r.exists = false
		*r.row = *b.fold.newRow(key)
	}
	if !r.dirty {
		r.dirty = true
		b.dirty = append(b.dirty, r)
	}
	return nil
}

// Merge implements Build.
func (b *foldBuild[K, R]) Merge(ctx context.Context, tx Tx) error {
	var inserts, upserts, deletes []*R
	for _, r := range b.dirty {
		switch {
		case r.exists && r.stored:
			upserts = append(upserts, r.row)
		case r.exists:
			inserts = append(inserts, r.row)
		case r.stored:
			deletes = append(deletes, r.row)
		}
	}
	table := b.fold.table
	if err := table.remove(ctx, tx, deletes); err != nil {
		return err
	}
	if err := table.insert(ctx, tx, inserts, conflictFails); err != nil {
		return err
	}
	if err := table.insert(ctx, tx, upserts, conflictUpdates); err != nil {
		return err
	}
	for _, r := range b.dirty {
		r.dirty, r.stored = false, r.exists
	}
	b.dirty = b.dirty[:0]
	if len(b.rows) > cachedRows {
		if len(b.old) > 0 {
			b.fresh = false // rows are dropped that the table has
		}
		b.old, b.rows = b.rows, make(map[K]*foldRow[R])
	}
	return nil
}
