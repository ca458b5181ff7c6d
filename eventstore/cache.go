package eventstore

import (
	"sync"
	"sync/atomic"

	"annals/domain"
)

// cachedStream is a stream as the cache holds it. It is never changed: a newer state is a new value, so that readers
// need no lock.
type cachedStream struct {
	domain.Loaded
	id            domain.ID
	client        string
	aggregateType string
	snapshot      int64 // version of the stored snapshot, 0 for none
	size          int   // estimated bytes
	measured      int   // size when it was last measured
}

// stateCache holds the states of streams by id, each with its version, bounded by number and by estimated bytes; the
// least recently used goes first. What it holds may be outdated: users confirm it, by the append's expectations or by
// probing.
type stateCache struct {
	shards     []*cacheShard
	generation atomic.Int64
}

// cacheShards is the number of shards of a cache that is large enough to be split.
const cacheShards = 16

func newStateCache(entries int, bytes int) *stateCache {
	n := cacheShards
	if entries < 64*cacheShards {
		n = 1
	}
	c := &stateCache{shards: make([]*cacheShard, n)}
	for i := range c.shards {
		c.shards[i] = &cacheShard{
			entries: make(map[domain.ID]*cacheNode), maxEntries: max(1, entries/n), maxBytes: max(1, bytes/n),
		}
		c.shards[i].newest.next, c.shards[i].newest.prev = &c.shards[i].newest, &c.shards[i].newest
	}
	return c
}

// shard picks by the last byte, which is random in every version of UUID that Annals makes.
func (c *stateCache) shard(id domain.ID) *cacheShard { return c.shards[int(id[15])%len(c.shards)] }

// get gives what the cache holds of a stream, or nil.
func (c *stateCache) get(id domain.ID) *cachedStream {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.entries[id]
	if n == nil {
		return nil
	}
	n.unlink()
	n.linkAfter(&s.newest)
	return n.stream
}

// put stores a stream unless a newer version is there, or the cache was emptied since the generation was read: what was
// read before may not be true any more.
func (c *stateCache) put(stream *cachedStream, generation int64) {
	s := c.shard(stream.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.generation.Load() != generation {
		return
	}
	n := s.entries[stream.id]
	switch {
	case n == nil:
		n = &cacheNode{}
		s.entries[stream.id] = n
	case n.stream.Version > stream.Version:
		return
	default:
		s.bytes -= n.stream.size
		n.unlink()
	}
	n.stream = stream
	s.bytes += stream.size
	n.linkAfter(&s.newest)
	for len(s.entries) > s.maxEntries || s.bytes > s.maxBytes {
		s.drop(s.newest.prev)
	}
}

// evict removes a stream, if the cache holds the very value given.
func (c *stateCache) evict(stream *cachedStream) {
	s := c.shard(stream.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.entries[stream.id]; n != nil && n.stream == stream {
		s.drop(n)
	}
}

// forget empties the cache.
func (c *stateCache) forget() {
	c.generation.Add(1)
	for _, s := range c.shards {
		s.mu.Lock()
		clear(s.entries)
		s.bytes = 0
		s.newest.next, s.newest.prev = &s.newest, &s.newest
		s.mu.Unlock()
	}
}

// usage gives the number of streams and their estimated bytes.
func (c *stateCache) usage() (entries, bytes int) {
	for _, s := range c.shards {
		s.mu.Lock()
		entries += len(s.entries)
		bytes += s.bytes
		s.mu.Unlock()
	}
	return entries, bytes
}

type cacheShard struct {
	mu         sync.Mutex
	entries    map[domain.ID]*cacheNode
	newest     cacheNode // the ring's root: next is the most recently used, prev the least
	bytes      int
	maxEntries int
	maxBytes   int
}

func (s *cacheShard) drop(n *cacheNode) {
	n.unlink()
	s.bytes -= n.stream.size
	delete(s.entries, n.stream.id)
}

// cacheNode is a link of the ring in the order of use.
type cacheNode struct {
	next, prev *cacheNode
	stream     *cachedStream
}

func (n *cacheNode) unlink() { n.prev.next, n.next.prev = n.next, n.prev }

func (n *cacheNode) linkAfter(at *cacheNode) {
	n.prev, n.next = at, at.next
	at.next.prev, at.next = n, n
}
