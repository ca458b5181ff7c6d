package evidence

import (
	"crypto/sha256"
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"annals/eventstore/integrity"
)

// node is a perfect subtree: the 2^level leaves from index·2^level on.
type node struct {
	level int
	index int64
}

func (n node) begin() int64 { return n.index << n.level }
func (n node) end() int64   { return (n.index + 1) << n.level }

// cover adds the largest perfect subtrees that make up the leaves [begin, end), from left to right.
func cover(nodes []node, begin, end int64) []node {
	for begin < end {
		level := bits.Len64(uint64(end-begin)) - 1
		if begin > 0 {
			level = min(level, bits.TrailingZeros64(uint64(begin)))
		}
		nodes = append(nodes, node{level, begin >> level})
		begin += 1 << level
	}
	return nodes
}

// frontier is a tree that grows on the right by leaves and perfect subtrees; it keeps the roots of the perfect subtrees
// that its size is the sum of. The zero frontier is the empty tree.
type frontier struct {
	size  int64
	roots []rooted
}

type rooted struct {
	level int
	hash  integrity.Hash
}

var errUnaligned = errors.New("a subtree is not where it belongs")

// add appends a perfect subtree. It fails when the size isn't a multiple of the subtree's.
func (f *frontier) add(level int, hash integrity.Hash) error {
	if level < 0 || level > 62 || f.size&(1<<level-1) != 0 || f.size > 1<<62-1<<level {
		return errUnaligned
	}
	f.size += 1 << level
	for n := len(f.roots); n > 0 && f.roots[n-1].level == level; n-- {
		hash = tlog.NodeHash(f.roots[n-1].hash, hash)
		level++
		f.roots = f.roots[:n-1]
	}
	f.roots = append(f.roots, rooted{level, hash})
	return nil
}

// leaf appends one leaf.
func (f *frontier) leaf(hash integrity.Hash) { _ = f.add(0, hash) } // a leaf fits everywhere

// root is the root hash over all leaves (RFC 6962, section 2.1).
func (f *frontier) root() integrity.Hash {
	if len(f.roots) == 0 {
		return sha256.Sum256(nil)
	}
	root := f.roots[len(f.roots)-1].hash
	for i := len(f.roots) - 2; i >= 0; i-- {
		root = tlog.NodeHash(f.roots[i].hash, root)
	}
	return root
}

// clone gives a copy that grows on its own.
func (f *frontier) clone() *frontier {
	return &frontier{size: f.size, roots: append([]rooted(nil), f.roots...)}
}
