package apikeys

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"annals/eventstore"
)

// ErrInvalid says that what was presented isn't a key in use. It doesn't say why.
var ErrInvalid = errors.New("not a valid API key")

// How old what a directory knows may be. Past fresh it is looked up in the background, past stale callers wait for that:
// a change of a key takes effect within stale on every node, plus what the database takes to answer.
const (
	fresh       = time.Second
	stale       = 2 * time.Second
	loadTimeout = 5 * time.Second
	// usePrecision is how exact a key's last use is known: each node writes it down at most that often.
	usePrecision = time.Minute
)

// Directory knows every key in use, for the requests of one node. It looks for changes only while it is asked, and a key
// that it doesn't know costs no statement. It is safe for concurrent use.
type Directory struct {
	db   *sqlx.DB
	log  *slog.Logger
	now  func() time.Time
	stop context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	known   *snapshot     // nil: nothing yet
	loading chan struct{} // closed when the load under way has ended; nil: none is
	failure error         // of the last load
	noted   map[string]time.Time
	pending map[string]time.Time // uses to be written down
	writing bool
}

// snapshot is what was known at a time. It isn't changed.
type snapshot struct {
	at       time.Time
	revision int64 // above zero: there once was a key
	keys     map[string]entry
}

// entry is a key as a request is held against it.
type entry struct {
	key       Key
	hash, old [sha256.Size]byte
}

// NewDirectory makes a directory over a pool whose sessions have the role annals_app. It doesn't look at the database
// before it is asked. Close ends what it does in the background.
func NewDirectory(db *sqlx.DB, log *slog.Logger) *Directory {
	stop, end := context.WithCancel(context.Background())
	return &Directory{
		db: db, log: log, now: time.Now, stop: stop, end: end,
		noted: make(map[string]time.Time), pending: make(map[string]time.Time),
	}
}

// Close ends what the directory does in the background.
func (d *Directory) Close() {
	d.mu.Lock()
	d.end()
	d.mu.Unlock()
	d.work.Wait()
}

// Exist reports whether there ever was a key: also revoked ones count, so that a server doesn't open when the last key
// goes. It fails with eventstore.ErrUnavailable when that can't be found out.
func (d *Directory) Exist(ctx context.Context) (bool, error) {
	s, err := d.current(ctx)
	return err == nil && s.revision > 0, err
}

// Verify tells whose key was presented. It fails with ErrInvalid, or eventstore.ErrUnavailable when that can't be found
// out. It takes the same time for a key that doesn't exist as for a wrong secret.
func (d *Directory) Verify(ctx context.Context, presented string) (Key, error) {
	id, secret, ok := parse(presented)
	if !ok {
		return Key{}, ErrInvalid
	}
	s, err := d.current(ctx)
	if err != nil {
		return Key{}, err
	}
	e, found := s.keys[id] // without one the hash is compared with zeros
	sum, now := hash(secret), d.now()
	matches := subtle.ConstantTimeCompare(sum[:], e.hash[:])
	if former := subtle.ConstantTimeCompare(sum[:], e.old[:]); e.key.OldUntil != nil && now.Before(*e.key.OldUntil) {
		matches |= former
	}
	if !found || matches != 1 || e.key.Status(now) != "active" {
		return Key{}, ErrInvalid
	}
	d.note(id, now)
	return e.key, nil
}

// current gives what is known, not older than stale.
func (d *Directory) current(ctx context.Context) (*snapshot, error) {
	d.mu.Lock()
	known, age := d.known, time.Duration(0)
	if known != nil {
		age = d.now().Sub(known.at)
	}
	if known != nil && age >= 0 && age < fresh {
		d.mu.Unlock()
		return known, nil
	}
	if d.loading == nil {
		if d.stop.Err() != nil {
			d.mu.Unlock()
			return nil, eventstore.ErrClosed
		}
		d.loading = make(chan struct{})
		d.work.Go(d.load)
	}
	loading := d.loading
	d.mu.Unlock()
	if known != nil && age >= 0 && age < stale {
		return known, nil
	}
	select {
	case <-loading:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure != nil {
		return nil, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, d.failure)
	}
	return d.known, nil
}

// load brings what is known up to date.
func (d *Directory) load() {
	ctx, cancel := context.WithTimeout(d.stop, loadTimeout)
	defer cancel()
	d.mu.Lock()
	before := d.known
	d.mu.Unlock()
	next, err := d.changes(ctx, before)
	if err != nil {
		d.log.Warn("the API keys can't be looked up; requests with one fail until they can", "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure = err; err == nil {
		d.known = next
		maps.DeleteFunc(d.noted, func(id string, _ time.Time) bool { _, used := next.keys[id]; return !used })
	}
	close(d.loading)
	d.loading = nil
}

// changed is a row of what changed after a revision; without a key when nothing did.
type changed struct {
	Revision int64   `db:"head"`
	KeyID    *string `db:"key_id"`
	Hash     []byte  `db:"secret_hash"`
	Old      []byte  `db:"old_hash"`

	Client    *string    `db:"client_id"`
	Role      *string    `db:"role"`
	Actor     *string    `db:"actor_id"`
	ExpiresAt *time.Time `db:"expires_at"`
	OldUntil  *time.Time `db:"old_until"`
	RevokedAt *time.Time `db:"revoked_at"`
}

// changes applies what changed since a snapshot to it.
func (d *Directory) changes(ctx context.Context, before *snapshot) (*snapshot, error) {
	next := &snapshot{at: d.now()}
	known := int64(0)
	if before != nil {
		known = before.revision
	}
	var rows []changed
	err := d.db.SelectContext(ctx, &rows, `
		SELECT r.revision AS head, k.key_id, k.secret_hash, k.old_hash, k.client_id, k.role, k.actor_id, k.expires_at, k.old_until,
			k.revoked_at
		FROM annals.api_key_revision r
		LEFT JOIN annals.api_keys k ON k.revision > $1 AND ($1 > 0 OR k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true))`,
		known)
	if err != nil {
		return nil, fmt.Errorf("read the API keys: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("read the API keys: their revision is missing")
	}
	next.revision = rows[0].Revision
	switch {
	case next.revision == known && before != nil:
		next.keys = before.keys
		return next, nil
	case next.revision < known: // the database went back in time: begin anew
		return d.changes(ctx, nil)
	case before != nil:
		next.keys = maps.Clone(before.keys)
	default:
		next.keys = make(map[string]entry, len(rows))
	}
	for _, r := range rows {
		next.apply(r)
	}
	maps.DeleteFunc(next.keys, func(_ string, e entry) bool { return e.key.Status(next.at) != "active" })
	return next, nil
}

func (s *snapshot) apply(r changed) {
	if r.KeyID == nil {
		return
	}
	e := entry{key: Key{
		ID: *r.KeyID, Client: *r.Client, Role: *r.Role, Actor: *r.Actor, ExpiresAt: r.ExpiresAt, OldUntil: r.OldUntil,
		RevokedAt: r.RevokedAt,
	}}
	copy(e.hash[:], r.Hash)
	copy(e.old[:], r.Old)
	if r.Old == nil {
		e.key.OldUntil = nil
	}
	s.keys[e.key.ID] = e
}

// note has a key's use written down, unless that was done lately.
func (d *Directory) note(id string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.noted[id]) < usePrecision || d.stop.Err() != nil {
		return
	}
	d.noted[id], d.pending[id] = now, now
	if !d.writing {
		d.writing = true
		d.work.Go(d.write)
	}
}

// write writes down the uses that are pending, until there are none.
func (d *Directory) write() {
	for {
		d.mu.Lock()
		uses := d.pending
		d.pending = make(map[string]time.Time)
		if d.writing = len(uses) > 0; !d.writing {
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		if err := d.writeUses(uses); err != nil && d.stop.Err() == nil {
			d.log.Warn("the last use of API keys isn't written down", "error", err)
		}
	}
}

func (d *Directory) writeUses(uses map[string]time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.stop), loadTimeout)
	defer cancel()
	ids, times := make([]string, 0, len(uses)), make([]string, 0, len(uses))
	for id, at := range uses {
		ids, times = append(ids, id), append(times, at.UTC().Format(time.RFC3339Nano))
	}
	_, err := d.db.ExecContext(ctx, `
		UPDATE annals.api_keys k SET last_used_at = greatest(k.last_used_at, u.at)
		FROM unnest($1::text[], $2::timestamptz[]) AS u (id, at) WHERE k.key_id = u.id`, pq.Array(ids), pq.Array(times))
	return err
}
