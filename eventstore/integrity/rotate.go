package integrity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// RotateOptions say how the log's key is replaced.
type RotateOptions struct {
	Reason string // recorded; required
	// New says where the new key is, or what encrypts it. Zero: as the one before.
	New Secrets
	// OldKeyLost: the key before can't sign any more. What it signed still verifies, but nothing of it vouches for the new.
	OldKeyLost bool
}

// ErrRotation says that the key can't be replaced as asked.
var ErrRotation = errors.New("the signing key can't be rotated so")

// sealWait bounds how long a rotation waits for its event to be sealed, so that the checkpoint with both signatures has it.
const sealWait = 3 * time.Second

// Rotate gives the log a new key. The change is recorded as an event with a statement that both keys have signed, and a
// checkpoint carries both signatures. The private part of the key before leaves the database. It fails with ErrRotation,
// or ErrCannotSign when the key before can't be opened.
func (k *Keys) Rotate(ctx context.Context, o RotateOptions) (Key, error) {
	if o.Reason == "" {
		return Key{}, fmt.Errorf("%w: a reason is needed: it is recorded", ErrRotation)
	}
	if o.New == (Secrets{}) {
		if o.New = k.cfg.Secrets; o.New.SignerKey != "" {
			return Key{}, fmt.Errorf("%w: a key from outside is replaced by another one, which must be given", ErrRotation)
		}
	}
	release, err := k.lock(ctx)
	if err != nil {
		return Key{}, err
	}
	defer release()
	if err := k.finish(ctx); err != nil {
		return Key{}, err
	}
	before, err := oneKey(ctx, k.cfg.DB, KeyActive, "")
	if err != nil {
		return Key{}, err
	}
	if before == nil {
		return Key{}, fmt.Errorf("%w: the log has no key yet: a server makes it at its first start", ErrRotation)
	}
	var signers []note.Signer
	if !o.OldKeyLost {
		old, err := k.signer(ctx, before)
		if err != nil {
			return Key{}, err
		}
		signers = append(signers, old)
	}
	return k.rotate(ctx, before, signers, o)
}

func (k *Keys) rotate(ctx context.Context, before *storedKey, signers []note.Signer, o RotateOptions) (Key, error) {
	key, err := k.newKey(ctx, o.New, false)
	if err != nil {
		return Key{}, err
	}
	opened, err := k.open(ctx, key, o.New)
	if err != nil {
		return Key{}, err
	}
	signer, err := note.NewSigner(opened.private)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrCannotSign, err)
	}
	signers = append([]note.Signer{signer}, signers...)
	rotation := Rotation{Origin: signer.Name(), VerifierKey: key.VerifierKey, Replaces: before.VerifierKey, Reason: o.Reason}
	statement, err := note.Sign(&note.Note{Text: rotation.text()}, signers...)
	if err != nil {
		return Key{}, fmt.Errorf("sign the rotation: %w", err)
	}
	rotation.Statement = string(statement)
	position, err := k.cfg.Recorder.KeyRotated(ctx, rotation)
	if err != nil {
		return Key{}, fmt.Errorf("record the rotation: %w", err)
	}
	if err := k.awaitSealed(ctx, position); err != nil {
		return Key{}, err
	}
	if err := k.activate(ctx, key, before, position, signers...); err != nil {
		return Key{}, err
	}
	list, err := k.log.Keys(ctx)
	if err != nil {
		return Key{}, err
	}
	return list[len(list)-1], nil
}

// text is what both keys sign.
func (r Rotation) text() string {
	return "annals signing key rotation\n" + r.Origin + "\n" + r.Replaces + "\n" + r.VerifierKey + "\n"
}

// VerifyRotation checks the statement of a rotation: that both keys have signed it. It fails with ErrCheckpoint.
func VerifyRotation(r Rotation) error {
	for _, key := range []string{r.Replaces, r.VerifierKey} {
		known, err := Verifiers(key)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCheckpoint, err)
		}
		n, err := note.Open([]byte(r.Statement), known)
		if err != nil {
			return fmt.Errorf("%w: the key %s hasn't signed the rotation: %w", ErrCheckpoint, key, err)
		}
		if n.Text != r.text() {
			return fmt.Errorf("%w: the statement is about another rotation", ErrCheckpoint)
		}
	}
	return nil
}

// awaitSealed waits a while for a position to be sealed. Nobody may be sealing just now.
func (k *Keys) awaitSealed(ctx context.Context, position int64) error {
	for end := time.Now().Add(sealWait); time.Now().Before(end); {
		size, err := k.log.Size(ctx)
		if err != nil || size >= position {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
