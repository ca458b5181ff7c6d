package integrity

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// The tiles of C2SP tlog-tiles: 256 hashes of one level, of which each level of tiles skips eight of the tree's.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// TileBytes is the size of a full tile.
	TileBytes = tileWidth * tlog.HashSize
	// maxTileLevels is how many levels of tiles positions of 63 bits can need.
	maxTileLevels = 8
)

// ErrDamaged says that what is stored of the tree contradicts itself: it was changed by something else than sealing.
var ErrDamaged = errors.New("the stored Merkle tree is damaged")

// Tile is a full tile: the 256 hashes from Index·256 on of a level.
type Tile struct {
	Level  int
	Index  int64
	Hashes []byte
}

// Tree is a Merkle tree that grows, of which the open edge alone is kept: at each level of tiles the hashes that aren't
// part of a full one. The zero Tree is empty. It recomputes roots from leaves, for those who seal and those who verify.
type Tree struct {
	size int64
	open [maxTileLevels][]byte
}

// OpenTree gives the tree that edge was the edge of: the hashes of the open leaf tile and of the open tiles above it,
// lowest first. It fails with ErrDamaged when they aren't as many as the size demands.
func OpenTree(size int64, leaves, nodes []byte) (*Tree, error) {
	if size < 0 {
		return nil, fmt.Errorf("%w: its size is %d", ErrDamaged, size)
	}
	t := &Tree{size: size}
	rest := nodes
	for level := range t.open {
		want := int(size>>(level*tileHeight)) & (tileWidth - 1) * tlog.HashSize
		from := &rest
		if level == 0 {
			from = &leaves
		}
		if len(*from) < want {
			return nil, fmt.Errorf("%w: level %d has too few hashes for size %d", ErrDamaged, level, size)
		}
		t.open[level] = append(make([]byte, 0, TileBytes), (*from)[:want]...)
		*from = (*from)[want:]
	}
	if len(leaves)+len(rest) > 0 {
		return nil, fmt.Errorf("%w: there are more hashes than size %d has", ErrDamaged, size)
	}
	return t, nil
}

// Size is the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Edge gives the open tiles for OpenTree: the leaves', and those above, lowest first.
func (t *Tree) Edge() (leaves, nodes []byte) {
	for _, hashes := range t.open[1:] {
		nodes = append(nodes, hashes...)
	}
	return append([]byte{}, t.open[0]...), append([]byte{}, nodes...)
}

// Append adds a leaf. full is called with each tile that it completes, lowest first, whose memory it may keep; nil: nobody
// wants them.
func (t *Tree) Append(leaf Hash, full func(Tile)) {
	index := t.size
	t.size++
	hash := leaf
	for level := range t.open {
		if t.open[level] == nil {
			t.open[level] = make([]byte, 0, TileBytes)
		}
		t.open[level] = append(t.open[level], hash[:]...)
		if len(t.open[level]) < TileBytes {
			return
		}
		index >>= tileHeight
		tile := Tile{Level: level, Index: index, Hashes: t.open[level]}
		hash = perfectRoot(tile.Hashes)
		if t.open[level] = nil; full == nil {
			t.open[level] = tile.Hashes[:0]
			continue
		}
		full(tile)
	}
}

// perfectRoot is the root over hashes whose number is a power of two.
func perfectRoot(hashes []byte) Hash {
	if len(hashes) == tlog.HashSize {
		return Hash(hashes)
	}
	half := len(hashes) / 2
	return tlog.NodeHash(perfectRoot(hashes[:half]), perfectRoot(hashes[half:]))
}

// Root is the root hash over all leaves (RFC 6962, section 2.1).
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	var root Hash
	first := true
	// From the right: within a level the smallest perfect subtree is the last.
	for level := range t.open {
		hashes := t.open[level]
		for width := tlog.HashSize; len(hashes) > 0; width *= 2 {
			if len(hashes)&width == 0 {
				continue
			}
			left := perfectRoot(hashes[len(hashes)-width:])
			hashes = hashes[:len(hashes)-width]
			if first {
				root, first = left, false
				continue
			}
			root = tlog.NodeHash(left, root)
		}
	}
	return root
}
