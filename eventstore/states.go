package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
)

// States loads streams: from the cache, else from the snapshot and the events after it. It implements StateReader.
// It is the one path on which commands reach the states of clients: a stream of another client, or of another aggregate
// type than was asked for, doesn't exist.
type States struct {
	db        *sqlx.DB
	registry  *domain.Registry
	logger    *slog.Logger
	cache     *stateCache
	snapshots *snapshotWriter
	vault     *Vault
	warned    sync.Map // aggregate types whose unreadable snapshot was logged

	readTail, readFromSnapshot, readVersions *statement

	hits, misses, refreshes atomic.Int64
}

var _ StateReader = (*States)(nil)

// StatesConfig bounds the cache.
type StatesConfig struct {
	CacheEntries int // streams; default 100,000
	CacheBytes   int // estimated, of all states together; default 128 MiB
}

// NewStates makes the loader over a pool that may read the log and write snapshots. Close ends its snapshot writer.
func NewStates(db *sqlx.DB, registry *domain.Registry, logger *slog.Logger, config StatesConfig) *States {
	if config.CacheEntries == 0 {
		config.CacheEntries = 100_000
	}
	if config.CacheBytes == 0 {
		config.CacheBytes = 128 << 20
	}
	return &States{
		db: db, registry: registry, logger: logger,
		cache:     newStateCache(config.CacheEntries, config.CacheBytes),
		snapshots: newSnapshotWriter(db, registry, logger),

		readTail:         &statement{db: db, text: readAfterSQL},
		readFromSnapshot: &statement{db: db, text: readFromSnapshotSQL},
		readVersions:     &statement{db: db, text: readVersionsSQL},
	}
}

// Close writes the snapshots that are waiting, as long as ctx allows, and ends the writer.
func (s *States) Close(ctx context.Context) error { return s.snapshots.close(ctx) }

// Forget empties the cache: after a reconnect nothing that was read before is taken for granted.
func (s *States) Forget() { s.cache.forget() }

// CacheStats counts since the start, and measures the cache now.
type CacheStats struct {
	Hits      int64 // loads that the cache served
	Misses    int64 // loads that read the snapshot and events
	Refreshes int64 // loads that read the events after a cached version
	Entries   int
	Bytes     int // estimated

	SnapshotsWritten int64
	SnapshotsFailed  int64
}

// CacheStats gives the cache's figures.
func (s *States) CacheStats() CacheStats {
	entries, bytes := s.cache.usage()
	return CacheStats{
		Hits: s.hits.Load(), Misses: s.misses.Load(), Refreshes: s.refreshes.Load(), Entries: entries, Bytes: bytes,
		SnapshotsWritten: s.snapshots.written.Load(), SnapshotsFailed: s.snapshots.failed.Load(),
	}
}

// stream is a loaded stream with where it came from.
type stream struct {
	*cachedStream      // nil: there is no event with this id
	fromLog       bool // read from the log by this call, in one statement: true at an instant within the call
}

// visible gives the stream as a client sees it under an aggregate type. A stream of another client or type shows as one
// that doesn't exist, which stays so for ever since neither changes.
func (s stream) visible(client string, aggregate domain.AnyAggregate) (l domain.Loaded, foreign bool) {
	if s.cachedStream == nil {
		return domain.Loaded{State: aggregate.InitialState()}, false
	}
	if s.aggregateType != aggregate.AggregateType() || client != AllClients && s.client != client {
		return domain.Loaded{State: aggregate.InitialState()}, true
	}
	return s.Loaded, false
}

// load gives a stream from the cache when it holds at least the version given, else from the log.
func (s *States) load(ctx context.Context, aggregate domain.AnyAggregate, id domain.ID, atLeast int64) (stream, error) {
	if cached := s.cache.get(id); cached != nil && cached.Version >= atLeast {
		s.hits.Add(1)
		return stream{cachedStream: cached}, nil
	}
	return s.loadFresh(ctx, aggregate, id)
}

// loadFresh gives a stream as the log has it now: it reads the events after the cached state, or after the snapshot.
func (s *States) loadFresh(ctx context.Context, aggregate domain.AnyAggregate, id domain.ID) (stream, error) {
	generation := s.cache.generation.Load()
	if base := s.cache.get(id); base != nil {
		s.refreshes.Add(1)
		fresh, err := s.readAfter(ctx, base)
		if err == nil {
			if fresh != base {
				s.keep(fresh, generation)
			}
			return stream{cachedStream: fresh, fromLog: true}, nil
		}
		if !errors.Is(err, errBaseGone) {
			return stream{}, err
		}
		s.cache.evict(base)
	}
	s.misses.Add(1)
	fresh, err := s.read(ctx, aggregate, id, latest)
	if err != nil || fresh == nil {
		return stream{fromLog: true}, err
	}
	s.keep(fresh, generation)
	return stream{cachedStream: fresh, fromLog: true}, nil
}

// keep puts a stream into the cache, and asks for a snapshot when the tail after the last one has grown long.
func (s *States) keep(stream *cachedStream, generation int64) {
	if stream.Version-stream.snapshot > snapshotTail && s.snapshots.offer(stream) {
		written := *stream
		written.snapshot = stream.Version
		stream = &written
	}
	s.cache.put(stream, generation)
}

// advance puts into the cache what an append has made of a stream.
func (s *States) advance(before *cachedStream, after *cachedStream, dataBytes int, generation int64) {
	if before != nil {
		after.snapshot, after.size, after.measured = before.snapshot, before.size, before.measured
	}
	after.size += dataBytes
	s.measure(after)
	s.keep(after, generation)
}

// streamOverhead is the estimated size of a cached stream without its state.
const streamOverhead = 512

// measure estimates the size of a state. The bytes of events are added as they come; when they have doubled the
// estimate, the state is encoded once to see how large it really is.
func (s *States) measure(stream *cachedStream) {
	if stream.measured > 0 && stream.size < 2*stream.measured+4096 {
		return
	}
	aggregate, ok := s.registry.Aggregate(stream.aggregateType)
	if !ok {
		return
	}
	if encoded, err := aggregate.MarshalState(stream.State); err == nil {
		stream.measured = streamOverhead + 2*len(encoded)
		stream.size = stream.measured
	}
}

const readVersionsSQL = `SELECT s.id, e.aggregate_version
	FROM unnest($1::uuid[]) AS s(id)
	CROSS JOIN LATERAL (
		SELECT aggregate_version, client_id FROM annals.events
		WHERE aggregate_id = s.id ORDER BY aggregate_version DESC LIMIT 1
	) AS e
	WHERE e.client_id = $2`

// versions gives the current version of each stream as a client sees it, all at one instant; a stream that doesn't
// exist or belongs to another client has 0.
func (s *States) versions(ctx context.Context, client string, ids []domain.ID) (map[domain.ID]int64, error) {
	rows, err := s.readVersions.query(ctx, idArray(ids), client)
	if err != nil {
		return nil, fmt.Errorf("probe versions: %w", err)
	}
	defer rows.Close()
	versions := make(map[domain.ID]int64, len(ids))
	for rows.Next() {
		var id scanID
		var version int64
		if err := rows.Scan(&id, &version); err != nil {
			return nil, fmt.Errorf("probe versions: %w", err)
		}
		versions[domain.ID(id)] = version
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("probe versions: %w", unavailable(err))
	}
	return versions, nil
}

// idArray writes ids as a PostgreSQL array literal.
func idArray(ids []domain.ID) string {
	b := make([]byte, 0, 2+37*len(ids))
	b = append(b, '{')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, id.String()...)
	}
	return string(append(b, '}'))
}

// Current gives the latest state, confirmed by the log. A stream that doesn't exist for the client is a not-found refusal.
func (s *States) Current(ctx context.Context, client, aggregateType string, id domain.ID) (StateAt, error) {
	aggregate, ok := s.registry.Aggregate(aggregateType)
	if !ok {
		return StateAt{}, domain.NotFound(aggregateType, id)
	}
	found, err := s.loadFresh(ctx, aggregate, id)
	if err != nil {
		return StateAt{}, fmt.Errorf("load %s %s: %w", aggregateType, id, err)
	}
	state, err := found.stateAt(client, aggregate, id)
	if err != nil {
		return StateAt{}, err
	}
	return s.Open(ctx, state)
}

// Open implements StateReader.
func (s *States) Open(ctx context.Context, at StateAt) (StateAt, error) {
	opened, err := s.vault.OpenValue(ctx, at.ClientID, at.State)
	if err != nil {
		return StateAt{}, fmt.Errorf("open %s %s: %w", at.AggregateType, at.ID, err)
	}
	at.State = opened
	return at, nil
}

func (s stream) stateAt(client string, aggregate domain.AnyAggregate, id domain.ID) (StateAt, error) {
	loaded, _ := s.visible(client, aggregate)
	if loaded.Version == 0 {
		return StateAt{}, domain.NotFound(aggregate.AggregateType(), id)
	}
	return StateAt{AggregateType: s.aggregateType, ID: id, ClientID: s.client, Loaded: loaded}, nil
}

// AtVersion gives the state after the event with that version. A version the stream doesn't have is a not-found refusal.
func (s *States) AtVersion(
	ctx context.Context, client, aggregateType string, id domain.ID, version int64,
) (StateAt, error) {
	aggregate, ok := s.registry.Aggregate(aggregateType)
	if !ok || version < 1 {
		return StateAt{}, domain.NotFound(aggregateType, id)
	}
	was, err := s.read(ctx, aggregate, id, version)
	if err != nil {
		return StateAt{}, fmt.Errorf("load %s %s at version %d: %w", aggregateType, id, version, err)
	}
	found := stream{cachedStream: was, fromLog: true}
	state, err := found.stateAt(client, aggregate, id)
	switch {
	case err != nil:
		return StateAt{}, err
	case state.Version != version:
		return StateAt{}, domain.Refuse(domain.CodeNotFound, "the %s has no version %d", aggregateType, version)
	}
	return s.Open(ctx, state)
}

// AtTime gives the state after the last event that occurred at or before the time. When there was none yet, that is a
// not-found refusal.
func (s *States) AtTime(
	ctx context.Context, client, aggregateType string, id domain.ID, at time.Time,
) (StateAt, error) {
	var version int64
	err := s.db.QueryRowxContext(ctx, `SELECT coalesce(max(aggregate_version), 0) FROM annals.events
		WHERE aggregate_id = $1 AND occurred_at <= $2`, id[:], at).Scan(&version)
	if err != nil {
		return StateAt{}, fmt.Errorf("load %s %s at %s: %w", aggregateType, id, at, unavailable(err))
	}
	return s.AtVersion(ctx, client, aggregateType, id, version)
}
