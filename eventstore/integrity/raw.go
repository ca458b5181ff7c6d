package integrity

import (
	"context"
	"fmt"
)

// StoredLog is the tree's row as it is stored, unchecked, for those who verify it.
type StoredLog struct {
	Origin     string
	Size       int64
	Root       []byte
	OpenLeaves []byte // hashes of the open leaf tile
	OpenNodes  []byte // of the open tiles above it, lowest first
}

// Stored reads the tree's row as it is stored. It fails with ErrDamaged when it is gone.
func (l *Log) Stored(ctx context.Context) (s StoredLog, err error) {
	rows, err := l.db.QueryContext(ctx, `SELECT origin, size, root, open_leaves, open_nodes FROM annals.integrity_log`)
	if err != nil {
		return s, fmt.Errorf("read the Merkle tree's row: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return s, fmt.Errorf("read the Merkle tree's row: %w", err)
		}
		return s, fmt.Errorf("%w: its row is gone", ErrDamaged)
	}
	if err := rows.Scan(&s.Origin, &s.Size, &s.Root, &s.OpenLeaves, &s.OpenNodes); err != nil {
		return s, fmt.Errorf("read the Merkle tree's row: %w", err)
	}
	return s, nil
}

// StoredTiles calls yield with the stored full tiles of a level with first <= index < end, in order, unchecked.
func (l *Log) StoredTiles(ctx context.Context, level int, first, end int64, yield func(Tile)) error {
	rows, err := l.db.QueryContext(ctx, `SELECT index, hashes FROM annals.integrity_tiles
		WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index`, level, first, end)
	if err != nil {
		return fmt.Errorf("read tiles: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		tile := Tile{Level: level}
		if err := rows.Scan(&tile.Index, &tile.Hashes); err != nil {
			return fmt.Errorf("read tiles: %w", err)
		}
		yield(tile)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read tiles: %w", err)
	}
	return nil
}

// StrayTiles counts the stored tiles that neither a tree of a size nor the stored one has, which may have grown since.
func (l *Log) StrayTiles(ctx context.Context, size int64) (n int64, err error) {
	err = l.db.GetContext(ctx, &n, `
		SELECT count(*) FROM annals.integrity_tiles WHERE index < 0 OR level < 0 OR level > 7
			OR index >= greatest($1::bigint, (SELECT max(size) FROM annals.integrity_log)) >> ((level + 1) * 8)`, size)
	if err != nil {
		return 0, fmt.Errorf("count tiles: %w", err)
	}
	return n, nil
}

// KeptCheckpoints lists the signed checkpoints of rotations up to a size, smallest first.
func (l *Log) KeptCheckpoints(ctx context.Context, upTo int64) ([]SignedCheckpoint, error) {
	return readCheckpoints(ctx, l.db, selectCheckpoints+`WHERE kept AND size <= $1 ORDER BY size`, upTo)
}
