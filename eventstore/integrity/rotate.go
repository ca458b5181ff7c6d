package integrity

import (
	"context"
	"database/sql"
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
// or ErrCannotSign when the key before can't be opened. Repeated with the same New after it was interrupted, it finishes
// what it began, whose reason is on record.
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
	finished, err := k.finishFirst(ctx, o)
	if err == nil && !finished {
		err = k.replace(ctx, o)
	}
	if err != nil {
		return Key{}, err
	}
	list, err := k.log.Keys(ctx)
	if err != nil {
		return Key{}, err
	}
	return list[len(list)-1], nil
}

// replace puts a new key in the place of the active one.
func (k *Keys) replace(ctx context.Context, o RotateOptions) error {
	before, err := oneKey(ctx, k.cfg.DB, KeyActive, "")
	if err != nil {
		return err
	}
	if before == nil {
		return fmt.Errorf("%w: the log has no key yet: a server makes it at its first start", ErrRotation)
	}
	replaces, err := k.cfg.Recorder.CurrentKey(ctx)
	if err != nil {
		return fmt.Errorf("ask the log for its signing key: %w", err)
	}
	var signers []note.Signer
	if !o.OldKeyLost {
		if replaces != before.VerifierKey {
			return fmt.Errorf("%w: the key that the log recorded last was given up as lost", ErrCannotSign)
		}
		old, err := k.signer(ctx, before)
		if err != nil {
			return err
		}
		signers = append(signers, old)
	}
	rotation := Rotation{Replaces: replaces, Reason: o.Reason}
	return k.rotate(ctx, before, signers, rotation, o.New)
}

func (k *Keys) rotate(ctx context.Context, before *storedKey, signers []note.Signer, rotation Rotation, secrets Secrets) error {
	key, err := k.newKey(ctx, secrets, false)
	if err != nil {
		return err
	}
	signer, err := k.openSigner(ctx, key, secrets)
	if err != nil {
		return err
	}
	signers = append([]note.Signer{signer}, signers...)
	rotation.Origin, rotation.VerifierKey = signer.Name(), key.VerifierKey
	statement, err := note.Sign(&note.Note{Text: rotation.text()}, signers...)
	if err != nil {
		return fmt.Errorf("sign the rotation: %w", err)
	}
	rotation.Statement = string(statement)
	position, err := k.cfg.Recorder.KeyRotated(ctx, rotation)
	if err != nil {
		return fmt.Errorf("record the rotation: %w", err)
	}
	if err := k.awaitSealed(ctx, position); err != nil {
		return err
	}
	return k.activate(ctx, key, before, position, signers...)
}

func (k *Keys) openSigner(ctx context.Context, key *storedKey, secrets Secrets) (note.Signer, error) {
	opened, err := k.open(ctx, key, secrets)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(opened.private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannotSign, err)
	}
	return signer, nil
}

// pending gives the key that is in the log and not put to use yet; nil: there is none. One that isn't in the log is dropped.
func (k *Keys) pending(ctx context.Context) (*storedKey, error) {
	pending, err := oneKey(ctx, k.cfg.DB, KeyPending, "")
	if err != nil || pending == nil {
		return nil, err
	}
	current, err := k.cfg.Recorder.CurrentKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the log for its signing key: %w", err)
	}
	if current == pending.VerifierKey {
		return pending, nil
	}
	_, err = k.cfg.DB.ExecContext(ctx, `DELETE FROM annals.integrity_keys WHERE status = 'pending'`)
	return nil, err
}

// finish activates a pending key. One that replaces another must be opened for that: it fails with ErrCannotSign.
func (k *Keys) finish(ctx context.Context, pending *storedKey, secrets Secrets) error {
	active, err := oneKey(ctx, k.cfg.DB, KeyActive, "")
	if err != nil {
		return err
	}
	var signers []note.Signer
	if active != nil {
		signer, err := k.openSigner(ctx, pending, secrets)
		if err != nil {
			return err
		}
		signers = append(signers, signer)
		if old, err := k.signer(ctx, active); err == nil {
			signers = append(signers, old)
		}
	}
	position, err := k.recorded(ctx, pending)
	if err != nil {
		return err
	}
	k.cfg.Logger.InfoContext(ctx, "a signing key that is in the log is put to use", "key", pending.ID)
	return k.activate(ctx, pending, active, position, signers...)
}

// recorded is the position of a key that is in the log.
func (k *Keys) recorded(ctx context.Context, key *storedKey) (position int64, err error) {
	origin, _, err := readOrigin(ctx, k.cfg.DB)
	if err != nil {
		return 0, err
	}
	return k.cfg.Recorder.KeyCreated(ctx, origin, key.VerifierKey) // is already: gives the position
}

// finishFirst deals with a rotation that was interrupted, before another one. It tells whether that was the one that is
// asked for. When it was another, whose key can't be opened, that key is given up if it is said to be lost.
func (k *Keys) finishFirst(ctx context.Context, o RotateOptions) (finished bool, err error) {
	pending, err := k.pending(ctx)
	if err != nil || pending == nil {
		return false, err
	}
	if err = k.finish(ctx, pending, k.cfg.Secrets); !errors.Is(err, ErrCannotSign) {
		return false, err
	}
	if err = k.finish(ctx, pending, o.New); err == nil || !errors.Is(err, ErrCannotSign) {
		return true, err
	}
	if !o.OldKeyLost {
		return false, fmt.Errorf("the rotation to the key %s was interrupted and must be finished with that key: %w", pending.ID, err)
	}
	position, err := k.recorded(ctx, pending)
	if err != nil {
		return false, err
	}
	_, err = k.cfg.DB.ExecContext(ctx, `UPDATE annals.integrity_keys SET status = 'retired', private_key = NULL, position = $1,
		retired_at = clock_timestamp() WHERE status = 'pending'`, position)
	if err != nil {
		return false, fmt.Errorf("give up the signing key %s: %w", pending.ID, err)
	}
	return false, nil
}

// activate makes a pending key the log's. Its private part leaves the database with the next one. Where there was a key
// before, the signers sign a checkpoint of the tree as it is now, which is kept: the new key's is needed, since the next
// checkpoint must continue one of its own.
func (k *Keys) activate(ctx context.Context, key, before *storedKey, position int64, signers ...note.Signer) error {
	tx, err := k.cfg.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("activate the signing key: %w", err)
	}
	defer tx.Rollback()
	if before != nil { // whoever is signing with it has done so first
		_, err := tx.ExecContext(ctx, `UPDATE annals.integrity_keys SET status = 'retired', private_key = NULL,
			retired_at = clock_timestamp(), retired_position = $2 WHERE verifier_key = $1`, before.VerifierKey, position)
		if err != nil {
			return fmt.Errorf("retire the signing key: %w", err)
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE annals.integrity_keys SET status = 'active', position = $2 WHERE verifier_key = $1`,
		key.VerifierKey, position)
	if err != nil {
		return fmt.Errorf("activate the signing key: %w", err)
	}
	if before != nil {
		if err := k.signOver(ctx, tx, signers); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("activate the signing key: %w", err)
	}
	return nil
}

// signOver signs the tree as it is now with the keys of a rotation, once it is certain that it continues what was signed
// before. A retired key may have signed that, unlike in what follows: whoever could put such a checkpoint there could as
// well delete them all, which leaves nothing to continue.
func (k *Keys) signOver(ctx context.Context, tx *sql.Tx, signers []note.Signer) error {
	last, err := oneCheckpoint(ctx, tx, selectCheckpoints+`ORDER BY size DESC LIMIT 1`)
	if err != nil && !errors.Is(err, ErrNoCheckpoint) {
		return err
	}
	keys, keysErr := readKeys(ctx, tx, "")
	view, viewErr := k.log.View(ctx)
	if err := errors.Join(keysErr, viewErr); err != nil {
		return err
	}
	if err == nil {
		if err := continues(ctx, view, last, keys...); err != nil {
			return err
		}
	}
	origin, _, err := readOrigin(ctx, tx)
	if err != nil {
		return err
	}
	root := view.Root()
	signed, err := Checkpoint{Origin: origin, Size: view.Size(), Root: root}.Sign(signers...)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO annals.integrity_checkpoints (size, root, note, kept) VALUES ($1, $2, $3, true)
		ON CONFLICT (size) DO UPDATE SET note = excluded.note, kept = true, signed_at = excluded.signed_at`,
		view.Size(), root[:], string(signed))
	if err != nil {
		return fmt.Errorf("store a checkpoint: %w", err)
	}
	return nil
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
