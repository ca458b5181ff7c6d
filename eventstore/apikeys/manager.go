package apikeys

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/domain/operations"
)

// MaxKeys is how many keys can be in use at a time: every server holds them all in memory.
const MaxKeys = 10_000

// What a manager refuses.
var (
	// ErrUnknownKey: no key ever had the id.
	ErrUnknownKey = errors.New("there is no API key with this id")
	// ErrKeyEnded: the key can't be rotated any more.
	ErrKeyEnded = errors.New("the API key has expired or was revoked")
	// ErrTooManyKeys: MaxKeys are in use. None was made.
	ErrTooManyKeys = fmt.Errorf("there are %d API keys in use: revoke some first", MaxKeys)
)

// Key is an API key without its secret.
type Key struct {
	ID         string     `json:"id" db:"key_id"`
	Client     string     `json:"client" db:"client_id"` // "*": every client
	Role       string     `json:"role" db:"role"`        // viewer, operator, auditor or admin
	Actor      string     `json:"actor" db:"actor_id"`   // whom its commands' events name
	Label      *string    `json:"label" db:"label"`      // for people
	CreatedAt  time.Time  `json:"created_at" db:"created_at"`
	CreatedBy  string     `json:"created_by" db:"created_by"`
	ExpiresAt  *time.Time `json:"expires_at" db:"expires_at"`
	RotatedAt  *time.Time `json:"rotated_at" db:"rotated_at"`
	OldUntil   *time.Time `json:"old_until" db:"old_until"` // until when the secret before the last rotation is taken
	RevokedAt  *time.Time `json:"revoked_at" db:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at" db:"last_used_at"` // to the minute
}

const keyColumns = `key_id, client_id, role, actor_id, label, created_at, created_by, expires_at, rotated_at, old_until,
	revoked_at, last_used_at`

// Status says in a word what a key is good for: active, expired or revoked.
func (k Key) Status(now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked"
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return "expired"
	default:
		return "active"
	}
}

// Manager changes keys. Each change is also an event of the system's client.
type Manager struct {
	db     *sqlx.DB
	record func(ctx context.Context, c operations.APIKeyCommand) error
	now    func() time.Time
}

// NewManager makes a manager over a pool of the database's owner. record runs operations.ChangeAPIKey.
func NewManager(owner *sqlx.DB, record func(context.Context, operations.APIKeyCommand) error) *Manager {
	return &Manager{db: owner, record: record, now: time.Now}
}

// NewKey says what a key is to be. Its members are those of Key.
type NewKey struct {
	Client, Role, Actor string
	Label               *string
	ExpiresAt           *time.Time // nil: never
	CreatedBy           string
}

// Create makes a key and gives it with its secret, which can't be had again. It fails with ErrTooManyKeys, and refuses
// values that operations.CreateAPIKey does. The event comes before the row: a failure in between leaves a key on record
// that was never shown and is never taken.
func (m *Manager) Create(ctx context.Context, n NewKey) (k Key, secret string, err error) {
	cmd := operations.CreateAPIKey{
		KeyID: newID(), Client: n.Client, Role: n.Role, Actor: n.Actor, Label: n.Label, ExpiresAt: n.ExpiresAt,
	}
	if err := domain.Validate(cmd); err != nil {
		return Key{}, "", err
	}
	var used int
	if err := m.db.GetContext(ctx, &used, `
		SELECT count(*) FROM annals.api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`); err != nil {
		return Key{}, "", fmt.Errorf("count the API keys: %w", err)
	}
	if used >= MaxKeys {
		return Key{}, "", ErrTooManyKeys
	}
	if err := m.record(ctx, cmd); err != nil {
		return Key{}, "", fmt.Errorf("record the API key: %w", err)
	}
	secret = newSecret()
	sum := hash(secret)
	err = m.db.GetContext(ctx, &k, `
		WITH changed AS (UPDATE annals.api_key_revision SET revision = revision + 1 RETURNING revision)
		INSERT INTO annals.api_keys (key_id, secret_hash, client_id, role, actor_id, label, created_by, expires_at, revision)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, revision FROM changed
		RETURNING `+keyColumns,
		cmd.KeyID, sum[:], n.Client, n.Role, n.Actor, n.Label, n.CreatedBy, n.ExpiresAt)
	if err != nil {
		return Key{}, "", fmt.Errorf("store the API key: %w", err)
	}
	return k, token(k.ID, secret), nil
}

// List gives every key there ever was, in the order of creation.
func (m *Manager) List(ctx context.Context) ([]Key, error) {
	var keys []Key
	err := m.db.SelectContext(ctx, &keys, `SELECT `+keyColumns+` FROM annals.api_keys ORDER BY created_at, key_id`)
	if err != nil {
		return nil, fmt.Errorf("list the API keys: %w", err)
	}
	return keys, nil
}

// Rotate gives a key another secret, which it returns. The one before is taken for as long as grace says; one before that
// isn't taken any more. It fails with ErrUnknownKey, and with ErrKeyEnded for a key that isn't in use.
func (m *Manager) Rotate(ctx context.Context, id string, grace time.Duration) (k Key, secret string, err error) {
	if k, err = m.find(ctx, id); err != nil {
		return Key{}, "", err
	}
	if k.Status(m.now()) != "active" {
		return Key{}, "", ErrKeyEnded
	}
	until := m.now().UTC().Add(grace).Truncate(time.Microsecond)
	if err := m.record(ctx, operations.RotateAPIKey{KeyID: id, OldUntil: until}); err != nil {
		return Key{}, "", fmt.Errorf("record the rotation: %w", err)
	}
	secret = newSecret()
	sum := hash(secret)
	err = m.db.GetContext(ctx, &k, `
		WITH changed AS (UPDATE annals.api_key_revision SET revision = revision + 1 RETURNING revision)
		UPDATE annals.api_keys k SET secret_hash = $2, old_hash = k.secret_hash, old_until = $3, rotated_at = now(),
			revision = changed.revision
		FROM changed WHERE key_id = $1 AND revoked_at IS NULL
		RETURNING `+keyColumns, id, sum[:], until)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, "", ErrKeyEnded
	}
	if err != nil {
		return Key{}, "", fmt.Errorf("store the rotation: %w", err)
	}
	return k, token(id, secret), nil
}

// Revoke ends a key for good, within moments on every node (see Directory). It fails with ErrUnknownKey. The row comes before the event, so that a failure in between leaves no key in use; done
// again, the revocation is recorded after all.
func (m *Manager) Revoke(ctx context.Context, id, reason string) (k Key, err error) {
	cmd := operations.RevokeAPIKey{KeyID: id, Reason: reason}
	if err := domain.Validate(cmd); err != nil {
		return Key{}, err
	}
	err = m.db.GetContext(ctx, &k, `
		WITH changed AS (UPDATE annals.api_key_revision SET revision = revision + 1 RETURNING revision)
		UPDATE annals.api_keys k SET revoked_at = coalesce(revoked_at, now()), revision = changed.revision
		FROM changed WHERE key_id = $1
		RETURNING `+keyColumns, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, ErrUnknownKey
	}
	if err != nil {
		return Key{}, fmt.Errorf("revoke the API key: %w", err)
	}
	if err := m.record(ctx, cmd); err != nil {
		return Key{}, fmt.Errorf("the API key is revoked, but that isn't on record; revoke it again: %w", err)
	}
	return k, nil
}

func (m *Manager) find(ctx context.Context, id string) (k Key, err error) {
	err = m.db.GetContext(ctx, &k, `SELECT `+keyColumns+` FROM annals.api_keys WHERE key_id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, ErrUnknownKey
	}
	if err != nil {
		return Key{}, fmt.Errorf("find the API key: %w", err)
	}
	return k, nil
}

// Exist reports whether there ever was a key in a database, which may lack every migration.
func Exist(ctx context.Context, db *sql.DB) (found bool, err error) {
	err = db.QueryRowContext(ctx, `SELECT to_regclass('annals.api_key_revision') IS NOT NULL`).Scan(&found)
	if err == nil && found {
		err = db.QueryRowContext(ctx, `SELECT revision > 0 FROM annals.api_key_revision`).Scan(&found)
	}
	if err != nil {
		return false, fmt.Errorf("look for API keys: %w", err)
	}
	return found, nil
}
