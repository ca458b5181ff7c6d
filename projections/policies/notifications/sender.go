package notifications

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"annals/domain"
	"annals/eventstore"
)

// Delivery is one attempt to tell a receiver of an event. URL and Secret are a webhook's, empty for mail.
type Delivery struct {
	Receiver domain.ID
	URL      string
	Secret   string
	Attempt  int // 1 is the first
	Event    eventstore.Envelope
}

// Deliverer delivers an event, within the time that ctx gives. Its error is best a *Failure.
type Deliverer interface {
	Deliver(ctx context.Context, d Delivery) error
}

// Failure is an attempt that failed. Reason is shown to the webhook's owner and says nothing of the network that the
// server stands in; Err, for the log, may.
type Failure struct {
	Reason string
	Err    error // may be nil
}

// Error implements error.
func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Reason
	}
	return f.Reason + ": " + f.Err.Error()
}

// Unwrap gives Err.
func (f *Failure) Unwrap() error { return f.Err }

// SenderConfig is what a sender works with. Queue and Webhook are required; zero numbers take the defaults named.
type SenderConfig struct {
	Queue   *Queue
	Webhook Deliverer
	Mail    Deliverer             // nil: this node sends no mail
	Vault   *eventstore.Vault     // opens personal text; nil: it is sent sealed
	Logger  *slog.Logger          // default: slog.Default
	Metrics prometheus.Registerer // nil: none

	Attempts  int           // before a delivery is given up; 15
	FirstWait time.Duration // before the second attempt, doubled each time; 5 s
	MaxWait   time.Duration // between two attempts; 4 h
	Timeout   time.Duration // of an attempt; 10 s
	Poll      time.Duration // how often to look for what other nodes have queued, or what is due again; 1 s
	Lease     time.Duration // after which an attempt that nobody settled counts as lost; Timeout and 10 s
	Slow      time.Duration // after which a receiver is slow; 2 s
	Workers   int           // receivers served at a time; 16
	Slower    int           // and as many of those that were slow, or failed, last time; 8
}

// Bounds of a sender that nobody need set.
const (
	batchSize = 4                      // deliveries to one receiver at a time
	turnSize  = 8                      // batches before others have their turn
	stopGrace = 2 * time.Second        // for attempts under way when the sender stops
	settling  = 5 * time.Second        // for writing down what came of an attempt
	sweepWait = 10 * time.Minute       // between sweeps
	retention = 24 * time.Hour         // of what was delivered
	lookAgain = 500 * time.Millisecond // after the database failed
)

func (c *SenderConfig) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Attempts, c.Workers, c.Slower = cmp.Or(c.Attempts, 15), cmp.Or(c.Workers, 16), cmp.Or(c.Slower, 8)
	c.FirstWait, c.MaxWait = cmp.Or(c.FirstWait, 5*time.Second), cmp.Or(c.MaxWait, 4*time.Hour)
	c.Timeout, c.Poll = cmp.Or(c.Timeout, 10*time.Second), cmp.Or(c.Poll, time.Second)
	c.Lease, c.Slow = cmp.Or(c.Lease, c.Timeout+10*time.Second), cmp.Or(c.Slow, 2*time.Second)
}

// Sender delivers what is queued. Each receiver has a queue of its own and one worker at a time on each node. Receivers
// that fail or are slow share fewer workers, so that however many they are, the others don't wait for them.
type Sender struct {
	SenderConfig
	wake     chan struct{} // capacity 1
	outcomes *prometheus.CounterVec
	jitter   func() float64 // 0 to 1

	mu        sync.Mutex
	receivers map[domain.ID]*receiver
	healthy   int // workers
	slow      int
}

// receiver is what a sender remembers of one.
type receiver struct {
	busy   bool
	slow   bool      // or failed, last time
	served time.Time // the last turn
}

// NewSender makes a sender.
func NewSender(cfg SenderConfig) (*Sender, error) {
	cfg.setDefaults()
	s := &Sender{
		SenderConfig: cfg, wake: make(chan struct{}, 1), jitter: rand.Float64, receivers: make(map[domain.ID]*receiver),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "annals_notification_attempts_total", Help: "Attempts to deliver an event, by receiver and outcome.",
		}, []string{"receiver", "outcome"}),
	}
	for _, kind := range []string{"webhook", "mail"} { // counted from 0 on, so that a first one is seen as a rise
		for _, outcome := range []string{"delivered", "failed", "dead"} {
			s.outcomes.WithLabelValues(kind, outcome)
		}
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(s.outcomes); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Wake makes the sender look at its queues at once. It doesn't block.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends. Attempts under way then have two seconds; what they didn't settle is due at once, for
// another node or the next start.
func (s *Sender) Run(ctx context.Context) {
	attempts, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, breakOff) })()
	var workers sync.WaitGroup
	defer workers.Wait()
	var swept time.Time
	for ctx.Err() == nil {
		pause := s.Poll
		due, err := s.Queue.due(ctx)
		if err == nil && time.Since(swept) > sweepWait {
			swept = time.Now()
			err = s.Queue.sweep(ctx, retention)
		}
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("the sender of notifications can't go on for now", "error", err)
			pause = max(pause, lookAgain)
		}
		for _, id := range s.choose(due) {
			workers.Go(func() { s.serve(ctx, attempts, id) })
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// choose takes the receivers that have their turn, those first who waited longest, as far as there are workers.
func (s *Sender) choose(due []domain.ID) (chosen []domain.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range due {
		if s.receivers[id] == nil {
			s.receivers[id] = &receiver{}
		}
	}
	slices.SortStableFunc(due, func(a, b domain.ID) int { return s.receivers[a].served.Compare(s.receivers[b].served) })
	for _, id := range due {
		r := s.receivers[id]
		workers, limit := &s.healthy, s.Workers
		if r.slow {
			workers, limit = &s.slow, s.Slower
		}
		if r.busy || *workers >= limit || id == MailReceiver() && s.Mail == nil {
			continue
		}
		*workers++
		r.busy, r.served = true, time.Now()
		chosen = append(chosen, id)
	}
	return chosen
}

// serve is a receiver's turn. It works for what is due until that is done, others should have their turn, or an attempt
// fails or is slow. A worker that waits for a receiver that has become slow doesn't count any more, so that another one
// can begin: the next turn of the slow one is among its like.
func (s *Sender) serve(ctx, attempts context.Context, id domain.ID) {
	r, workers := s.receiver(id)
	var once sync.Once
	leave := func(slow bool) {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			*workers--
			r.slow = slow
		})
	}
	found, good := false, true
	for range turnSize {
		if ctx.Err() != nil || !good {
			break
		}
		batch, err := s.Queue.claim(ctx, id, batchSize, s.Lease)
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("deliveries can't be claimed for now", "receiver", id, "error", err)
		}
		if len(batch) == 0 {
			break
		}
		found = true
		watch := time.AfterFunc(s.Slow, func() { leave(true); s.Wake() })
		good = s.deliverAll(attempts, batch)
		good = watch.Stop() && good
	}
	if !found {
		good = !r.slow // nothing was learnt of it
	}
	leave(!good)
	s.mu.Lock()
	r.busy = false
	s.mu.Unlock()
	if found {
		s.Wake()
	}
}

// receiver gives a receiver that was chosen, and the count of workers that its worker is in.
func (s *Sender) receiver(id domain.ID) (r *receiver, workers *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.receivers[id]
	if r.slow {
		return r, &s.slow
	}
	return r, &s.healthy
}

// deliverAll makes a batch's attempts side by side, and reports whether all succeeded.
func (s *Sender) deliverAll(ctx context.Context, batch []Delivery) bool {
	deliverer, url, secret, err := s.target(ctx, batch[0].Receiver)
	var work errgroup.Group
	for _, d := range batch {
		work.Go(func() error {
			failure := err
			if failure == nil {
				failure = s.open(ctx, &d)
			}
			if failure == nil {
				d.URL, d.Secret = url, secret
				attempt, cancel := context.WithTimeout(ctx, s.Timeout)
				failure = deliverer.Deliver(attempt, d)
				cancel()
			}
			s.settle(ctx, d, failure)
			return failure
		})
	}
	return work.Wait() == nil
}

// open shows the receiver what personal text the event has, as far as it wasn't erased.
func (s *Sender) open(ctx context.Context, d *Delivery) error {
	events := []eventstore.Envelope{d.Event}
	if err := s.Vault.OpenEvents(ctx, events); err != nil {
		return &Failure{Reason: "the event's personal text couldn't be read for now", Err: err}
	}
	d.Event = events[0]
	return nil
}

func (s *Sender) target(ctx context.Context, id domain.ID) (by Deliverer, url, secret string, err error) {
	if id == MailReceiver() {
		return s.Mail, "", "", nil
	}
	url, secret, err = s.Queue.target(ctx, id)
	return s.Webhook, url, secret, err
}

// settle writes down what came of an attempt. If that can't be done, the claim runs out and the delivery is made again.
func (s *Sender) settle(ctx context.Context, d Delivery, failure error) {
	stopped := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	log := s.Logger.With("receiver", d.Receiver, "client", d.Event.ClientID, "event_type", d.Event.EventType,
		"event_id", d.Event.EventID, "attempt", d.Attempt)
	var err error
	switch last := d.Attempt >= s.Attempts; {
	case failure == nil:
		s.count(d, "delivered")
		err = s.Queue.delivered(ctx, d)
	case stopped:
		err = s.Queue.release(ctx, d)
	default:
		s.count(d, map[bool]string{false: "failed", true: "dead"}[last])
		level := slog.LevelInfo
		if last {
			level = slog.LevelError
		}
		log.Log(ctx, level, "an event wasn't delivered", "given_up", last, "error", failure)
		err = s.Queue.failed(ctx, d, reason(failure), last, backoff(s.FirstWait, s.MaxWait, d.Attempt, s.jitter()))
	}
	if err != nil {
		log.Warn("what came of a delivery wasn't written down: it will be made again", "error", err)
	}
}

func (s *Sender) count(d Delivery, outcome string) {
	kind := "webhook"
	if d.Receiver == MailReceiver() {
		kind = "mail"
	}
	s.outcomes.WithLabelValues(kind, outcome).Inc()
}

// reason is what a webhook's owner is told of a failure.
func reason(err error) string {
	var failure *Failure
	switch {
	case errors.As(err, &failure):
		return failure.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return "the receiver didn't answer in time"
	default:
		return "the receiver couldn't be reached"
	}
}

// backoff is the pause after an attempt: doubled each time, and of that half to the whole, so that what failed at one
// moment doesn't come back at one moment. jitter is 0 to 1.
func backoff(first, most time.Duration, attempt int, jitter float64) time.Duration {
	pause := most
	if doublings := attempt - 1; doublings < 32 && first<<doublings>>doublings == first {
		pause = min(first<<doublings, most)
	}
	return pause/2 + time.Duration(float64(pause/2)*jitter)
}
