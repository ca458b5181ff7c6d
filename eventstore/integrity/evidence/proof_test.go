package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"annals/domain"
	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
)

func (b *bench) prove(position, size int64) []byte {
	b.t.Helper()
	p, err := evidence.Prove(context.Background(), b.source, position, size)
	return b.proofBytes(p, err)
}

func (b *bench) proveContinues(kept evidence.Kept) []byte {
	b.t.Helper()
	p, err := evidence.ProveContinues(context.Background(), b.source, kept, 0)
	return b.proofBytes(p, err)
}

func (b *bench) proofBytes(p *evidence.Proof, err error) []byte {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := p.Bytes()
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

func verifyProof(t testing.TB, data []byte, o evidence.Options) *evidence.Report {
	t.Helper()
	r, err := evidence.VerifyProof(data, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProofs(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed, size)
	kept := b.note()
	for _, at := range []struct{ position, size int64 }{{1, 0}, {256, 0}, {257, 0}, {size, 0}, {1, signed}, {signed, signed}} {
		r := verifyProof(t, b.prove(at.position, at.size), evidence.Options{Keys: []string{b.verifierKey()}})
		expect(t, r, evidence.Intact, 0, "")
		if r.Payloads != 1 || !r.KeyGiven || !slices.Contains(r.Remarks, evidence.InternallyOnly) {
			t.Errorf("%s", shown(r))
		}
	}
	expect(t, verifyProof(t, b.prove(17, 0), evidence.Options{Since: []evidence.Kept{kept}}), evidence.Intact, 0, "")
	expect(t, verifyProof(t, b.prove(17, signed), evidence.Options{Since: []evidence.Kept{kept}}), evidence.Incomplete, 0, "another size")
	b.grow(900)
	r := verifyProof(t, b.proveContinues(kept), evidence.Options{Since: []evidence.Kept{kept}})
	expect(t, r, evidence.Intact, 0, "")
	if r.Checkpoints != 2 || !r.Since[0].Consistent {
		t.Errorf("%s", shown(r))
	}
	b.tamper(`UPDATE annals.events SET actor_id = 'mallory' WHERE position = 17`)
	expect(t, verifyProof(t, b.prove(17, 0), evidence.Options{}), evidence.Altered, 17, "isn't in the tree")
	b.reseal()
	expect(t, verifyProof(t, b.prove(17, 0), evidence.Options{}), evidence.Intact, 0, "")
	expect(t, verifyProof(t, b.proveContinues(kept), evidence.Options{}), evidence.Altered, 0, "doesn't continue")
}

func TestWhatCannotBeProved(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, 10)
	b.exec(fill, 11, 12)
	if _, err := evidence.Prove(ctx, b.source, 11, 0); !errors.Is(err, integrity.ErrNotSealed) {
		t.Errorf("not sealed: %v", err)
	}
	if _, err := evidence.Prove(ctx, b.source, 3, 5); !errors.Is(err, integrity.ErrNoCheckpoint) {
		t.Errorf("not signed: %v", err)
	}
	var refused *domain.Error
	if _, err := evidence.Prove(ctx, b.source, 13, 0); !errors.As(err, &refused) {
		t.Errorf("not there: %v", err)
	}
	if _, err := evidence.ProveContinues(ctx, b.source, evidence.Kept{Name: "x", Note: []byte("x")}, 0); !errors.Is(err, integrity.ErrCheckpoint) {
		t.Errorf("from nothing: %v", err)
	}
}

// No byte of a proof of an event can be changed, but within what no proof says anything about: other keys than the signer's.
func TestEveryByteOfAProofCounts(t *testing.T) {
	t.Parallel()
	b := newBench(t, 20)
	kept := b.note()
	b.grow(30)
	key := []string{b.verifierKey()}
	for _, data := range [][]byte{b.prove(7, 0), b.proveContinues(kept)} {
		expect(t, verifyProof(t, data, evidence.Options{Keys: key}), evidence.Intact, 0, "")
		end := bytes.Index(data, []byte(`"keys"`))
		for i := 0; i < end; i += stride() {
			changed := slices.Clone(data)
			changed[i] ^= 1 << (i % 8)
			if r := verifyProof(t, changed, evidence.Options{Keys: key}); r.Verdict == evidence.Intact {
				t.Fatalf("byte %d: %q became %q and nobody noticed", i, data[i], changed[i])
			}
			if r := verifyProof(t, data[:i], evidence.Options{Keys: key}); r.Verdict == evidence.Intact {
				t.Fatalf("cut after %d bytes and nobody noticed", i)
			}
		}
	}
}

func FuzzProof(f *testing.F) {
	f.Add([]byte(`{"format": "annals-inclusion/1", "position": 1, "leaf": {}, "size": 1, "hashes": [], "note": "", "keys": []}`))
	f.Add([]byte(sampleProof))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := evidence.VerifyProof(data, evidence.Options{})
		if err != nil || r.Verdict == evidence.Intact && string(data) != sampleProof {
			t.Errorf("%v: %s", err, shown(r))
		}
	})
}

func FuzzBundle(f *testing.F) {
	bundle := sampleBundle
	f.Add(bundle["manifest.json"], bundle["checkpoint.note"], bundle["keys.json"], bundle["events.ndjson"])
	f.Fuzz(func(t *testing.T, manifest, note, keys, events []byte) {
		r := verifyBundle(t, files(map[string][]byte{
			"manifest.json": manifest, "checkpoint.note": note, "keys.json": keys, "events.ndjson": events,
		}), evidence.Options{Keys: []string{sampleKey}})
		if _, err := evidence.VerifyBundle(context.Background(), files(bundle), evidence.Options{Since: []evidence.Kept{{Note: note}}}); err != nil && !errors.Is(err, integrity.ErrCheckpoint) {
			t.Error(err)
		}
		if r.Verdict == evidence.Intact && (!bytes.Equal(events, bundle["events.ndjson"]) || !bytes.Equal(note, bundle["checkpoint.note"])) {
			t.Errorf("it verifies: %s\n%q", shown(r), events)
		}
	})
}
