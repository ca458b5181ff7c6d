package integrity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/lib/pq"
)

// Executor is the transaction that records are sealed in.
type Executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// GapError says that the records to be sealed don't continue the tree.
type GapError struct {
	Sealed   int64 // the tree's size: the position sealed last
	Position int64 // that came instead of the one after
}

// Error implements error.
func (e *GapError) Error() string {
	if e.Position <= e.Sealed {
		return fmt.Sprintf("position %d is sealed already: the tree reaches to %d", e.Position, e.Sealed)
	}
	return fmt.Sprintf("position %d is missing: the tree reaches to %d, and position %d came next",
		e.Sealed+1, e.Sealed, e.Position)
}

// Seal adds records to the tree, in order and without a gap, in the caller's transaction: what it wrote becomes visible
// with the commit or not at all, and concurrent calls wait for it. It checks first that the stored edge has the stored
// root, and fails with ErrDamaged when it hasn't; with GapError, ErrLeaf or ErrLeafVersion for records that can't be
// sealed. After an error the transaction must be rolled back.
func Seal(ctx context.Context, tx Executor, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	hashes, hashErr := leafHashes(records)
	tree, _, err := readTree(ctx, tx, "FOR UPDATE")
	if err != nil {
		return fmt.Errorf("read the Merkle tree: %w", err)
	}
	for i, r := range records {
		if sealed := tree.Size() + int64(i); r.Position != sealed+1 {
			return &GapError{Sealed: sealed, Position: r.Position}
		}
	}
	if hashErr != nil {
		return hashErr
	}
	var full []Tile
	for _, hash := range hashes {
		tree.Append(hash, func(t Tile) { full = append(full, t) })
	}
	if err := writeTiles(ctx, tx, full); err != nil {
		return fmt.Errorf("write tiles: %w", err)
	}
	if err := writeTree(ctx, tx, tree, len(full) > 0); err != nil {
		return fmt.Errorf("write the Merkle tree: %w", err)
	}
	return nil
}

// parallelHash is how many records are worth a second goroutine.
const parallelHash = 256

// leafHashes gives the hash of each record's leaf.
func leafHashes(records []Record) ([]Hash, error) {
	hashes := make([]Hash, len(records))
	if len(records) < parallelHash || runtime.GOMAXPROCS(0) == 1 {
		return hashes, hashInto(hashes, records)
	}
	middle := len(records) / 2
	var rest error
	var wg sync.WaitGroup
	wg.Go(func() { rest = hashInto(hashes[middle:], records[middle:]) })
	err := hashInto(hashes[:middle], records[:middle])
	wg.Wait()
	return hashes, errors.Join(err, rest)
}

func hashInto(hashes []Hash, records []Record) error {
	var leaf Leaf
	var err error
	var stored, line []byte
	for i := range records {
		if leaf, stored, err = records[i].leaf(stored); err != nil {
			return err
		}
		if hashes[i], line, err = leaf.hash(line); err != nil {
			return err
		}
	}
	return nil
}

// readTree reads the stored tree and checks that its edge has its root.
func readTree(ctx context.Context, db Executor, lock string) (tree *Tree, root Hash, err error) {
	rows, err := db.QueryContext(ctx, `SELECT size, root, open_leaves, open_nodes FROM annals.integrity_log `+lock)
	if err != nil {
		return nil, Hash{}, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, Hash{}, errors.Join(fmt.Errorf("%w: its row is gone", ErrDamaged), rows.Err())
	}
	var size int64
	var stored, leaves, nodes sql.RawBytes
	if err := rows.Scan(&size, &stored, &leaves, &nodes); err != nil {
		return nil, Hash{}, err
	}
	if tree, err = OpenTree(size, leaves, nodes); err != nil {
		return nil, Hash{}, err
	}
	if root = tree.Root(); string(stored) != string(root[:]) {
		return nil, Hash{}, fmt.Errorf("%w: at size %d the edge's root is %v, and %x is stored", ErrDamaged, size, root, []byte(stored))
	}
	return tree, root, rows.Close()
}

// writeTiles inserts full tiles in one statement, their hashes as one binary value.
func writeTiles(ctx context.Context, tx Executor, tiles []Tile) error {
	if len(tiles) == 0 {
		return nil
	}
	levels, indexes := make([]int64, len(tiles)), make([]int64, len(tiles))
	hashes := make([]byte, 0, len(tiles)*TileBytes)
	for i, t := range tiles {
		levels[i], indexes[i] = int64(t.Level), t.Index
		hashes = append(hashes, t.Hashes...)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO annals.integrity_tiles (level, index, hashes)
		SELECT t.level, t.index, substring($3::bytea FROM ((t.n - 1) * 8192 + 1)::integer FOR 8192)
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS t(level, index, n)`,
		pq.Array(levels), pq.Array(indexes), hashes)
	return err
}

// writeTree writes the tree's row. The open tiles above the leaves change only when a leaf tile got full: otherwise their
// column is left as it is, which saves writing it.
func writeTree(ctx context.Context, tx Executor, tree *Tree, filled bool) error {
	root := tree.Root()
	leaves, nodes := tree.Edge()
	set, args := `size = $1, root = $2, open_leaves = $3`, []any{tree.Size(), root[:], leaves}
	if filled {
		set, args = set+`, open_nodes = $4`, append(args, nodes)
	}
	_, err := tx.ExecContext(ctx, `UPDATE annals.integrity_log SET `+set, args...)
	return err
}
