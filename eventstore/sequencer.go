package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// SequencerConfig configures a Sequencer. Only DSN is required.
type SequencerConfig struct {
	DSN    string
	Logger *slog.Logger // nil: none
	// AppName prefixes what pg_stat_activity shows of its connections; empty: annals.
	AppName string
	// Gather is how long a batch may wait for each of the callers who are expected back; for all of them as long as for 20 at
	// most, and never longer than the last batch took. 0: 200 µs, negative: not at all.
	Gather time.Duration
	// QueueLimit is how many appends may wait, of one client a quarter; 0: 16,384.
	QueueLimit int
	// QueueBytes is how much memory they may take, of one client a quarter; 0: 64 MiB.
	QueueBytes int
	// MaxBatch is how many requests one statement takes; 0: 1,024.
	MaxBatch int
	// Timeout is after how long an append that isn't answered is given up: ErrUnavailable, or ErrOutcomeUnknown when it
	// was sent; 0: 15 s. It is looked at between attempts, so that an answer can take one attempt longer.
	Timeout time.Duration
	// StatementTimeout and LockTimeout are the session's; 0: 5 s and 2 s.
	StatementTimeout, LockTimeout time.Duration
	// OnReconnect is called when a lost connection was replaced, before anything is sent on the new one: the database may
	// be another one now, and what was read before may not be true of it. It must not block. nil: nothing.
	OnReconnect func()
	// Dial replaces the way to the database, for tests; nil: the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	margin time.Duration // beyond StatementTimeout, until the connection counts as lost; 0: 1 s
}

func (c *SequencerConfig) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AppName == "" {
		c.AppName = "annals"
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	defaults(&c.Gather, 200*time.Microsecond)
	defaults(&c.QueueLimit, 16_384)
	defaults(&c.QueueBytes, 64<<20)
	defaults(&c.MaxBatch, 1024)
	defaults(&c.Timeout, 15*time.Second)
	defaults(&c.StatementTimeout, 5*time.Second)
	defaults(&c.LockTimeout, 2*time.Second)
	defaults(&c.margin, time.Second)
}

func defaults[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Sequencer writes the log. It merges the appends of all concurrent callers into one statement and one commit, on one
// connection, one batch at a time. Each node has one; several nodes take turns under a lock in the database.
type Sequencer struct {
	cfg    SequencerConfig
	log    *slog.Logger
	signal *Signal
	tail   *Tail
	pool   pendingPool

	knownHead atomic.Int64
	writer    atomic.Int64 // the link's backend
	counters  sequencerCounters

	mu       sync.Mutex
	queue    *queue
	versions *versionMemory
	idle     bool  // the writer waits for wake
	expected int   // how many requests end the writer's wait for callers; 0: it doesn't wait for them
	closing  bool  // no further appends
	aborted  bool  // Close gave up draining
	sticky   error // ends every append from now on

	wake     chan struct{} // capacity 1
	gathered chan struct{} // capacity 1
	done     chan struct{} // closed when the writer has ended
	stop     context.CancelFunc
	ctx      context.Context // ends when Close gives up draining
	listen   *listener

	// Of the writer alone.
	link     *link
	lost     backend // the last connection's, until it is known to be gone
	wire     parts   // reused buffer
	batch    []*pending
	settled  []*pending
	types    []string // of the events that a batch wrote; reused
	distinct []string // of the events that a batch sends; reused
	joined   []byte   // the same, parted by spaces; reused
	written  []tailRequest
	target   int           // how many requests the next batch is worth waiting for
	answered time.Time     // when the last batch was
	took     time.Duration // by the last batch, until its callers had their answers
	fullSaid time.Time     // when it was last logged that the disk is full
}

// versionsPerGeneration bounds the memory of stream versions: about 100 bytes a stream, two generations.
const versionsPerGeneration = 16_384

// What the tail holds at most: some seconds of a busy node's events.
const (
	tailEvents = 16_384
	tailBytes  = 16 << 20
)

// OpenSequencer connects and reads the head. It fails when the database can't be reached or lacks the schema.
func OpenSequencer(ctx context.Context, cfg SequencerConfig) (*Sequencer, error) {
	s, err := newSequencer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the sequencer: %w", err)
	}
	go s.run()
	return s, nil
}

// newSequencer makes a sequencer whose writer doesn't run yet.
func newSequencer(ctx context.Context, cfg SequencerConfig) (*Sequencer, error) {
	cfg.setDefaults()
	s := &Sequencer{
		cfg: cfg, log: cfg.Logger, queue: newQueue(cfg.QueueLimit, cfg.QueueBytes),
		versions: newVersionMemory(versionsPerGeneration), counters: newSequencerCounters(),
		tail: NewTail(tailEvents, tailBytes),
		wake: make(chan struct{}, 1), gathered: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l, err := connect(ctx, s.linkConfig(), backend{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	head, err := l.head()
	if err != nil {
		l.close()
		return nil, fmt.Errorf("read the head: %w", err)
	}
	s.knownHead.Store(head)
	s.signal = NewSignal(head)
	own := func(pid int) bool { return int64(pid) == s.writer.Load() }
	if s.listen, err = startListener(ctx, cfg.DSN, cfg.AppName+" listen", s.signal, own, s.log); err != nil {
		l.close()
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.adopt(l)
	return s, nil
}

func (s *Sequencer) linkConfig() linkConfig {
	return linkConfig{
		dsn: s.cfg.DSN, appName: s.cfg.AppName + " append", role: RoleApp, dial: s.cfg.Dial,
		statementTimeout: s.cfg.StatementTimeout, lockTimeout: s.cfg.LockTimeout,
		margin: s.cfg.margin,
	}
}

// Append writes a request, all of it or nothing. It is safe for any number of concurrent callers, which is what it is
// made for. The request's slices must not change while it runs, nor after it returned ctx's error.
//
// A nil error means that the request is committed, or was before (a repeated append recognises its own events), or that
// its key was known (AppendOutcome.Replayed). Refusals of the log are *ConflictError, *ClaimTakenError and ErrKeyReused;
// of the request itself ErrInvalidAppend and *TooLargeError; nothing was written either with ErrOverloaded,
// ErrUnavailable, ErrLogBehind, ErrClosed and ctx's error. ErrOutcomeUnknown leaves it open.
//
// A conflict may be told from what the node knows, without asking the log: a request with an idempotency key then learns
// of the key's fate at its next attempt.
//
// ctx ends the wait only until the request is sent.
func (s *Sequencer) Append(ctx context.Context, req AppendRequest) (AppendOutcome, error) {
	if err := ctx.Err(); err != nil {
		return AppendOutcome{}, err
	}
	if err := req.Check(); err != nil {
		return AppendOutcome{}, err
	}
	p := s.pool.get()
	p.req = req
	p.wire.encode(&p.req, &p.salts)
	p.deadline = time.Now().Add(s.cfg.Timeout)
	if err := s.enqueue(p); err != nil {
		s.pool.put(p)
		return AppendOutcome{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if s.abandon(p) {
			return AppendOutcome{}, ctx.Err()
		}
		<-p.done
	}
	outcome, err := p.outcome, p.err
	if req.Timing != nil {
		*req.Timing = AppendTiming{Sent: p.sent, Batch: p.batch}
	}
	if p.state == stateSent {
		s.pool.put(p)
	} // else it still stands in line
	return outcome, err
}

func (s *Sequencer) enqueue(p *pending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.sticky != nil:
		return s.sticky
	case s.closing:
		return ErrClosed
	}
	if conflict := s.versions.stale(&p.req); conflict != nil && p.req.Idempotency == nil {
		return conflict
	}
	if !s.queue.push(p) {
		s.counters.overloaded.Add(1)
		return ErrOverloaded
	}
	s.wakeWriter()
	return nil
}

// wakeWriter is called under the lock.
func (s *Sequencer) wakeWriter() {
	if s.idle {
		s.idle = false
		s.wake <- struct{}{} // has room: the writer was idle
	}
	if s.expected > 0 && (s.queue.count >= s.expected || s.closing) {
		s.expected = 0
		s.gathered <- struct{}{} // has room: expect has emptied it
	}
}

// abandon gives a request up, unless it was sent.
func (s *Sequencer) abandon(p *pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.state != stateQueued {
		return false
	}
	s.queue.giveUp(p)
	return true
}

// KnownHead is the highest position that this node has seen. An append on a log that ends below it is refused.
func (s *Sequencer) KnownHead() int64 { return s.knownHead.Load() }

// Observe raises the known head to a position that a reader of this node has read.
func (s *Sequencer) Observe(position int64) {
	for {
		known := s.knownHead.Load()
		if position <= known || s.knownHead.CompareAndSwap(known, position) {
			return
		}
	}
}

// Signal wakes those who wait for the log to grow, by this node or another.
func (s *Sequencer) Signal() *Signal { return s.signal }

// Tail is what this node has appended last.
func (s *Sequencer) Tail() *Tail { return s.tail }

// Close refuses further appends, writes those that wait, and ends. When ctx ends first, what wasn't sent fails with
// ErrClosed, and Close returns ctx's error. Closing twice is fine.
func (s *Sequencer) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.wakeWriter()
	s.mu.Unlock()
	var err error
	select {
	case <-s.done:
	case <-ctx.Done():
		err = ctx.Err()
		s.mu.Lock()
		s.aborted = true
		s.mu.Unlock()
		s.stop()
		<-s.done
	}
	s.stop()
	return errors.Join(err, s.listen.close())
}
