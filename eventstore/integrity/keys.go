package integrity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/mod/sumdb/note"
)

// Key is a key that signs or has signed the log's checkpoints.
type Key struct {
	ID              string     `json:"id"` // the key's hash in signatures, 8 hexadecimal digits
	VerifierKey     string     `json:"verifier_key"`
	Status          KeyStatus  `json:"status"`
	CreatedAt       time.Time  `json:"created_at"`
	Position        *int64     `json:"position"` // of the event that made it the log's key
	RetiredAt       *time.Time `json:"retired_at"`
	RetiredPosition *int64     `json:"retired_position"` // of the event that replaced it
}

// KeyStatus says what a key is for.
type KeyStatus string

// The states of a key.
const (
	KeyPending KeyStatus = "pending" // made, and not yet the log's
	KeyActive  KeyStatus = "active"
	KeyRetired KeyStatus = "retired"
)

// Rotation is a change of keys, for the record.
type Rotation struct{ Origin, VerifierKey, Replaces, Statement, Reason string }

// Recorder writes what becomes of keys into the log. To record the same again changes nothing.
type Recorder interface {
	// CurrentKey is the verifier key recorded last; "" when there is none.
	CurrentKey(ctx context.Context) (string, error)
	// KeyCreated records the log's first key and gives the event's position.
	KeyCreated(ctx context.Context, origin, verifierKey string) (int64, error)
	// KeyRotated records that a key takes another's place and gives the event's position.
	KeyRotated(ctx context.Context, r Rotation) (int64, error)
}

// KeysConfig is what Keys needs. All members are required.
type KeysConfig struct {
	DB       *sqlx.DB // whose sessions have the role annals_app
	Recorder Recorder
	Secrets  Secrets
	Logger   *slog.Logger
}

// Keys looks after the log's keys. It is safe for concurrent use, also by several processes.
type Keys struct {
	cfg KeysConfig
	log *Log

	mu      sync.Mutex
	opened  signerKey // the active key, as last opened
	refused error     // why closed couldn't be opened, until retry
	closed  string    // the verifier key that couldn't be opened last
	retry   time.Time
}

// NewKeys makes the keeper of a log's keys.
func NewKeys(cfg KeysConfig) *Keys { return &Keys{cfg: cfg, log: NewLog(cfg.DB)} }

// keysLock is the advisory lock under which keys are made and rotated.
const keysLock = 7_236_114_019

// lock keeps others from changing keys until release.
func (k *Keys) lock(ctx context.Context) (release func(), err error) {
	tx, err := k.cfg.DB.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("lock the signing keys: %w", err)
	}
	release = func() { _ = tx.Rollback() } // its failure changes nothing: the lock ends with the session
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, keysLock); err != nil {
		release()
		return nil, fmt.Errorf("lock the signing keys: %w", err)
	}
	return release, nil
}

// storedKey is a row of annals.integrity_keys.
type storedKey struct {
	Key
	private []byte
}

func readKeys(ctx context.Context, db Executor, condition string) ([]storedKey, error) {
	rows, err := db.QueryContext(ctx, `SELECT verifier_key, status, created_at, position, retired_at, retired_position, private_key
		FROM annals.integrity_keys `+condition)
	if err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	defer rows.Close()
	var list []storedKey
	for rows.Next() {
		var k storedKey
		err := rows.Scan(&k.VerifierKey, &k.Status, &k.CreatedAt, &k.Position, &k.RetiredAt, &k.RetiredPosition, &k.private)
		if err != nil {
			return nil, fmt.Errorf("read the signing keys: %w", err)
		}
		verifier, err := note.NewVerifier(k.VerifierKey)
		if err != nil {
			return nil, fmt.Errorf("%w: the verifier key %q: %w", ErrDamaged, k.VerifierKey, err)
		}
		k.ID, k.CreatedAt = fmt.Sprintf("%08x", verifier.KeyHash()), k.CreatedAt.UTC()
		if k.RetiredAt != nil {
			*k.RetiredAt = k.RetiredAt.UTC()
		}
		list = append(list, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	return list, nil
}

// Keys lists the keys that sign, have signed or are to sign the log's checkpoints, the first one first.
func (l *Log) Keys(ctx context.Context) ([]Key, error) {
	stored, err := readKeys(ctx, l.db, `ORDER BY position, created_at`) // a pending one, which has no position, is last
	if err != nil {
		return nil, err
	}
	list := make([]Key, len(stored))
	for i, k := range stored {
		list[i] = k.Key
	}
	return list, nil
}

// oneKey gives the key of a status; nil: there is none.
func oneKey(ctx context.Context, db Executor, status KeyStatus, lock string) (*storedKey, error) {
	list, err := readKeys(ctx, db, fmt.Sprintf(`WHERE status = '%s' %s`, status, lock))
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// Ensure makes the log's first key where it has none, finishes what a crash interrupted, and opens the key. It fails with
// ErrCannotSign when this process doesn't have what that takes. A rotation whose new key can't be opened here stays
// unfinished, and the key before goes on signing.
func (k *Keys) Ensure(ctx context.Context) error {
	release, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	pending, err := k.pending(ctx)
	if err != nil {
		return err
	}
	if pending != nil {
		if err = k.finish(ctx, pending, k.cfg.Secrets); errors.Is(err, ErrCannotSign) {
			k.cfg.Logger.WarnContext(ctx, "a rotation isn't finished: the signing key before goes on until a process that can open the new one starts",
				"key", pending.ID, "error", err)
		} else if err != nil {
			return err
		}
	}
	active, err := oneKey(ctx, k.cfg.DB, KeyActive, "")
	if err != nil {
		return err
	}
	if active == nil {
		if active, err = k.create(ctx); err != nil {
			return err
		}
	}
	_, err = k.signer(ctx, active)
	return err
}

// create makes the log's first key and records it.
func (k *Keys) create(ctx context.Context) (*storedKey, error) {
	key, err := k.newKey(ctx, k.cfg.Secrets, true)
	if err != nil {
		return nil, err
	}
	origin, _, err := readOrigin(ctx, k.cfg.DB)
	if err != nil {
		return nil, err
	}
	position, err := k.cfg.Recorder.KeyCreated(ctx, origin, key.VerifierKey)
	if err != nil {
		return nil, fmt.Errorf("record the signing key: %w", err)
	}
	k.cfg.Logger.InfoContext(ctx, "made the key that signs checkpoints", "origin", origin, "key", key.ID,
		"verifier_key", key.VerifierKey)
	return key, k.activate(ctx, key, nil, position)
}

// newKey stores a key as pending: one from outside as its public part, another one encrypted.
func (k *Keys) newKey(ctx context.Context, secrets Secrets, first bool) (*storedKey, error) {
	origin, logID, err := readOrigin(ctx, k.cfg.DB)
	if err != nil {
		return nil, err
	}
	var key signerKey
	var private []byte
	if secrets.SignerKey != "" {
		if key, err = parseSignerKey(secrets.SignerKey); err != nil {
			return nil, err
		}
		if err = k.adopt(ctx, key, origin, first); err != nil {
			return nil, err
		}
	} else {
		passphrase, err := secrets.passphrase(logID, first)
		if err != nil {
			return nil, err
		}
		if key, err = newSignerKey(origin); err != nil {
			return nil, err
		}
		private = key.encrypt(passphrase, secrets.memory())
	}
	_, err = k.cfg.DB.ExecContext(ctx, `INSERT INTO annals.integrity_keys (verifier_key, status, private_key)
		VALUES ($1, 'pending', $2)`, key.verifier, private)
	if err != nil {
		return nil, fmt.Errorf("store the signing key: %w", err)
	}
	return oneKey(ctx, k.cfg.DB, KeyPending, "")
}

// adopt gives the log the name of its first key, if that comes from outside. A later key must have the log's name.
func (k *Keys) adopt(ctx context.Context, key signerKey, origin string, first bool) error {
	signer, err := note.NewSigner(key.private)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCannotSign, err)
	case signer.Name() == origin:
		return nil
	case !first:
		return fmt.Errorf("%w: the key is called %q, and the log %q", ErrCannotSign, signer.Name(), origin)
	}
	if _, err := k.cfg.DB.ExecContext(ctx, `UPDATE annals.integrity_log SET origin = $1`, signer.Name()); err != nil {
		return fmt.Errorf("name the log: %w", err)
	}
	return nil
}

// reopen is how long a key that couldn't be opened isn't tried again, which takes work.
const reopen = time.Minute

// signer opens a key. It fails with ErrCannotSign.
func (k *Keys) signer(ctx context.Context, key *storedKey) (note.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opened.verifier != key.VerifierKey {
		if k.closed == key.VerifierKey && time.Now().Before(k.retry) {
			return nil, k.refused
		}
		opened, err := k.open(ctx, key, k.cfg.Secrets)
		if err != nil {
			k.closed, k.refused, k.retry = key.VerifierKey, err, time.Now().Add(reopen)
			return nil, err
		}
		k.opened = opened
	}
	signer, err := note.NewSigner(k.opened.private)
	if err != nil {
		return nil, fmt.Errorf("%w: the stored key is damaged", ErrCannotSign)
	}
	return signer, nil
}

func (k *Keys) open(ctx context.Context, key *storedKey, secrets Secrets) (signerKey, error) {
	if secrets.SignerKey != "" {
		outside, err := parseSignerKey(secrets.SignerKey)
		if err == nil && outside.verifier != key.VerifierKey {
			err = fmt.Errorf("%w: the key from outside isn't the log's, which is %s", ErrCannotSign, key.ID)
		}
		return outside, err
	}
	if key.private == nil {
		return signerKey{}, fmt.Errorf("%w: the key %s is kept outside of the database", ErrCannotSign, key.ID)
	}
	_, logID, err := readOrigin(ctx, k.cfg.DB)
	if err != nil {
		return signerKey{}, err
	}
	passphrase, err := secrets.passphrase(logID, false)
	if err != nil {
		return signerKey{}, err
	}
	return decrypt(key.private, passphrase, key.VerifierKey)
}
