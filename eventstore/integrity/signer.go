package integrity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrForked says that the tree doesn't continue what was signed before: the past was changed. It isn't signed.
var ErrForked = errors.New("the Merkle tree doesn't continue the last signed checkpoint")

// SignEvery is the usual least time between two checkpoints.
const SignEvery = time.Second

// Signer signs checkpoints of what is sealed, at intervals. Several processes may: the database keeps them apart.
type Signer struct {
	keys   *Keys
	every  time.Duration
	logger *slog.Logger

	mu   sync.Mutex
	last SignedCheckpoint // that this process has seen; zero: none
}

// NewSigner makes a signer that signs every so often, when the log has grown.
func NewSigner(keys *Keys, every time.Duration, logger *slog.Logger) *Signer {
	return &Signer{keys: keys, every: every, logger: logger}
}

// Run signs until ctx ends. What keeps it from signing is logged when it begins and when it changes.
func (s *Signer) Run(ctx context.Context) {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	said := ""
	for {
		_, err := s.Sign(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			level := slog.LevelWarn
			if errors.Is(err, ErrForked) || errors.Is(err, ErrDamaged) {
				level = slog.LevelError
			}
			s.logger.Log(ctx, level, "no checkpoint is signed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Sign signs the tree as it is, unless that is signed already or the last checkpoint is younger than the interval. It
// fails with ErrCannotSign, with ErrForked when the tree doesn't continue what was signed before, and with ErrDamaged.
func (s *Signer) Sign(ctx context.Context) (signed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.keys.cfg.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, fmt.Errorf("sign a checkpoint: %w", err)
	}
	defer tx.Rollback()
	due, err := s.due(ctx, tx)
	if err != nil || !due {
		return false, err
	}
	key, err := oneKey(ctx, tx, KeyActive, "FOR SHARE") // a rotation waits until this is signed
	if err != nil {
		return false, err
	}
	if key == nil {
		return false, fmt.Errorf("%w: the log has no key yet", ErrCannotSign)
	}
	checkpoint, err := s.signWith(ctx, tx, key)
	if err != nil {
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("sign a checkpoint: %w", err)
	}
	s.last = checkpoint
	return true, nil
}

// due reports whether there is something to sign.
func (s *Signer) due(ctx context.Context, tx *sql.Tx) (due bool, err error) {
	err = tx.QueryRowContext(ctx, `
		SELECT l.size > coalesce(c.size, -1) AND (c.size IS NULL OR c.signed_at <= clock_timestamp() - make_interval(secs => $1::float8))
			OR l.size < c.size
		FROM annals.integrity_log l LEFT JOIN (
			SELECT size, signed_at FROM annals.integrity_checkpoints ORDER BY size DESC LIMIT 1
		) c ON true`, s.every.Seconds()/2).Scan(&due)
	if err != nil {
		return false, fmt.Errorf("look for something to sign: %w", err)
	}
	return due, nil
}

func (s *Signer) signWith(ctx context.Context, tx *sql.Tx, key *storedKey) (SignedCheckpoint, error) {
	signer, err := s.keys.signer(ctx, key)
	if err != nil {
		return SignedCheckpoint{}, err
	}
	// First what was signed, then the tree: another process may sign a larger one in between.
	last, err := oneCheckpoint(ctx, tx, selectCheckpoints+`ORDER BY size DESC LIMIT 1`)
	if err != nil && !errors.Is(err, ErrNoCheckpoint) {
		return SignedCheckpoint{}, err
	}
	view, viewErr := s.keys.log.View(ctx)
	if viewErr != nil {
		return SignedCheckpoint{}, viewErr
	}
	if err == nil {
		if err := continues(ctx, view, last, *key); err != nil {
			return SignedCheckpoint{}, err
		}
	}
	if s.last.Note != "" && s.last.Size != last.Size { // also where somebody took the last one away
		if err := extends(ctx, view, s.last); err != nil {
			return SignedCheckpoint{}, err
		}
	}
	origin, _, err := readOrigin(ctx, tx)
	if err != nil {
		return SignedCheckpoint{}, err
	}
	c := SignedCheckpoint{Size: view.Size(), Root: view.Root()}
	signed, err := Checkpoint{Origin: origin, Size: c.Size, Root: c.Root}.Sign(signer)
	if err != nil {
		return SignedCheckpoint{}, fmt.Errorf("%w: %w", ErrCannotSign, err)
	}
	c.Note = string(signed)
	return c, storeCheckpoint(ctx, tx, c)
}

// storeCheckpoint adds a checkpoint. The one before goes when it is of the same minute and not to be kept, so that a busy
// log doesn't pile them up.
func storeCheckpoint(ctx context.Context, tx *sql.Tx, c SignedCheckpoint) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO annals.integrity_checkpoints (size, root, note) VALUES ($1, $2, $3)
		ON CONFLICT (size) DO NOTHING`, c.Size, c.Root[:], c.Note)
	if err != nil {
		return fmt.Errorf("store a checkpoint: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		DELETE FROM annals.integrity_checkpoints
		WHERE size = (SELECT max(size) FROM annals.integrity_checkpoints WHERE size < $1) AND NOT kept
		  AND date_trunc('minute', signed_at) = date_trunc('minute', clock_timestamp())`, c.Size)
	if err != nil {
		return fmt.Errorf("thin the checkpoints: %w", err)
	}
	return nil
}

// continues checks that a checkpoint of this log is what its note says, signed by one of the keys, and that the tree
// continues it.
func continues(ctx context.Context, view *View, c SignedCheckpoint, keys ...storedKey) error {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = k.VerifierKey
	}
	known, err := Verifiers(texts...)
	if err != nil {
		return err
	}
	signed, _, err := ParseCheckpoint([]byte(c.Note), known)
	if err != nil {
		return fmt.Errorf("%w: the checkpoint at %d: %w", ErrForked, c.Size, err)
	}
	if signed.Size != c.Size || signed.Root != c.Root {
		return fmt.Errorf("%w: the checkpoint at %d isn't what was signed", ErrForked, c.Size)
	}
	return extends(ctx, view, c)
}

func extends(ctx context.Context, view *View, c SignedCheckpoint) error {
	if c.Size > view.Size() {
		return fmt.Errorf("%w: %d is signed, and the tree reaches to %d", ErrForked, c.Size, view.Size())
	}
	root, err := view.RootAt(ctx, c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("%w: at size %d its root is %v, and %v is signed", ErrForked, c.Size, root, c.Root)
	}
	return nil
}
