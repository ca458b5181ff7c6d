package evidence

import (
	"context"
	"crypto/sha256"
	"errors"

	"annals/eventstore/integrity"
)

// chunk is the positions from+1 to to.
type chunk struct{ from, to int64 }

// positionNote is a finding about a position.
type positionNote struct {
	position int64
	detail   string
}

// chunkResult is what the database has of a chunk.
type chunkResult struct {
	chunk
	computed []integrity.Hash // by position, from the rows
	there    []bool           // whether there is a row that has a leaf
	tiles    map[int64][]byte // leaf hashes that were sealed, by tile
	suspects map[int64]*suspect
	findings []positionNote
}

// sealed is the leaf hash that was sealed of the i-th position.
func (c *chunkResult) sealed(i int64) (hash integrity.Hash, ok bool) {
	p := c.from + i
	hashes, at := c.tiles[p/tileWidth], int(p%tileWidth)*sha256.Size
	if len(hashes) < at+sha256.Size {
		return hash, false
	}
	return integrity.Hash(hashes[at : at+sha256.Size]), true
}

func (c *chunkResult) suspect(position int64) *suspect { return c.suspects[position] }

// read reads a chunk and computes its leaves. It is called by several goroutines at once.
func (v *databaseVerifier) read(ctx context.Context, c chunk) (chunkResult, error) {
	r := chunkResult{
		chunk: c, computed: make([]integrity.Hash, c.to-c.from), there: make([]bool, c.to-c.from),
		tiles: map[int64][]byte{}, suspects: map[int64]*suspect{},
	}
	sealed := min(c.to, v.stored.Size)
	err := v.source.Log.StoredTiles(ctx, 0, c.from/tileWidth, sealed/tileWidth, func(t integrity.Tile) {
		r.tiles[t.Index] = t.Hashes
	})
	if err != nil {
		return r, err
	}
	if open := v.stored.Size / tileWidth; c.from/tileWidth <= open && open*tileWidth < sealed {
		r.tiles[open] = v.stored.OpenLeaves
	}
	previous := c.from
	err = v.source.Records.Between(ctx, c.from, c.to, func(record integrity.Record) error {
		if record.Position == previous {
			r.findings = append(r.findings, positionNote{record.Position, "there is more than one event at this position"})
			return nil
		}
		previous = record.Position
		r.row(&record)
		return nil
	})
	return r, err
}

func (c *chunkResult) row(record *integrity.Record) {
	i := record.Position - c.from - 1
	sealed, isSealed := c.sealed(i)
	leaf, err := record.Leaf()
	if errors.Is(err, integrity.ErrLeafVersion) {
		if as := *record; isSealed {
			as.LeafVersion = 1
			if l, asErr := as.Leaf(); asErr == nil {
				if h, hashErr := l.Hash(); hashErr == nil && h == sealed {
					c.findings = append(c.findings, positionNote{record.Position, "leaf_version is another one than the one that was sealed; nothing else is changed"})
					c.computed[i], c.there[i] = h, true
					return
				}
			}
		}
	}
	if err == nil {
		c.computed[i], err = leaf.Hash()
	}
	if c.there[i] = err == nil; err != nil || isSealed && sealed != c.computed[i] {
		c.suspects[record.Position] = &suspect{position: record.Position, leaf: leaf, computed: c.computed[i], err: err}
	}
}
