package subjectkeys

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"annals/domain"
)

// Erasure is what a subject's erasure did so far.
type Erasure struct {
	Destroyed int         // keys that this call destroyed
	Pending   []domain.ID // destroyed keys, of this call or an earlier one, that no receipt is known of
}

// Erase destroys a subject's key. From its return on nobody can open what was sealed with it. It fails with
// ErrUnknownSubject, and with ErrHeld while a hold is in force: the hold is judged in the transaction that destroys, so
// that the two can't pass each other by. Repeated, it destroys nothing, and tells what is still without a receipt.
func (k *Keys) Erase(ctx context.Context, client string, subject domain.Subject) (Erasure, error) {
	var e Erasure
	name := k.Digest(client, subject)
	err := k.inTx(ctx, func(tx *sqlx.Tx) error {
		var held bool
		err := tx.QueryRowContext(ctx, `SELECT held_since IS NOT NULL FROM annals_keys.subjects
			WHERE client_id = $1 AND kind = $2 AND digest = $3 FOR UPDATE`, client, subject.Kind, name).Scan(&held)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrUnknownSubject
		case err != nil:
			return err
		case held:
			return ErrHeld
		}
		destroyed, err := tx.ExecContext(ctx, `UPDATE annals_keys.keys SET wrapped = NULL, reference = NULL, erased_at = now()
			WHERE client_id = $1 AND kind = $2 AND digest = $3 AND erased_at IS NULL`, client, subject.Kind, name)
		if err != nil {
			return err
		}
		n, err := destroyed.RowsAffected()
		if err != nil {
			return err
		}
		e.Destroyed = int(n)
		var pending []string
		err = tx.SelectContext(ctx, &pending, `SELECT key_id::text FROM annals_keys.keys
			WHERE client_id = $1 AND kind = $2 AND digest = $3 AND erased_at IS NOT NULL AND receipt_position IS NULL
			ORDER BY key_id`, client, subject.Kind, name)
		for _, text := range pending {
			id, parseErr := domain.ParseID(text)
			e.Pending, err = append(e.Pending, id), errors.Join(err, parseErr)
		}
		return err
	})
	if err != nil {
		return Erasure{}, fmt.Errorf("erase: %w", err)
	}
	return e, nil
}

// Receipted notes where the receipt of destroyed keys is recorded. A key that isn't destroyed, or has a receipt already, is
// left alone.
func (k *Keys) Receipted(ctx context.Context, keys []domain.ID, position int64) error {
	texts := make([]string, len(keys))
	for i, id := range keys {
		texts[i] = id.String()
	}
	_, err := k.db.ExecContext(ctx, `UPDATE annals_keys.keys SET receipt_position = $2
		WHERE key_id = ANY($1::text[]::uuid[]) AND erased_at IS NOT NULL AND receipt_position IS NULL`, pq.Array(texts), position)
	if err != nil {
		return fmt.Errorf("note the receipt: %w", err)
	}
	return nil
}

// SetHold puts a legal hold in force, or ends it. One that is in force keeps the time since when it is. It fails with
// ErrUnknownSubject.
func (k *Keys) SetHold(ctx context.Context, client string, subject domain.Subject, held bool) error {
	result, err := k.db.ExecContext(ctx, `UPDATE annals_keys.subjects
		SET held_since = CASE WHEN $4 THEN coalesce(held_since, now()) END
		WHERE client_id = $1 AND kind = $2 AND digest = $3`, client, subject.Kind, k.Digest(client, subject), held)
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	n, err := result.RowsAffected()
	switch {
	case err != nil:
		return fmt.Errorf("hold: %w", err)
	case n == 0:
		return ErrUnknownSubject
	}
	return nil
}

// Entry is a key with its subject, as operators see it.
type Entry struct {
	Client          string     `json:"client"`
	Kind            string     `json:"kind"`
	Subject         *string    `json:"subject"` // nil: erased
	Digest          string     `json:"digest"`  // hexadecimal, as in receipts
	KeyID           string     `json:"key_id"`
	CreatedAt       time.Time  `json:"created_at"`
	HeldSince       *time.Time `json:"held_since"`
	ErasedAt        *time.Time `json:"erased_at"`
	ReceiptPosition *int64     `json:"receipt_position"`
}

// Status says in a word how a key stands: readable, held, erased, or erased with its receipt missing.
func (e Entry) Status() string {
	switch {
	case e.ErasedAt != nil && e.ReceiptPosition == nil:
		return "erased, receipt missing"
	case e.ErasedAt != nil:
		return "erased"
	case e.HeldSince != nil:
		return "held"
	default:
		return "readable"
	}
}

// Filter selects entries. Zero members select everything.
type Filter struct {
	Client, Kind string
	Subject      string // needs Client and Kind
	Limit        int    // 0: all
}

// List gives entries, the newest key first.
func (k *Keys) List(ctx context.Context, f Filter) ([]Entry, error) {
	var name []byte
	if f.Subject != "" {
		name = k.Digest(f.Client, domain.Subject{Kind: f.Kind, Reference: f.Subject})
	}
	rows, err := k.db.QueryContext(ctx, `SELECT k.client_id, k.kind, encode(k.digest, 'hex'), k.key_id::text, k.wrapped,
			k.reference, k.created_at, s.held_since, k.erased_at, k.receipt_position
		FROM annals_keys.keys k JOIN annals_keys.subjects s USING (client_id, kind, digest)
		WHERE ($1 = '' OR k.client_id = $1) AND ($2 = '' OR k.kind = $2) AND ($3::bytea IS NULL OR k.digest = $3)
		ORDER BY k.key_id DESC LIMIT nullif($4::bigint, 0)`, f.Client, f.Kind, name, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list subjects: %w", err)
	}
	defer rows.Close()
	var list []Entry
	for rows.Next() {
		var e Entry
		var wrapped, reference []byte
		err := rows.Scan(&e.Client, &e.Kind, &e.Digest, &e.KeyID, &wrapped, &reference, &e.CreatedAt, &e.HeldSince,
			&e.ErasedAt, &e.ReceiptPosition)
		if err == nil && wrapped != nil {
			e.Subject, err = k.reference(e, wrapped, reference)
		}
		if err != nil {
			return nil, fmt.Errorf("list subjects: %w", err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list subjects: %w", err)
	}
	return list, nil
}

func (k *Keys) reference(e Entry, wrapped, sealed []byte) (*string, error) {
	key, err := k.unwrapKey(e.KeyID, e.Client, wrapped)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key.Secret)
	if err != nil {
		return nil, err
	}
	reference, err := unwrap(aead, sealed, purposeReference(key.ID))
	if err != nil {
		return nil, fmt.Errorf("the reference of key %s: %w", key.ID, err)
	}
	text := string(reference)
	return &text, nil
}

func (k *Keys) inTx(ctx context.Context, work func(tx *sqlx.Tx) error) error {
	tx, err := k.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		_ = tx.Rollback() // the error that led here counts
		return err
	}
	return tx.Commit()
}
