package integrity_test

import (
	"bytes"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"annals/eventstore/integrity"
)

// FuzzParseCheckpoint: what is taken as a checkpoint is signed by a known key, and is written again as the same text.
func FuzzParseCheckpoint(f *testing.F) {
	private, verifier, err := integrity.GenerateKey("annals/fuzz")
	if err != nil {
		f.Fatal(err)
	}
	_, stranger, err := integrity.GenerateKey("annals/fuzz")
	if err != nil {
		f.Fatal(err)
	}
	known, err := integrity.Verifiers(verifier)
	if err != nil {
		f.Fatal(err)
	}
	strangers, err := integrity.Verifiers(stranger)
	if err != nil {
		f.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		f.Fatal(err)
	}
	for _, size := range []int64{0, 1, 1 << 40} {
		signed, err := (integrity.Checkpoint{Origin: "annals/fuzz", Size: size, Root: leafAt(size)}).Sign(signer)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signed)
		f.Add(bytes.ReplaceAll(signed, []byte("\n"), []byte("\r\n")))
		f.Add(append(signed, "— x AAAA\n"...))
		f.Add(signed[:len(signed)-4])
	}
	f.Fuzz(func(t *testing.T, signed []byte) {
		if _, _, err := integrity.ParseCheckpoint(signed, strangers); err == nil {
			t.Fatalf("%q is taken from a stranger", signed)
		}
		c, n, err := integrity.ParseCheckpoint(signed, known)
		if err != nil {
			return
		}
		if len(n.Sigs) == 0 || c.Size < 0 || !bytes.HasPrefix(signed, []byte(n.Text)) {
			t.Fatalf("%q: %+v, %+v", signed, c, n)
		}
		again, err := integrity.ParseCheckpointText(c.Text())
		if err != nil || again.Size != c.Size || again.Root != c.Root || again.Origin != c.Origin {
			t.Fatalf("%q is written again as %q: %v", signed, c.Text(), err)
		}
	})
}

// FuzzProofs: no proof but the right one is taken, whatever else is sent in its place.
func FuzzProofs(f *testing.F) {
	const size = 300
	ref := &reference{}
	for i := range int64(size) {
		ref.append(f, leafAt(i))
	}
	checkpoint := func(n int64) integrity.Checkpoint {
		root, err := tlog.TreeHash(n, ref)
		if err != nil {
			f.Fatal(err)
		}
		return integrity.Checkpoint{Origin: "annals/fuzz", Size: n, Root: root}
	}
	for _, n := range []int64{1, 2, 200, 299} {
		inclusion, err := tlog.ProveRecord(size, n, ref)
		if err != nil {
			f.Fatal(err)
		}
		consistency, err := tlog.ProveTree(size, n, ref)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(n, flat(inclusion))
		f.Add(n, flat(consistency))
	}
	whole := checkpoint(size)
	f.Fuzz(func(t *testing.T, n int64, raw []byte) {
		var proof []integrity.Hash
		for ; len(raw) >= len(integrity.Hash{}); raw = raw[len(integrity.Hash{}):] {
			proof = append(proof, integrity.Hash(raw[:len(integrity.Hash{})]))
		}
		inside := n >= 0 && n < size
		if integrity.VerifyInclusion(whole, n+1, leafAt(n), proof) == nil {
			right, err := tlog.ProveRecord(size, n, ref)
			if !inside || err != nil || !bytes.Equal(flat(right), flat(proof)) {
				t.Fatalf("position %d is taken with %x", n+1, flat(proof))
			}
		}
		if integrity.VerifyInclusion(whole, n+1, leafAt(n+1), proof) == nil {
			t.Fatalf("a leaf that isn't at position %d is taken with %x", n+1, flat(proof))
		}
		if !inside || n == 0 {
			return
		}
		if integrity.VerifyConsistency(checkpoint(n), whole, proof) == nil {
			right, err := tlog.ProveTree(size, n, ref)
			if err != nil || !bytes.Equal(flat(right), flat(proof)) {
				t.Fatalf("the first %d are taken with %x", n, flat(proof))
			}
		}
		forged := checkpoint(n)
		forged.Root[0]++
		if integrity.VerifyConsistency(forged, whole, proof) == nil {
			t.Fatalf("other first %d are taken with %x", n, flat(proof))
		}
	})
}

func flat(hashes []tlog.Hash) (b []byte) {
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}
