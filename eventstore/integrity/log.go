package integrity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"golang.org/x/mod/sumdb/tlog"
)

// Reasons why something isn't served.
var (
	// ErrNotSealed: the tree hasn't reached that size or tile.
	ErrNotSealed = errors.New("the tree doesn't reach there")
	// ErrNoCheckpoint: there is no such signed checkpoint, or none yet.
	ErrNoCheckpoint = errors.New("there is no such signed checkpoint")
)

// Log reads the tree, its checkpoints and keys. It holds nothing of clients but hashes.
type Log struct{ db *sqlx.DB }

// NewLog makes a reader over a pool whose sessions have the role annals_app.
func NewLog(db *sqlx.DB) *Log { return &Log{db: db} }

// View is the tree as it was at one moment. Full tiles never change, so that it can be read from later.
type View struct {
	log  *Log
	tree *Tree
	root Hash
}

// View reads the tree as it is now. It fails with ErrDamaged when what is stored contradicts itself.
func (l *Log) View(ctx context.Context) (*View, error) {
	tree, root, err := readTree(ctx, l.db, "")
	if err != nil {
		return nil, fmt.Errorf("read the Merkle tree: %w", err)
	}
	return &View{log: l, tree: tree, root: root}, nil
}

// Size is the number of leaves: the position sealed last.
func (v *View) Size() int64 { return v.tree.Size() }

// Root is the root hash over all leaves.
func (v *View) Root() Hash { return v.root }

// Hashes gives the tree's stored hashes by their index. Each tile that is read is checked against the root: one that was
// changed is an error.
func (v *View) Hashes(ctx context.Context) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: v.Size(), Hash: v.root}, &tileReader{ctx: ctx, view: v})
}

// RootAt is the root hash that the tree had at a size. It fails with ErrNotSealed beyond this tree's.
func (v *View) RootAt(ctx context.Context, size int64) (Hash, error) {
	if size < 0 || size > v.Size() {
		return Hash{}, ErrNotSealed
	}
	root, err := tlog.TreeHash(size, v.Hashes(ctx))
	if err != nil {
		return Hash{}, fmt.Errorf("compute the root at %d: %w", size, err)
	}
	return root, nil
}

// tileReader is tlog.TileReader over the stored tiles and the edge.
type tileReader struct {
	ctx  context.Context
	view *View
}

// Height implements tlog.TileReader.
func (*tileReader) Height() int { return tileHeight }

// SaveTiles implements tlog.TileReader: they come from the store.
func (*tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements tlog.TileReader.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	var levels, indexes []int64
	var at []int
	for i, t := range tiles {
		if open := r.view.openTile(t.L, t.N, t.W); open != nil {
			data[i] = open
			continue
		}
		levels, indexes, at = append(levels, int64(t.L)), append(indexes, t.N), append(at, i)
	}
	if len(at) == 0 {
		return data, nil
	}
	rows, err := r.view.log.db.QueryContext(r.ctx, `
		SELECT w.n, t.hashes FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w(level, index, n)
		JOIN annals.integrity_tiles t ON t.level = w.level AND t.index = w.index`, pq.Array(levels), pq.Array(indexes))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var hashes []byte
		if err := rows.Scan(&n, &hashes); err != nil {
			return nil, err
		}
		i := at[n-1]
		if len(hashes) != TileBytes {
			return nil, fmt.Errorf("%w: tile %d of level %d has %d bytes", ErrDamaged, tiles[i].N, tiles[i].L, len(hashes))
		}
		data[i] = hashes[:tiles[i].W*tlog.HashSize]
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i, d := range data {
		if d == nil {
			return nil, fmt.Errorf("%w: tile %d of level %d is missing", ErrDamaged, tiles[i].N, tiles[i].L)
		}
	}
	return data, nil
}

// openTile gives the first width hashes of the open tile of a level, nil when that isn't the tile or it has fewer.
func (v *View) openTile(level int, index int64, width int) []byte {
	if index != v.Size()>>((level+1)*tileHeight) || width*tlog.HashSize > len(v.tree.open[level]) {
		return nil
	}
	return v.tree.open[level][:width*tlog.HashSize]
}

// Tile gives the first width hashes (1 to 256) of a tile, as C2SP tlog-tiles has them: the level counts tiles, eight
// levels of the tree each. It fails with ErrNotSealed for one that the tree hasn't reached.
func (l *Log) Tile(ctx context.Context, level int, index int64, width int) ([]byte, error) {
	v, err := l.View(ctx)
	if err != nil {
		return nil, err
	}
	if level < 0 || level >= maxTileLevels || index < 0 || width < 1 || width > tileWidth {
		return nil, ErrNotSealed
	}
	count := v.Size() >> (level * tileHeight) // hashes of the level
	if index > count>>tileHeight || index*tileWidth+int64(width) > count {
		return nil, ErrNotSealed
	}
	data, err := (&tileReader{ctx: ctx, view: v}).ReadTiles([]tlog.Tile{{H: tileHeight, L: level, N: index, W: width}})
	if err != nil {
		return nil, fmt.Errorf("read a tile: %w", err)
	}
	return data[0], nil
}

// SignedCheckpoint is a checkpoint with its note.
type SignedCheckpoint struct {
	Size     int64     `json:"size"`
	Root     Hash      `json:"root"`
	Note     string    `json:"note"` // C2SP signed note
	SignedAt time.Time `json:"signed_at"`
}

const selectCheckpoints = `SELECT size, root, note, signed_at FROM annals.integrity_checkpoints `

func readCheckpoints(ctx context.Context, db Executor, query string, args ...any) ([]SignedCheckpoint, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	defer rows.Close()
	var list []SignedCheckpoint
	for rows.Next() {
		var c SignedCheckpoint
		var root []byte
		if err := rows.Scan(&c.Size, &root, &c.Note, &c.SignedAt); err != nil {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
		if len(root) != tlog.HashSize {
			return nil, fmt.Errorf("%w: the checkpoint at %d has a root of %d bytes", ErrDamaged, c.Size, len(root))
		}
		c.Root, c.SignedAt = Hash(root), c.SignedAt.UTC()
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return list, nil
}

func oneCheckpoint(ctx context.Context, db Executor, query string, args ...any) (SignedCheckpoint, error) {
	list, err := readCheckpoints(ctx, db, query, args...)
	if err != nil {
		return SignedCheckpoint{}, err
	}
	if len(list) == 0 {
		return SignedCheckpoint{}, ErrNoCheckpoint
	}
	return list[0], nil
}

// Latest is the newest signed checkpoint, or ErrNoCheckpoint.
func (l *Log) Latest(ctx context.Context) (SignedCheckpoint, error) {
	return oneCheckpoint(ctx, l.db, selectCheckpoints+`ORDER BY size DESC LIMIT 1`)
}

// CheckpointAt is the signed checkpoint of a size, or ErrNoCheckpoint: not each size was signed, nor is each kept.
func (l *Log) CheckpointAt(ctx context.Context, size int64) (SignedCheckpoint, error) {
	return oneCheckpoint(ctx, l.db, selectCheckpoints+`WHERE size = $1`, size)
}

// Checkpoints lists at most limit signed checkpoints above a size, smallest first.
func (l *Log) Checkpoints(ctx context.Context, after int64, limit int) ([]SignedCheckpoint, error) {
	return readCheckpoints(ctx, l.db, selectCheckpoints+`WHERE size > $1 ORDER BY size LIMIT $2`, after, limit)
}

// Inclusion proves that a leaf is in the tree of a size.
type Inclusion struct {
	Position int64
	Size     int64  // of the tree
	Root     Hash   // of the tree
	LeafHash Hash   // as the tree has it
	Hashes   []Hash // the audit path, RFC 6962 section 2.1.1
}

// Inclusion proves a position in the tree of a size. It fails with ErrNotSealed unless 1 ≤ position ≤ size ≤ the tree's.
func (l *Log) Inclusion(ctx context.Context, position, size int64) (Inclusion, error) {
	v, err := l.View(ctx)
	if err != nil {
		return Inclusion{}, err
	}
	if position < 1 || position > size || size > v.Size() {
		return Inclusion{}, ErrNotSealed
	}
	reader := v.Hashes(ctx)
	proof, err := tlog.ProveRecord(size, position-1, reader)
	if err != nil {
		return Inclusion{}, fmt.Errorf("prove position %d: %w", position, err)
	}
	leaf, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, position-1)})
	if err != nil {
		return Inclusion{}, fmt.Errorf("prove position %d: %w", position, err)
	}
	root, err := v.RootAt(ctx, size)
	if err != nil {
		return Inclusion{}, err
	}
	return Inclusion{Position: position, Size: size, Root: root, LeafHash: leaf[0], Hashes: proof}, nil
}

// Consistency proves that a tree continues an earlier one.
type Consistency struct {
	From, To         int64 // sizes
	FromRoot, ToRoot Hash
	Hashes           []Hash // RFC 6962 section 2.1.2
}

// Consistency proves that the tree of size to continues that of size from. It fails with ErrNotSealed unless 1 ≤ from ≤ to
// ≤ the tree's size.
func (l *Log) Consistency(ctx context.Context, from, to int64) (Consistency, error) {
	v, err := l.View(ctx)
	if err != nil {
		return Consistency{}, err
	}
	return v.consistency(ctx, from, to)
}

func (v *View) consistency(ctx context.Context, from, to int64) (c Consistency, err error) {
	if from < 1 || from > to || to > v.Size() {
		return Consistency{}, ErrNotSealed
	}
	c = Consistency{From: from, To: to}
	if c.Hashes, err = tlog.ProveTree(to, from, v.Hashes(ctx)); err != nil {
		return Consistency{}, fmt.Errorf("prove that size %d continues %d: %w", to, from, err)
	}
	if c.FromRoot, err = v.RootAt(ctx, from); err != nil {
		return Consistency{}, err
	}
	c.ToRoot, err = v.RootAt(ctx, to)
	return c, err
}

// Size is the tree's size now: the position sealed last.
func (l *Log) Size(ctx context.Context) (size int64, err error) {
	if err = l.db.GetContext(ctx, &size, `SELECT size FROM annals.integrity_log`); err != nil {
		return 0, fmt.Errorf("read the Merkle tree's size: %w", err)
	}
	return size, nil
}

// Origin names the log in checkpoints.
func (l *Log) Origin(ctx context.Context) (string, error) {
	origin, _, err := readOrigin(ctx, l.db)
	return origin, err
}

func readOrigin(ctx context.Context, db Executor) (origin, logID string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT origin, log_id::text FROM annals.integrity_log`)
	if err != nil {
		return "", "", fmt.Errorf("read the log's name: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return "", "", errors.Join(fmt.Errorf("%w: its row is gone", ErrDamaged), rows.Err())
	}
	if err := rows.Scan(&origin, &logID); err != nil {
		return "", "", fmt.Errorf("read the log's name: %w", err)
	}
	return origin, logID, rows.Close()
}

var _ Executor = (*sql.Tx)(nil)
