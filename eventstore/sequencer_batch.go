package eventstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"annals/domain"
)

// run is the writer: the only goroutine that uses the link.
func (s *Sequencer) run() {
	defer close(s.done)
	for {
		batch := s.gather()
		if batch == nil {
			break
		}
		s.counters.taken(batch, s.cfg.Timeout)
		sent := time.Now()
		s.commit(batch)
		s.settle()
		s.answered = time.Now()
		s.took = s.answered.Sub(sent)
		s.mu.Lock()
		s.target = len(batch) + s.queue.count
		s.mu.Unlock()
	}
	if s.link != nil {
		s.link.close()
	}
}

// take moves ready requests into the batch. Those that are known to be stale, and those whose callers have gone, are
// settled instead, which may make others ready. It is called under the lock.
func (s *Sequencer) take() []*pending {
	clear(s.batch)
	s.batch = s.batch[:0]
	room := math.MaxInt
	for len(s.batch) < s.cfg.MaxBatch {
		p := s.queue.next(room)
		if p == nil {
			break
		}
		if p.state == stateAbandoned {
			s.release(p)
			continue
		}
		s.queue.leave(p)
		p.state = stateSent
		if !p.sharedKey {
			if conflict := s.versions.stale(&p.req); conflict != nil {
				s.finish(p, AppendOutcome{}, conflict)
				continue
			}
		}
		if len(s.batch) == 0 {
			room = MaxAppendBytes
		}
		room = max(room-p.wire.size(), 0)
		s.batch = append(s.batch, p)
	}
	return s.batch
}

// finish decides a request's outcome; its caller learns of it in settle. It is called under the lock.
func (s *Sequencer) finish(p *pending, outcome AppendOutcome, err error) {
	p.outcome, p.err = outcome, err
	s.release(p)
	s.settled = append(s.settled, p)
}

func (s *Sequencer) release(p *pending) {
	s.queue.release(p, s.queue.makeReady)
}

// settle wakes the callers of finished requests, outside the lock.
func (s *Sequencer) settle() {
	for i, p := range s.settled {
		s.settled[i] = nil
		p.done <- struct{}{}
	}
	s.settled = s.settled[:0]
}

// commit writes a batch, however often that must be tried.
func (s *Sequencer) commit(batch []*pending) {
	for attempt := 0; len(batch) > 0; attempt++ {
		if attempt > 0 {
			if batch = s.expire(batch); len(batch) == 0 {
				return
			}
		}
		if s.link == nil && !s.reconnect() {
			s.pause(attempt)
			continue
		}
		start := time.Now()
		head, verdicts, err := s.send(batch)
		s.counters.statement.add(int64(time.Since(start)))
		if err == nil {
			err = s.conclude(batch, head, verdicts)
		}
		if err == nil {
			return
		}
		kind := judge(err)
		s.counters.failures[kind].Add(1)
		switch kind {
		case failedRefused:
			s.bisect(batch, err)
			return
		case failedBehind:
			s.behind(batch, err)
			return
		case failedFull:
			s.full(batch, err)
			return
		case failedTransient:
			s.log.Warn("the database could not take an append", "error", err, "requests", len(batch))
			s.pause(attempt)
		case failedSession:
			s.log.Warn("the database refused an append", "error", err, "requests", len(batch))
			s.disconnect()
			s.pause(attempt)
		case failedUnknown:
			s.log.Warn("an append's answer was lost", "error", err, "requests", len(batch))
			for _, p := range batch {
				p.unknown = true
			}
			s.disconnect()
		}
	}
}

// send executes a batch.
func (s *Sequencer) send(batch []*pending) (head int64, verdicts []byte, err error) {
	known := s.knownHead.Load()
	if len(batch) == 1 {
		w := &batch[0].wire
		if w.events.n == 1 && w.streams.n == 1 && w.keys.n+w.releases.n+w.claims.n == 0 {
			return s.link.appendOne(known, w)
		}
	}
	s.wire.reset()
	for i, p := range batch {
		s.wire.add(&p.wire, i)
	}
	return s.link.appendBatch(known, s.distinctTypes(batch), &s.wire)
}

// distinctTypes are those of a batch's events, parted by spaces. They are few; where they aren't, nil: not told.
func (s *Sequencer) distinctTypes(batch []*pending) []byte {
	const most = 64
	types, joined := s.distinct[:0], s.joined[:0]
	for _, p := range batch {
		for i := range p.req.Events {
			t := p.req.Events[i].EventType
			if slices.Contains(types, t) {
				continue
			}
			if len(types) == most {
				return nil
			}
			types = append(types, t)
			joined = append(append(joined, t...), ' ')
		}
	}
	s.distinct, s.joined = types, joined
	return bytes.TrimSuffix(joined, []byte{' '})
}

// verdict is what append_v2 says of a request that it didn't append.
type verdict struct {
	Request       int                 `json:"request"`
	Verdict       string              `json:"verdict"`
	FirstPosition int64               `json:"first_position"`
	Result        json.RawMessage     `json:"result"`
	Versions      map[domain.ID]int64 `json:"versions"`
	Ordinal       int                 `json:"ordinal"`
}

// conclude gives each request of an executed batch its outcome. Its error means that the answer makes no sense.
func (s *Sequencer) conclude(batch []*pending, head int64, raw []byte) error {
	var lost map[int]*verdict
	if raw != nil {
		var verdicts []verdict
		if err := json.Unmarshal(raw, &verdicts); err != nil {
			return fmt.Errorf("read the verdicts of append_v2: %w", err)
		}
		lost = make(map[int]*verdict, len(verdicts))
		for i := range verdicts {
			lost[verdicts[i].Request] = &verdicts[i]
		}
	}
	s.types, s.written = s.types[:0], s.written[:0]
	for i, p := range batch {
		if lost[i] == nil {
			s.written = append(s.written, tailRequest{&p.req, p.wire.salts})
			for j := range p.req.Events {
				s.types = append(s.types, p.req.Events[j].EventType)
			}
		}
	}
	added := int64(len(s.types))
	s.Observe(head)
	if added > 0 {
		s.tail.add(head-added+1, s.written) // before anybody wakes to read it
	}
	clear(s.written)
	s.signal.announceTypes(head-added+1, s.types)
	s.mu.Lock()
	defer s.mu.Unlock()
	position := head - added
	for i, p := range batch {
		if v := lost[i]; v != nil {
			s.concludeLost(p, v, head)
			continue
		}
		outcome := AppendOutcome{Head: head}
		if n := int64(len(p.req.Events)); n > 0 {
			outcome.FirstPosition = position + 1
			position += n
		}
		s.versions.appended(&p.req)
		s.finish(p, outcome, nil)
	}
	return nil
}

func (s *Sequencer) concludeLost(p *pending, v *verdict, head int64) {
	switch v.Verdict {
	case "already":
		s.versions.appended(&p.req)
		s.finish(p, AppendOutcome{Head: head, FirstPosition: v.FirstPosition}, nil)
	case "replayed":
		s.finish(p, AppendOutcome{Head: head, FirstPosition: v.FirstPosition, Replayed: true, Result: v.Result}, nil)
	case "key_reused":
		s.finish(p, AppendOutcome{}, ErrKeyReused)
	case "conflict":
		for id, version := range v.Versions {
			s.versions.reached(id, version)
		}
		s.finish(p, AppendOutcome{}, &ConflictError{Versions: v.Versions})
	case "claim_taken":
		s.finish(p, AppendOutcome{}, &ClaimTakenError{Index: v.Ordinal})
	default:
		s.finish(p, AppendOutcome{}, fmt.Errorf("%w: append_v2 answered %q", ErrOutcomeUnknown, v.Verdict))
	}
}

// bisect splits a batch that the server refused for its content, until the request at fault is alone.
func (s *Sequencer) bisect(batch []*pending, err error) {
	if n := len(batch); n > 1 {
		s.log.Warn("the database refused a batch", "error", err, "requests", n)
		s.commit(batch[:n/2])
		s.commit(batch[n/2:])
		return
	}
	p := batch[0]
	if p.unknown {
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	} else {
		err = fmt.Errorf("%w: %w", ErrInvalidAppend, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(p, AppendOutcome{}, err)
}

// expire gives up the requests whose time is over, in the batch and in the queue, and all of them when Close has lost
// its patience. It gives the batch that is left.
func (s *Sequencer) expire(batch []*pending) []*pending {
	now := time.Now()
	s.mu.Lock()
	left := make([]*pending, 0, len(batch))
	for _, p := range batch {
		switch {
		case !s.aborted && now.Before(p.deadline):
			left = append(left, p)
		case p.unknown:
			s.finish(p, AppendOutcome{}, ErrOutcomeUnknown)
		case s.aborted:
			s.finish(p, AppendOutcome{}, ErrClosed)
		default:
			s.finish(p, AppendOutcome{}, ErrUnavailable)
		}
	}
	if !s.aborted {
		s.failQueued(ErrUnavailable, now)
	}
	s.mu.Unlock()
	s.settle()
	return left
}

// failQueued ends the waiting of those whose deadline isn't after now, or of all when now is zero. They keep their places
// in line, as if their callers had gone. It is called under the lock.
func (s *Sequencer) failQueued(err error, now time.Time) {
	for p := s.queue.oldest; p != nil && (now.IsZero() || !p.deadline.After(now)); p = s.queue.oldest {
		s.queue.giveUp(p)
		p.err = err
		p.done <- struct{}{}
	}
}

// disconnect drops the link. Its backend may still be at work: the next link ends it first.
func (s *Sequencer) disconnect() {
	s.lost = s.link.backend
	s.tail.forget()
	s.link.close()
	s.link = nil
	s.mu.Lock()
	s.versions.clear()
	s.mu.Unlock()
}

// adopt takes a link into use. When Close loses its patience, what is going on on it is broken off.
func (s *Sequencer) adopt(l *link) {
	s.link = l
	s.writer.Store(l.backend.pid)
	l.unwatch = context.AfterFunc(s.ctx, l.abort)
}

func (s *Sequencer) reconnect() bool {
	l, err := connect(s.ctx, s.linkConfig(), s.lost)
	if err != nil {
		s.log.Warn("the sequencer can't reach the database", "error", err)
		return false
	}
	s.adopt(l)
	s.lost = backend{}
	s.signal.Poke() // what the lost link wrote without an answer nobody has announced here
	s.counters.reconnects.Add(1)
	if f := s.cfg.OnReconnect; f != nil {
		f()
	}
	s.log.Info("the sequencer is connected again", "backend", l.backend.pid)
	return true
}

// pause waits before another attempt: 10 ms at first, 500 ms at most, less when Close has lost its patience.
func (s *Sequencer) pause(attempt int) {
	d := 500 * time.Millisecond
	if attempt < 5 {
		d = 10 * time.Millisecond << attempt
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}
