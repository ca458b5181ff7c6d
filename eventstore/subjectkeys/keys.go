// Package subjectkeys keeps the keys that seal personal text: one for each subject (a person), in a schema of their own,
// which may be in a database of its own. Each is wrapped by a secret that is in no database. To destroy a subject's key is
// to erase what was sealed with it, wherever it was copied.
//
// Nothing is cached: a key that was destroyed is gone for every node at once.
package subjectkeys

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore"
)

// Errors that callers react to.
var (
	// ErrWrongSecret: the keys are wrapped by another secret. Nothing was changed.
	ErrWrongSecret = errors.New("the subject keys are wrapped by another passphrase or key file")
	// ErrUnknownSubject: nothing was ever recorded about the subject.
	ErrUnknownSubject = errors.New("no personal text of this subject is recorded")
	// ErrHeld: a legal hold is in force. Nothing was erased.
	ErrHeld = errors.New("a legal hold is in force")
)

// Keys are the keys in one database. It is safe for concurrent use.
type Keys struct {
	db        *sqlx.DB
	master    cipher.AEAD
	digestKey []byte
}

var _ eventstore.SubjectKeys = (*Keys)(nil)

// keyConns is the size of the pool: a command holds a connection for one short statement.
const keyConns = 8

// Open reaches the keys in a migrated database and checks that the secret is theirs. The first to open them decides it. It
// fails with ErrWrongSecret, and with eventstore.ErrUnavailable. Close ends its connections.
func Open(ctx context.Context, dsn string, secret Secret) (*Keys, error) {
	db, err := eventstore.OpenPreparedDB(dsn, eventstore.RoleApp, keyConns, "annals subject keys")
	if err != nil {
		return nil, err
	}
	k := &Keys{db: db}
	if err := k.unlock(ctx, secret); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the subject keys: %w", err)
	}
	return k, nil
}

// Close ends the connections.
func (k *Keys) Close() error { return k.db.Close() }

// Exist reports whether the keys in a database have a secret already, which then must not be made anew.
func Exist(ctx context.Context, dsn string) (exist bool, err error) {
	db, err := eventstore.OpenDB(dsn, eventstore.RoleApp, 1, "annals subject keys")
	if err != nil {
		return false, err
	}
	defer db.Close()
	if err = db.GetContext(ctx, &exist, `SELECT EXISTS (SELECT FROM annals_keys.master)`); err != nil {
		return false, fmt.Errorf("look for subject keys: %w", err)
	}
	return exist, nil
}

// unlock derives the master key, and makes what it unlocks when nobody has yet.
func (k *Keys) unlock(ctx context.Context, secret Secret) error {
	for {
		var salt, wrapped []byte
		var iterations int
		err := k.db.QueryRowContext(ctx, `SELECT salt, iterations, wrapped FROM annals_keys.master`).
			Scan(&salt, &iterations, &wrapped)
		switch {
		case err == nil:
			if k.master, err = secret.derive(salt, iterations); err != nil {
				return err
			}
			if k.digestKey, err = unwrap(k.master, wrapped, purposeDigest); err != nil {
				return ErrWrongSecret
			}
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return eventstore.Unavailable(err)
		}
		salt = randomKey()
		master, err := secret.derive(salt, secret.iterations())
		if err != nil {
			return err
		}
		_, err = k.db.ExecContext(ctx, `INSERT INTO annals_keys.master (salt, iterations, wrapped) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, salt, secret.iterations(), wrap(master, randomKey(), purposeDigest))
		if err != nil {
			return eventstore.Unavailable(err)
		}
	}
}

// Digest names a subject in receipts, without telling who it is.
func (k *Keys) Digest(client string, subject domain.Subject) []byte {
	return digest(k.digestKey, client, subject)
}

// Current implements eventstore.SubjectKeys. Of several callers that meet a new subject at once, one makes the key and all
// use it. A key that is then not used, because the append didn't happen, does no harm.
func (k *Keys) Current(ctx context.Context, client string, subject domain.Subject) (eventstore.SubjectKey, error) {
	name := k.Digest(client, subject)
	for {
		var id string
		var wrapped []byte
		err := k.db.QueryRowContext(ctx, `SELECT key_id::text, wrapped FROM annals_keys.keys
			WHERE client_id = $1 AND kind = $2 AND digest = $3 AND erased_at IS NULL`, client, subject.Kind, name).
			Scan(&id, &wrapped)
		switch {
		case err == nil:
			return k.unwrapKey(id, client, wrapped)
		case !errors.Is(err, sql.ErrNoRows):
			return eventstore.SubjectKey{}, fmt.Errorf("read a subject's key: %w", eventstore.Unavailable(err))
		}
		if err := k.make(ctx, client, subject, name); err != nil {
			return eventstore.SubjectKey{}, fmt.Errorf("make a subject's key: %w", err)
		}
	}
}

// make stores a new key for a subject unless it has one in use.
func (k *Keys) make(ctx context.Context, client string, subject domain.Subject, name []byte) error {
	id, secret := domain.ID(uuid.Must(uuid.NewV7())), randomKey()
	aead, err := newAEAD(secret)
	if err != nil {
		return err
	}
	_, err = k.db.ExecContext(ctx, `
		WITH subject AS (
			INSERT INTO annals_keys.subjects (client_id, kind, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
		)
		INSERT INTO annals_keys.keys (client_id, kind, digest, key_id, wrapped, reference) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING`,
		client, subject.Kind, name, id.String(), wrap(k.master, secret, purposeKey(id, client)),
		wrap(aead, []byte(subject.Reference), purposeReference(id)))
	return eventstore.Unavailable(err)
}

func (k *Keys) unwrapKey(text, client string, wrapped []byte) (eventstore.SubjectKey, error) {
	id, err := domain.ParseID(text)
	if err != nil {
		return eventstore.SubjectKey{}, fmt.Errorf("read a subject's key: %w", err)
	}
	key := eventstore.SubjectKey{ID: id, Client: client}
	if wrapped == nil {
		return key, nil
	}
	if key.Secret, err = unwrap(k.master, wrapped, purposeKey(id, client)); err != nil {
		return eventstore.SubjectKey{}, fmt.Errorf("read the subject key %s: %w", id, err)
	}
	return key, nil
}

// Lookup implements eventstore.SubjectKeys.
func (k *Keys) Lookup(ctx context.Context, ids []domain.ID) (map[domain.ID]eventstore.SubjectKey, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	rows, err := k.db.QueryContext(ctx, `SELECT key_id::text, client_id, wrapped FROM annals_keys.keys
		WHERE key_id = ANY($1::text[]::uuid[])`, pq.Array(texts))
	if err != nil {
		return nil, fmt.Errorf("read subject keys: %w", eventstore.Unavailable(err))
	}
	defer rows.Close()
	found := make(map[domain.ID]eventstore.SubjectKey, len(ids))
	for rows.Next() {
		var id, client string
		var wrapped []byte
		if err := rows.Scan(&id, &client, &wrapped); err != nil {
			return nil, fmt.Errorf("read subject keys: %w", eventstore.Unavailable(err))
		}
		key, err := k.unwrapKey(id, client, wrapped)
		switch {
		case err == nil:
			found[key.ID] = key
		case !errors.Is(err, errUnwrap): // a damaged key is as good as none, and mustn't hide what others sealed
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read subject keys: %w", eventstore.Unavailable(err))
	}
	return found, nil
}
