package integrity_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"annals/eventstore/integrity"
)

var yearly = integrity.RotateOptions{Reason: "yearly", New: integrity.Secrets{Passphrase: "new"}}

// interrupted is a log of three events, signed, and a rotation that ended when its event was in the log.
func interrupted(t *testing.T, o integrity.RotateOptions) *bench {
	t.Helper()
	b := setup(t)
	b.seal(3)
	k := b.ensured(b.locked)
	b.sign(k)
	b.rec.after = errors.New("crash")
	if _, err := k.Rotate(context.Background(), o); !errors.Is(err, b.rec.after) {
		t.Fatal(err)
	}
	b.rec.after = nil
	b.statuses(integrity.KeyActive, integrity.KeyPending)
	return b
}

// statuses requires the log's keys to have them, and gives the keys.
func (b *bench) statuses(want ...integrity.KeyStatus) []integrity.Key {
	b.t.Helper()
	var got []integrity.KeyStatus
	check(b.t, b.db.Select(&got, `SELECT status FROM annals.integrity_keys ORDER BY created_at`))
	if !slices.Equal(got, want) {
		b.t.Fatalf("the keys are %q, want %q", got, want)
	}
	return b.list()
}

// A key that can't be opened doesn't take over: it couldn't continue what the one before has signed.
func TestInterruptedRotationToOtherSecrets(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, old := range map[string]bool{"a node with the old secrets": true, "a node that has none": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := interrupted(t, yearly)
			b.seal(4)
			if old {
				node := b.ensured(b.locked)
				b.verifies(b.sign(node), b.list()[0].VerifierKey)
			} else {
				node := b.keys(integrity.Secrets{})
				if err := node.Ensure(ctx); !errors.Is(err, integrity.ErrCannotSign) {
					t.Fatal(err)
				}
				if signed, err := signer(node).Sign(ctx); signed || !errors.Is(err, integrity.ErrCannotSign) {
					t.Errorf("signed %v: %v", signed, err)
				}
			}
			b.statuses(integrity.KeyActive, integrity.KeyPending)
			// A node with the new secrets finishes it.
			b.seal(5)
			next := b.ensured(yearly.New)
			list := b.statuses(integrity.KeyRetired, integrity.KeyActive)
			latest, err := b.log.Latest(ctx)
			check(t, err)
			b.verifies(latest, list[1].VerifierKey)
			b.seal(6)
			b.verifies(b.sign(next), list[1].VerifierKey)
		})
	}
}

// Who repeats the command that was interrupted gets what it was to bring.
func TestInterruptedRotationIsRepeated(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := interrupted(t, yearly)
	b.seal(4)
	k := b.keys(b.locked)
	made, err := k.Rotate(ctx, yearly)
	check(t, err)
	list := b.statuses(integrity.KeyRetired, integrity.KeyActive)
	if made.VerifierKey != list[1].VerifierKey || made.Status != integrity.KeyActive || *made.Position != 2 || len(b.rec.keys) != 2 {
		t.Errorf("made %+v of %+v", made, list)
	}
	both, err := b.log.Latest(ctx)
	check(t, err)
	b.verifies(both, list[0].VerifierKey)
	b.verifies(both, list[1].VerifierKey)
	b.seal(5)
	b.verifies(b.sign(b.ensured(yearly.New)), list[1].VerifierKey)
}

// A key that is lost before it was put to use is replaced like any other that is lost.
func TestInterruptedRotationToALostKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := interrupted(t, yearly)
	b.seal(4)
	k := b.keys(b.locked)
	again := integrity.RotateOptions{Reason: "lost", New: integrity.Secrets{Passphrase: "newer"}}
	if _, err := k.Rotate(ctx, again); !errors.Is(err, integrity.ErrCannotSign) {
		t.Fatal(err)
	}
	b.statuses(integrity.KeyActive, integrity.KeyPending)
	again.OldKeyLost = true
	crash := errors.New("crash")
	b.rec.before = crash
	if _, err := k.Rotate(ctx, again); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	b.rec.before = nil
	first := b.list()[0].VerifierKey
	b.verifies(b.sign(b.ensured(b.locked)), first)
	again.OldKeyLost = false
	if _, err := k.Rotate(ctx, again); !errors.Is(err, integrity.ErrCannotSign) {
		t.Fatal(err)
	}
	again.OldKeyLost = true
	made, err := k.Rotate(ctx, again)
	check(t, err)
	last := b.rec.rotations[len(b.rec.rotations)-1]
	if len(b.rec.keys) != 3 || last.VerifierKey != made.VerifierKey || last.Replaces != b.rec.keys[1] || integrity.VerifyRotation(last) == nil {
		t.Errorf("recorded %+v of %q", last, b.rec.keys)
	}
	b.statuses(integrity.KeyRetired, integrity.KeyRetired, integrity.KeyActive)
	b.seal(5)
	b.verifies(b.sign(b.ensured(again.New)), made.VerifierKey)
}

// A log whose key took over without having signed what was signed last is signed on after one more rotation.
func TestARotationContinuesWhatARetiredKeySigned(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := interrupted(t, yearly)
	b.exec(`UPDATE annals.integrity_keys SET status = 'retired', private_key = NULL, retired_at = now(), retired_position = 2 WHERE status = 'active'`)
	b.exec(`UPDATE annals.integrity_keys SET status = 'active', position = 2 WHERE status = 'pending'`)
	b.seal(4)
	k := b.ensured(yearly.New)
	if _, err := signer(k).Sign(ctx); !errors.Is(err, integrity.ErrForked) {
		t.Fatal(err)
	}
	made, err := k.Rotate(ctx, integrity.RotateOptions{Reason: "again"})
	check(t, err)
	b.seal(5)
	b.verifies(b.sign(k), made.VerifierKey)
}
