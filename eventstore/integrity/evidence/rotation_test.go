package evidence_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
)

// rotate gives the log a new key. The next process has it.
func (b *bench) rotate() {
	b.t.Helper()
	next := b.secret()
	done := make(chan error, 1)
	before := b.head()
	go func() {
		_, err := b.keys.Rotate(context.Background(), integrity.RotateOptions{Reason: "test", New: next})
		done <- err
	}()
	for b.head() == before { // the rotation waits until its event is sealed
	}
	b.seal()
	if err := <-done; err != nil {
		b.t.Fatal(err)
	}
	b.restart(next)
}

// restart makes the process that signs from now on.
func (b *bench) restart(secrets integrity.Secrets) {
	b.t.Helper()
	b.keys = integrity.NewKeys(integrity.KeysConfig{DB: b.app, Recorder: recorder{b}, Secrets: secrets, Logger: discard})
	b.signer = integrity.NewSigner(b.keys, 0, discard)
	if err := b.keys.Ensure(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// crashing is a recorder whose process ends once it has recorded.
type crashing struct{ recorder }

var errCrash = errors.New("crash")

func (c crashing) KeyRotated(ctx context.Context, r integrity.Rotation) (int64, error) {
	_, err := c.recorder.KeyRotated(ctx, r)
	return 0, errors.Join(errCrash, err)
}

// rotateAndCrash leaves a rotation to another key whose event is in the log, and no more.
func (b *bench) rotateAndCrash(next integrity.Secrets) {
	b.t.Helper()
	k := integrity.NewKeys(integrity.KeysConfig{
		DB: b.app, Recorder: crashing{recorder{b}}, Secrets: integrity.Secrets{SignerKey: b.key}, Logger: discard,
	})
	if _, err := k.Rotate(context.Background(), integrity.RotateOptions{Reason: "test", New: next}); !errors.Is(err, errCrash) {
		b.t.Fatal(err)
	}
}

// verifierKeyAt is one of the log's keys, the first one first.
func (b *bench) verifierKeyAt(i int) string {
	b.t.Helper()
	keys, err := b.source.Log.Keys(context.Background())
	if err != nil || len(keys) <= i {
		b.t.Fatal(keys, err)
	}
	return keys[i].VerifierKey
}

// signedByFirst is the newest checkpoint's text, signed by the first key alone.
func (b *bench) signedByFirst() string {
	b.t.Helper()
	c, err := b.source.Log.Latest(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	old, err := note.NewSigner(b.key)
	if err != nil {
		b.t.Fatal(err)
	}
	forged, err := integrity.Checkpoint{Origin: b.name, Size: c.Size, Root: c.Root}.Sign(old)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(forged)
}

func TestRotatedKeysVouchForEachOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, 50)
	kept := b.note()
	old := b.verifierKey()
	b.rotate()
	b.grow(100)
	next := b.verifierKeyAt(1)
	bundle := b.export(evidence.ExportOptions{})
	proof, continues := b.prove(17, 0), b.proveContinues(kept)
	for name, keys := range map[string][]string{"none": nil, "the old": {old}, "the new": {next}, "both": {old, next}, "both, turned": {next, old}} {
		o := evidence.Options{Since: []evidence.Kept{kept}, Keys: keys}
		r := b.verify(o)
		expect(t, r, evidence.Intact, 0, "")
		if r.Checkpoints != 3 || r.KeyGiven != (keys != nil) {
			t.Errorf("%s: %s", name, shown(r))
		}
		r = verifyBundle(t, bundle, o)
		expect(t, r, evidence.Intact, 0, "")
		if r.Checkpoints != 2 || r.KeyGiven != (keys != nil) {
			t.Errorf("%s: the checkpoint of the rotation wasn't checked: %s", name, shown(r))
		}
		expect(t, verifyProof(t, continues, o), evidence.Intact, 0, "")
		expect(t, verifyProof(t, proof, evidence.Options{Keys: keys}), evidence.Intact, 0, "")
	}
	// A key that only says that it follows is not one that is trusted.
	forged := string(bundle["keys.json"].Data)
	bundle["keys.json"].Data = []byte(strings.Replace(forged, `"statement": "annals signing`, `"statement": "Annals signing`, 1))
	expect(t, verifyBundle(t, bundle, evidence.Options{Keys: []string{old}}), evidence.Altered, 0, "checkpoint.note")
	expect(t, b.verify(evidence.Options{Keys: []string{old}, Since: []evidence.Kept{kept}}), evidence.Intact, 0, "")
}

// givenKeys are what a verifier may have of the keys of a rotation.
func givenKeys(old, next string) map[string][]string {
	return map[string][]string{"no key": nil, "the old key": {old}, "the new key": {next}, "both keys": {old, next}}
}

// Who has the old key and can write to the database can't go on signing with it.
func TestARetiredKeyCannotSign(t *testing.T) {
	t.Parallel()
	b := newBench(t, 50)
	old := b.verifierKey()
	b.rotate()
	b.grow(80)
	kept := b.note()
	b.grow(100)
	forged := b.signedByFirst()
	next := b.verifierKeyAt(1)
	restore := b.save()
	for name, keys := range givenKeys(old, next) {
		t.Run(name, func(t *testing.T) {
			defer restore()
			o := evidence.Options{Keys: keys}
			b.exec(`UPDATE annals.integrity_checkpoints SET note = $1 WHERE size = 100`, forged)
			expect(t, b.verify(o), evidence.Altered, 0, "had been replaced by then")
			bundle := b.export(evidence.ExportOptions{})
			expect(t, verifyBundle(t, bundle, o), evidence.Altered, 0, "had been replaced by then")
			// Without what the new key has signed
			b.exec(`DELETE FROM annals.integrity_checkpoints WHERE size BETWEEN 51 AND 99`)
			expect(t, b.verify(o), evidence.Altered, 0, "has signed since position 51")
			// and with the rotation made to look like one that was interrupted, the new key or what it has signed is needed.
			b.exec(`UPDATE annals.integrity_keys SET status = 'pending' WHERE status = 'active'`)
			b.exec(`UPDATE annals.integrity_keys SET status = 'active' WHERE status = 'retired'`)
			bundle = b.export(evidence.ExportOptions{})
			proof := b.prove(17, 0)
			for _, r := range []*evidence.Report{b.verify(o), verifyBundle(t, bundle, o), verifyProof(t, proof, o)} {
				if slices.Contains(keys, next) {
					expect(t, r, evidence.Incomplete, 0, "a key that you trust")
				} else if expect(t, r, evidence.Intact, 0, ""); !slices.ContainsFunc(r.Remarks, unfinished) {
					t.Errorf("it doesn't say that the rotation wasn't finished: %s", shown(r))
				}
			}
			o.Since = []evidence.Kept{kept}
			for _, r := range []*evidence.Report{b.verify(o), verifyBundle(t, bundle, o), verifyProof(t, b.proveContinues(kept), o)} {
				expect(t, r, evidence.Altered, 0, "had been replaced by then")
			}
		})
	}
}

func unfinished(remark string) bool { return strings.Contains(remark, "wasn't finished") }

// A retired key can't name another successor either.
func TestARetiredKeyCannotBeReplacedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, 50)
	old := b.verifierKey()
	b.rotate()
	b.grow(100)
	next := b.verifierKeyAt(1)
	oldSigner, err := note.NewSigner(b.key)
	if err != nil {
		t.Fatal(err)
	}
	private := b.secret().SignerKey
	third, err := integrity.VerifierKey(private)
	if err != nil {
		t.Fatal(err)
	}
	thirdSigner, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	statement, err := note.Sign(&note.Note{Text: "annals signing key rotation\n" + b.name + "\n" + old + "\n" + third + "\n"}, oldSigner, thirdSigner)
	if err != nil {
		t.Fatal(err)
	}
	rotation := integrity.Rotation{Origin: b.name, VerifierKey: third, Replaces: old, Statement: string(statement)}
	if err := integrity.VerifyRotation(rotation); err != nil {
		t.Fatal(err)
	}
	if _, err := (recorder{b}).KeyRotated(context.Background(), rotation); err != nil {
		t.Fatal(err)
	}
	b.exec(`UPDATE annals.integrity_keys SET verifier_key = $1, position = 101 WHERE status = 'active'`, third)
	b.seal()
	for name, keys := range givenKeys(old, next) {
		t.Run(name, func(t *testing.T) {
			expect(t, b.verify(evidence.Options{Keys: keys}), evidence.Altered, 101, "which wasn't the log's")
		})
	}
}

// The key before signs on until the new one is put to use, and that is no alarm.
func TestAnInterruptedRotationIsNoAlarm(t *testing.T) {
	t.Parallel()
	b := newBench(t, 50)
	kept := b.note()
	old, secrets := b.verifierKey(), integrity.Secrets{SignerKey: b.key}
	next := b.secret()
	nextKey, err := integrity.VerifierKey(next.SignerKey)
	if err != nil {
		t.Fatal(err)
	}
	b.rotateAndCrash(next)
	since := []evidence.Kept{kept}
	expect(t, b.verify(evidence.Options{Since: since}), evidence.Intact, 0, "")
	b.restart(secrets)
	b.grow(100)
	between := b.export(evidence.ExportOptions{})
	for name, keys := range givenKeys(old, nextKey) {
		o := evidence.Options{Since: since, Keys: keys}
		for _, r := range []*evidence.Report{b.verify(o), verifyBundle(t, between, o)} {
			if slices.Contains(keys, nextKey) { // which has signed nothing yet
				expect(t, r, evidence.Incomplete, 0, "a key that you trust")
			} else if expect(t, r, evidence.Intact, 0, ""); !slices.ContainsFunc(r.Remarks, unfinished) {
				t.Errorf("%s: %s", name, shown(r))
			}
		}
	}
	b.grow(110)
	b.restart(next)
	b.grow(120)
	for _, keys := range givenKeys(old, nextKey) {
		o := evidence.Options{Since: since, Keys: keys}
		for _, r := range []*evidence.Report{b.verify(o), verifyBundle(t, b.export(evidence.ExportOptions{}), o)} {
			if expect(t, r, evidence.Intact, 0, ""); slices.ContainsFunc(r.Remarks, unfinished) {
				t.Errorf("%s", shown(r))
			}
		}
	}
}

// What was signed by the key before and then by both, at one size, isn't altered by that.
func TestTwoKeysSignOneSize(t *testing.T) {
	t.Parallel()
	b := newBench(t, 50)
	next := b.secret()
	b.rotateAndCrash(next)
	b.grow(60)
	bundle, proof := b.export(evidence.ExportOptions{}), b.prove(17, 0)
	if _, err := b.keys.Rotate(context.Background(), integrity.RotateOptions{Reason: "test", New: next}); err != nil {
		t.Fatal(err)
	}
	o := evidence.Options{Since: []evidence.Kept{b.note()}}
	for _, r := range []*evidence.Report{b.verify(o), verifyBundle(t, bundle, o), verifyProof(t, proof, o)} {
		if expect(t, r, evidence.Intact, 0, ""); r.Size != 60 || len(r.Since) != 1 {
			t.Errorf("%s", shown(r))
		}
	}
}

// A key may sign before its event is sealed, and be the only one that does.
func TestANewKeySignsBeforeItsEventIsSealed(t *testing.T) {
	t.Parallel()
	b := newBench(t, 40, 50)
	next := b.secret()
	b.rotateAndCrash(next)
	b.restart(next)
	old, nextKey := b.verifierKeyAt(0), b.verifierKeyAt(1)
	bundle, proof, before := b.export(evidence.ExportOptions{}), b.prove(17, 0), b.prove(17, 40)
	for name, keys := range givenKeys(old, nextKey) {
		o := evidence.Options{Keys: keys}
		for _, r := range []*evidence.Report{b.verify(o), verifyBundle(t, bundle, o), verifyProof(t, proof, o)} {
			if expect(t, r, evidence.Intact, 0, ""); r.Size != 50 {
				t.Errorf("%s: %s", name, shown(r))
			}
		}
		// Of an older tree, which the new key hasn't signed, the old key speaks.
		if r := verifyProof(t, before, o); slices.Contains(keys, old) || keys == nil {
			expect(t, r, evidence.Intact, 0, "")
		} else {
			expect(t, r, evidence.Incomplete, 0, "a key that you trust")
		}
	}
}
