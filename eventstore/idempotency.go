package eventstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
)

// storedResult is what an idempotency key keeps: all that an answer is rendered from. Positions aren't known before the
// append; they follow from the key's first position, since a command's events are consecutive.
type storedResult struct {
	AggregateType string            `json:"aggregate_type,omitempty"`
	ID            domain.ID         `json:"id"`
	Version       int64             `json:"version"`
	Position      int64             `json:"position,omitempty"` // only when the command changed nothing
	Created       bool              `json:"created,omitempty"`
	Events        []storedEvent     `json:"events"`
	Extras        map[string]string `json:"extras,omitempty"`
}

type storedEvent struct {
	EventID       domain.ID `json:"event_id"`
	EventType     string    `json:"event_type"`
	AggregateType string    `json:"aggregate_type"`
	AggregateID   domain.ID `json:"aggregate_id"`
	Version       int64     `json:"version"`
}

// result renders the answer of a command whose events start at a position.
func (s *storedResult) result(firstPosition int64) CommandResult {
	r := CommandResult{
		AggregateType: s.AggregateType, ID: s.ID, Version: s.Version, Position: s.Position, Created: s.Created,
		Extras: s.Extras, Events: make([]RecordedEvent, len(s.Events)),
	}
	for i, e := range s.Events {
		r.Events[i] = RecordedEvent{
			EventID: e.EventID, EventType: e.EventType, AggregateType: e.AggregateType, AggregateID: e.AggregateID,
			Version: e.Version, Position: firstPosition + int64(i),
		}
		r.Position = r.Events[i].Position
	}
	return r
}

// replay renders the answer of the first command with a key from what the key kept.
func replay(stored []byte, firstPosition int64) (CommandResult, error) {
	var s storedResult
	if err := json.Unmarshal(stored, &s); err != nil {
		return CommandResult{}, fmt.Errorf("read the kept answer of an idempotency key: %w", err)
	}
	r := s.result(firstPosition)
	r.Replayed = true
	return r, nil
}

// errKeyReused is the refusal of a key that was used for another request.
func errKeyReused() error {
	return domain.Refuse(domain.CodeIdempotencyKeyReused, "the idempotency key was used for another request")
}

// lookupKey finds the answer kept under a key. A key of another request is refused.
func lookupKey(ctx context.Context, db *sqlx.DB, client string, key *CommandKey) (r CommandResult, found bool, err error) {
	var fingerprint, stored []byte
	var first sql.NullInt64
	err = db.QueryRowxContext(ctx, `SELECT fingerprint, first_position, result FROM annals.idempotency_keys
		WHERE client_id = $1 AND scope = $2 AND key = $3`, client, key.Scope, key.Key).Scan(&fingerprint, &first, &stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return CommandResult{}, false, nil
	case err != nil:
		return CommandResult{}, false, fmt.Errorf("look up an idempotency key: %w", unavailable(err))
	case !bytes.Equal(fingerprint, key.Fingerprint):
		return CommandResult{}, false, errKeyReused()
	}
	r, err = replay(stored, first.Int64)
	return r, err == nil, err
}

// deleteKeysBatch is how many idempotency keys one statement removes.
const deleteKeysBatch = 1000

// DeleteIdempotencyKeys removes the keys of a scope ("http", "policy:<name>") of all clients which are older than a time. A
// scope that begins alike keeps its keys: another policy may need them yet. It works in small batches, each a transaction of
// its own, and gives how many it removed, also with an error.
func DeleteIdempotencyKeys(ctx context.Context, db *sqlx.DB, scope string, olderThan time.Time) (int64, error) {
	var total int64
	for {
		result, err := db.ExecContext(ctx, `
			DELETE FROM annals.idempotency_keys WHERE (client_id, scope, key) IN (
				SELECT client_id, scope, key FROM annals.idempotency_keys
				WHERE created_at < $1 AND scope = $2 ORDER BY created_at LIMIT $3)`,
			olderThan, scope, deleteKeysBatch)
		if err != nil {
			return total, fmt.Errorf("delete idempotency keys: %w", unavailable(err))
		}
		n, err := result.RowsAffected()
		if err != nil {
			return total, fmt.Errorf("delete idempotency keys: %w", err)
		}
		if total += n; n < deleteKeysBatch {
			return total, nil
		}
	}
}
