package eventstore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
)

const (
	// snapshotTail is how many events a load may have to fold: a longer tail asks for a snapshot.
	snapshotTail = 100
	// snapshotQueue bounds the snapshots that wait; more are dropped, since the next event asks again.
	snapshotQueue = 256
	// snapshotTimeout bounds the writing of one.
	snapshotTimeout = 5 * time.Second
)

// snapshotWriter writes states of long streams beside the log, after the commit and out of its way. A lost snapshot costs
// time, never truth.
type snapshotWriter struct {
	db       *sqlx.DB
	registry *domain.Registry
	logger   *slog.Logger
	queue    chan *cachedStream
	done     chan struct{}

	mu     sync.Mutex
	closed bool

	written, failed atomic.Int64
}

func newSnapshotWriter(db *sqlx.DB, registry *domain.Registry, logger *slog.Logger) *snapshotWriter {
	w := &snapshotWriter{
		db: db, registry: registry, logger: logger,
		queue: make(chan *cachedStream, snapshotQueue), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// offer hands over a state and reports whether it was taken; it never waits.
func (w *snapshotWriter) offer(stream *cachedStream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	select {
	case w.queue <- stream:
		return true
	default:
		return false
	}
}

func (w *snapshotWriter) run() {
	defer close(w.done)
	for stream := range w.queue {
		ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
		err := w.write(ctx, stream)
		cancel()
		if err != nil {
			w.failed.Add(1)
			w.logger.Warn("a snapshot was not written", "aggregate_type", stream.aggregateType,
				"aggregate_id", stream.id.String(), "version", stream.Version, "error", err)
			continue
		}
		w.written.Add(1)
	}
}

// write stores a snapshot unless a newer one of the same shape is there, which belongs to the log.
func (w *snapshotWriter) write(ctx context.Context, stream *cachedStream) error {
	aggregate, ok := w.registry.Aggregate(stream.aggregateType)
	if !ok {
		return nil
	}
	state, err := aggregate.MarshalState(stream.State)
	if err != nil {
		return err
	}
	_, err = w.db.ExecContext(ctx, `
		INSERT INTO annals.snapshots AS s (aggregate_id, aggregate_type, client_id, version, position, created_at,
			updated_at, fingerprint, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, position = excluded.position,
			created_at = excluded.created_at, updated_at = excluded.updated_at, fingerprint = excluded.fingerprint,
			state = excluded.state
		WHERE s.version <= excluded.version OR s.fingerprint <> excluded.fingerprint
			OR NOT EXISTS (SELECT FROM annals.events e WHERE e.aggregate_id = s.aggregate_id
				AND e.aggregate_version = s.version AND e.position = s.position)`,
		stream.id[:], stream.aggregateType, stream.client, stream.Version, stream.Position, stream.CreatedAt,
		stream.UpdatedAt, w.registry.SnapshotFingerprint(stream.aggregateType), state)
	return err
}

func (w *snapshotWriter) close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.queue)
	}
	w.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
