package integrity_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"annals/eventstore/integrity"
)

// reference is a tree as tlog keeps it: every hash.
type reference struct {
	hashes []tlog.Hash
	size   int64
}

func (r *reference) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = r.hashes[x]
	}
	return out, nil
}

func (r *reference) append(t interface{ Fatal(...any) }, leaf tlog.Hash) {
	more, err := tlog.StoredHashesForRecordHash(r.size, leaf, r)
	if err != nil {
		t.Fatal(err)
	}
	r.hashes, r.size = append(r.hashes, more...), r.size+1
}

func leafAt(i int64) tlog.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func TestEmptyTree(t *testing.T) {
	t.Parallel()
	var tree integrity.Tree
	want, err := tlog.TreeHash(0, &reference{})
	if err != nil || tree.Root() != want {
		t.Errorf("root %v, want %v: %v", tree.Root(), want, err)
	}
}

// The root is tlog's at every size, and tiles are what tlog has in them, also across the third level of tiles.
func TestTreeIsTlogs(t *testing.T) {
	t.Parallel()
	const size = 256*256 + 700
	var tree integrity.Tree
	ref := &reference{}
	tiles := 0
	for i := range int64(size) {
		ref.append(t, leafAt(i))
		tree.Append(leafAt(i), func(tile integrity.Tile) {
			tiles++
			want, err := tlog.ReadTileData(tlog.Tile{H: 8, L: tile.Level, N: tile.Index, W: 256}, ref)
			if err != nil || !bytes.Equal(tile.Hashes, want) {
				t.Fatalf("tile %d of level %d: %v", tile.Index, tile.Level, err)
			}
		})
		if i < 2000 || i%97 == 0 || i > size-600 {
			want, err := tlog.TreeHash(i+1, ref)
			if err != nil || tree.Root() != want {
				t.Fatalf("size %d: root %v, want %v: %v", i+1, tree.Root(), want, err)
			}
		}
	}
	if want := size/256 + 1; tiles != want || tree.Size() != size {
		t.Errorf("%d tiles, want %d; size %d", tiles, want, tree.Size())
	}
}

func TestTreeGoesOnFromItsEdge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.Int64Range(0, 700), 1, 8).Draw(t, "parts")
		whole, split := new(integrity.Tree), new(integrity.Tree)
		for _, n := range parts {
			for range n {
				whole.Append(leafAt(whole.Size()), nil)
				split.Append(leafAt(split.Size()), func(integrity.Tile) {})
			}
			leaves, nodes := split.Edge()
			var err error
			if split, err = integrity.OpenTree(split.Size(), leaves, nodes); err != nil {
				t.Fatal(err)
			}
			if whole.Root() != split.Root() {
				t.Fatalf("size %d: roots differ", whole.Size())
			}
		}
		leaves, nodes := split.Edge()
		for name, edge := range map[string][2][]byte{
			"more leaves": {append(slices.Clone(leaves), make([]byte, 32)...), nodes},
			"more nodes":  {leaves, append(slices.Clone(nodes), make([]byte, 32)...)},
			"an odd byte": {append(slices.Clone(leaves), 0), nodes},
		} {
			if _, err := integrity.OpenTree(split.Size(), edge[0], edge[1]); !errors.Is(err, integrity.ErrDamaged) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if _, err := integrity.OpenTree(split.Size()+1, leaves, nodes); !errors.Is(err, integrity.ErrDamaged) {
			t.Fatalf("another size: %v", err)
		}
	})
}

// Every proof verifies, and none does that was altered in any way.
func TestProofs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.Int64Range(1, 300).Draw(t, "to")
		from := rapid.Int64Range(1, to).Draw(t, "from")
		position := rapid.Int64Range(1, to).Draw(t, "position")
		ref := &reference{}
		for i := range to {
			ref.append(t, leafAt(i))
		}
		root := func(n int64) integrity.Checkpoint {
			h, err := tlog.TreeHash(n, ref)
			if err != nil {
				t.Fatal(err)
			}
			return integrity.Checkpoint{Origin: "o", Size: n, Root: h}
		}
		inclusion, err := tlog.ProveRecord(to, position-1, ref)
		if err != nil {
			t.Fatal(err)
		}
		consistency, err := tlog.ProveTree(to, from, ref)
		if err != nil {
			t.Fatal(err)
		}
		leaf := leafAt(position - 1)
		if err := integrity.VerifyInclusion(root(to), position, leaf, inclusion); err != nil {
			t.Fatal(err)
		}
		if err := integrity.VerifyConsistency(root(from), root(to), consistency); err != nil {
			t.Fatal(err)
		}
		wrong := func(name string, err error) {
			if !errors.Is(err, integrity.ErrProof) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		bad := root(to)
		bad.Root[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
		wrong("another root", integrity.VerifyInclusion(bad, position, leaf, inclusion))
		wrong("another leaf", integrity.VerifyInclusion(root(to), position, leafAt(-1), inclusion))
		wrong("beyond the end", integrity.VerifyInclusion(root(to), to+1, leaf, inclusion))
		wrong("position 0", integrity.VerifyInclusion(root(to), 0, leaf, inclusion))
		if from < to {
			wrong("another later root", integrity.VerifyConsistency(root(from), bad, consistency))
			wrong("backwards", integrity.VerifyConsistency(root(to), root(from), consistency))
		}
		other := root(from)
		other.Root[0] ^= 1
		wrong("another earlier root", integrity.VerifyConsistency(other, root(to), consistency))
		for i := range inclusion {
			altered := slices.Clone(inclusion)
			altered[i][0] ^= 1
			wrong("an altered hash", integrity.VerifyInclusion(root(to), position, leaf, altered))
			wrong("a missing hash", integrity.VerifyInclusion(root(to), position, leaf, slices.Delete(slices.Clone(inclusion), i, i+1)))
		}
		for i := range consistency {
			altered := slices.Clone(consistency)
			altered[i][0] ^= 1
			wrong("an altered hash", integrity.VerifyConsistency(root(from), root(to), altered))
		}
		wrong("a hash too many", integrity.VerifyInclusion(root(to), position, leaf, append(slices.Clone(inclusion), leaf)))
		wrong("a hash too many", integrity.VerifyConsistency(root(from), root(to), append(slices.Clone(consistency), leaf)))
	})
}

func TestAnythingContinuesNothing(t *testing.T) {
	t.Parallel()
	nothing, later := integrity.Checkpoint{Origin: "o"}, integrity.Checkpoint{Origin: "o", Size: 3}
	if err := integrity.VerifyConsistency(nothing, later, nil); err != nil {
		t.Error(err)
	}
	if err := integrity.VerifyConsistency(nothing, later, make([]integrity.Hash, 1)); !errors.Is(err, integrity.ErrProof) {
		t.Error(err)
	}
}
