package integrity_test

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"annals/eventstore/integrity"
)

func TestStoredProofs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ref := &reference{}
	for _, r := range recordsFrom(0, 1500) {
		leaf, err := r.Leaf()
		check(t, err)
		hash, err := leaf.Hash()
		check(t, err)
		ref.append(t, hash)
	}
	for _, size := range []int64{1, 2, 255, 256, 257, 700, 1500} {
		b.seal(size)
	}
	ctx := context.Background()
	root := func(t *rapid.T, size int64) integrity.Checkpoint {
		h, err := tlog.TreeHash(size, ref)
		if err != nil {
			t.Fatal(err)
		}
		return integrity.Checkpoint{Origin: "o", Size: size, Root: h}
	}
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.Int64Range(1, 1500).Draw(t, "to")
		from := rapid.Int64Range(1, to).Draw(t, "from")
		position := rapid.Int64Range(1, to).Draw(t, "position")
		inclusion, err := b.log.Inclusion(ctx, position, to)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ref.ReadHashes([]int64{tlog.StoredHashIndex(0, position-1)})
		if err != nil || inclusion.LeafHash != want[0] || inclusion.Root != root(t, to).Root {
			t.Fatalf("%+v: %v", inclusion, err)
		}
		if err := integrity.VerifyInclusion(root(t, to), position, want[0], inclusion.Hashes); err != nil {
			t.Fatal(err)
		}
		consistency, err := b.log.Consistency(ctx, from, to)
		if err != nil || consistency.FromRoot != root(t, from).Root || consistency.ToRoot != root(t, to).Root {
			t.Fatalf("%+v: %v", consistency, err)
		}
		if err := integrity.VerifyConsistency(root(t, from), root(t, to), consistency.Hashes); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range [][2]int64{{0, 5}, {6, 5}, {1, 1501}, {-1, 5}} {
		if _, err := b.log.Inclusion(ctx, c[0], c[1]); !errors.Is(err, integrity.ErrNotSealed) {
			t.Errorf("inclusion of %d in %d: %v", c[0], c[1], err)
		}
		if _, err := b.log.Consistency(ctx, c[0], c[1]); !errors.Is(err, integrity.ErrNotSealed) {
			t.Errorf("consistency of %d with %d: %v", c[0], c[1], err)
		}
	}
	for _, c := range []struct {
		level    int
		index    int64
		width    int
		reaching bool
	}{
		{0, 0, 256, true}, {0, 4, 256, true}, {0, 4, 3, true}, {0, 5, 220, true}, {0, 5, 1, true}, {1, 0, 5, true},
		{0, 5, 221, false}, {0, 5, 256, false}, {0, 6, 1, false}, {1, 0, 6, false}, {1, 1, 1, false}, {2, 0, 1, false},
		{0, -1, 1, false}, {-1, 0, 1, false}, {8, 0, 1, false}, {63, 0, 1, false}, {0, 0, 0, false}, {0, 0, 257, false},
		{0, 1 << 60, 256, false},
	} {
		data, err := b.log.Tile(ctx, c.level, c.index, c.width)
		if !c.reaching {
			if !errors.Is(err, integrity.ErrNotSealed) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		want, refErr := tlog.ReadTileData(tlog.Tile{H: 8, L: c.level, N: c.index, W: c.width}, ref)
		if err != nil || refErr != nil || string(data) != string(want) {
			t.Errorf("%+v: %v %v", c, err, refErr)
		}
	}
}

func TestAlteredTilesAreNoticed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"a leaf":         `UPDATE annals.integrity_tiles SET hashes = set_byte(hashes, 77, 255 - get_byte(hashes, 77)) WHERE level = 0 AND index = 0`,
		"a tile is gone": `DELETE FROM annals.integrity_tiles WHERE level = 0 AND index = 0`,
		"the edge":       `UPDATE annals.integrity_log SET open_nodes = set_byte(open_nodes, 7, 255 - get_byte(open_nodes, 7))`,
		"the row":        `DELETE FROM annals.integrity_log`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.seal(600)
			b.tamper(change)
			if p, err := b.log.Inclusion(context.Background(), 3, 600); err == nil {
				t.Errorf("proved: %+v", p)
			}
		})
	}
}

func TestTilesAreInsertOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seal(256)
	for _, change := range []string{
		`UPDATE annals.integrity_tiles SET level = 1`, `DELETE FROM annals.integrity_tiles`, `TRUNCATE annals.integrity_tiles`,
	} {
		if _, err := b.db.Exec(change); err == nil {
			t.Errorf("%s was allowed", change)
		}
	}
}
