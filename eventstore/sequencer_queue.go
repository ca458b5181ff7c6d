package eventstore

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// pending is an append on its way through the sequencer. The queue's fields are under the sequencer's lock.
type pending struct {
	req      AppendRequest
	wire     parts
	salts    saltSource
	deadline time.Time

	older, newer *pending // in the order of arrival, while queued

	state     pendingState
	blockers  int // requests ahead that share something with this one, counted per thing
	holds     []hold
	sharedKey bool // another request with the same idempotency key was ahead
	client    *clientQueue
	unknown   bool // it was sent, and whether it was committed isn't known

	sent  time.Time // when it was taken into a batch
	batch int       // how many requests that batch has

	outcome AppendOutcome
	err     error
	done    chan struct{} // capacity 1: a value when outcome and err are set
}

type pendingState uint8

const (
	stateQueued    pendingState = iota
	stateSent                   // out of the queue: it travels, or is settled
	stateAbandoned              // nobody waits for it; it is dropped when its turn comes
)

// hold is a place in the line for one thing: a stream, a claim or a key, by its hash. Two things of one hash only wait
// for each other needlessly.
type hold struct {
	hash uint64
	next *pending // the one behind, if any
}

func (p *pending) reset() {
	p.wire.reset()
	p.req = AppendRequest{}
	p.holds = p.holds[:0]
	p.older, p.newer = nil, nil
	p.state, p.blockers, p.sharedKey, p.client, p.unknown = stateQueued, 0, false, nil, false
	p.sent, p.batch = time.Time{}, 0
	p.outcome, p.err = AppendOutcome{}, nil
}

// keepBytes is up to which size a request's buffers are kept for the next one.
const keepBytes = 64 << 10

type pendingPool struct{ pool sync.Pool }

func (pp *pendingPool) get() *pending {
	if p, ok := pp.pool.Get().(*pending); ok {
		return p
	}
	return &pending{done: make(chan struct{}, 1)}
}

func (pp *pendingPool) put(p *pending) {
	if p.wire.size() > keepBytes {
		return
	}
	p.reset()
	pp.pool.Put(p)
}

// clientQueue holds the requests of one client that can go, first come first served.
type clientQueue struct {
	name   string
	count  int // waiting in all, ready or blocked
	bytes  int
	ready  []*pending
	first  int // of ready
	inRing bool
}

// queue holds the appends that wait: per client in order, clients in turn, and behind one another where they share
// something. It isn't safe for concurrent use.
type queue struct {
	maxCount, maxBytes int
	count, bytes       int // of requests whose callers wait
	places             int // in line, those that were given up included
	oldest, newest     *pending
	readyCount         int
	seed               maphash.Seed
	last               map[uint64]*pending // the last in line for each thing
	clients            map[string]*clientQueue
	ring               []*clientQueue // those with something ready
	turn               int            // in ring: whose request is next
	spare              []*clientQueue
}

func newQueue(maxCount, maxBytes int) *queue {
	return &queue{
		maxCount: maxCount, maxBytes: maxBytes, seed: maphash.MakeSeed(),
		last: make(map[uint64]*pending), clients: make(map[string]*clientQueue),
	}
}

// push takes a request in, or reports that there is no room for it. One client gets at most a quarter of the queue.
func (q *queue) push(p *pending) bool {
	size := p.wire.size()
	c := q.clients[p.req.Client]
	count, bytes := 1, size
	if c != nil {
		count, bytes = count+c.count, bytes+c.bytes
	}
	// A request larger than a share still goes when nothing else of its client waits.
	if q.count+1 > q.maxCount || q.places+1 > 2*q.maxCount || count > max(q.maxCount/4, 1) ||
		(q.count > 0 && q.bytes+size > q.maxBytes) || (count > 1 && bytes > q.maxBytes/4) {
		return false
	}
	if c == nil {
		c = q.newClient(p.req.Client)
	}
	p.client = c
	c.count, c.bytes = count, bytes
	q.count, q.bytes, q.places = q.count+1, q.bytes+size, q.places+1
	if p.older = q.newest; p.older != nil {
		p.older.newer = p
	} else {
		q.oldest = p
	}
	q.newest = p
	q.line(p)
	if p.blockers == 0 {
		q.makeReady(p)
	}
	return true
}

func (q *queue) newClient(name string) *clientQueue {
	var c *clientQueue
	if n := len(q.spare); n > 0 {
		c, q.spare = q.spare[n-1], q.spare[:n-1]
		c.name = name
	} else {
		c = &clientQueue{name: name}
	}
	q.clients[name] = c
	return c
}

// line puts a request behind those it shares something with.
func (q *queue) line(p *pending) {
	r := &p.req
	for i := range r.Streams {
		q.hold(p, maphash.Bytes(q.seed, r.Streams[i].AggregateID[:]))
	}
	for i := range r.Claims {
		q.hold(p, q.hashOf("claim", r.Client, r.Claims[i].Kind, r.Claims[i].Value))
	}
	for i := range r.Releases {
		q.hold(p, q.hashOf("claim", r.Client, r.Releases[i].Kind, r.Releases[i].Value))
	}
	if r.Idempotency != nil {
		before := p.blockers
		q.hold(p, q.hashOf("key", r.Client, r.Idempotency.Scope, r.Idempotency.Key))
		p.sharedKey = p.blockers > before
	}
}

func (q *queue) hashOf(texts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(q.seed)
	for _, t := range texts {
		h.WriteString(t)
		h.WriteByte(0)
	}
	return h.Sum64()
}

func (q *queue) hold(p *pending, hash uint64) {
	for i := range p.holds {
		if p.holds[i].hash == hash {
			return
		}
	}
	p.holds = append(p.holds, hold{hash: hash})
	ahead := q.last[hash]
	q.last[hash] = p
	if ahead == nil {
		return
	}
	p.blockers++
	for i := range ahead.holds {
		if ahead.holds[i].hash == hash {
			ahead.holds[i].next = p
			return
		}
	}
}

// release takes a request out of its lines. promoted is called for each that can go now.
func (q *queue) release(p *pending, promoted func(*pending)) {
	for i := range p.holds {
		h := p.holds[i]
		p.holds[i] = hold{}
		if h.next == nil {
			delete(q.last, h.hash)
			continue
		}
		behind := h.next
		if behind.blockers--; behind.blockers == 0 {
			promoted(behind)
		}
	}
	p.holds = p.holds[:0]
}

func (q *queue) makeReady(p *pending) {
	c := p.client
	if c.first > 64 && 2*c.first > len(c.ready) {
		c.ready = slices.Delete(c.ready, 0, c.first)
		c.first = 0
	}
	c.ready = append(c.ready, p)
	q.readyCount++
	if !c.inRing {
		c.inRing = true
		q.ring = append(q.ring, c)
	}
}

// leave ends a request's claim on the queue's room.
func (q *queue) leave(p *pending) {
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		q.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		q.newest = p.older
	}
	p.older, p.newer = nil, nil
	c, size := p.client, p.wire.size()
	q.count, q.bytes = q.count-1, q.bytes-size
	c.count, c.bytes = c.count-1, c.bytes-size
	q.retire(c)
}

// giveUp ends a request for which nobody waits any more. What is left of it is its place in line.
func (q *queue) giveUp(p *pending) {
	p.state = stateAbandoned
	q.leave(p)
	p.wire, p.req = parts{}, AppendRequest{}
}

// retire forgets a client with nothing waiting.
func (q *queue) retire(c *clientQueue) {
	if c.count > 0 || c.inRing || q.clients[c.name] != c {
		return
	}
	delete(q.clients, c.name)
	if len(q.spare) < 64 {
		q.spare = append(q.spare, c)
	}
}

// next takes one ready request, of the client whose turn it is. A request with a wire size above room stays, and ends
// the turn.
func (q *queue) next(room int) *pending {
	for len(q.ring) > 0 {
		if q.turn >= len(q.ring) {
			q.turn = 0
		}
		c := q.ring[q.turn]
		if c.first == len(c.ready) {
			c.ready, c.first, c.inRing = c.ready[:0], 0, false
			q.ring = slices.Delete(q.ring, q.turn, q.turn+1)
			q.retire(c)
			continue
		}
		p := c.ready[c.first]
		if p.state != stateAbandoned && p.wire.size() > room {
			return nil
		}
		c.ready[c.first] = nil
		c.first++
		q.readyCount--
		q.places--
		q.turn++
		return p
	}
	return nil
}
