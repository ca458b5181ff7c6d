package eventstore

import (
	"context"
	"sync"
)

// Signal tells waiters that the log has grown. It is a wake-up, never a proof: what a waiter then finds in the log
// counts. It is safe for concurrent use.
type Signal struct {
	mu    sync.Mutex
	head  int64
	grown chan struct{} // closed at the next growth; nil while nobody waits
	subs  map[*subscription]struct{}
}

type subscription struct{ wake chan struct{} }

// NewSignal makes a signal that stands at a head.
func NewSignal(head int64) *Signal {
	return &Signal{head: head, subs: make(map[*subscription]struct{})}
}

// Head is the highest position announced so far.
func (s *Signal) Head() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

// Announce raises the head and wakes every waiter. A head that isn't higher wakes nobody.
func (s *Signal) Announce(head int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head <= s.head {
		return
	}
	s.head = head
	s.wake()
}

// Poke wakes every waiter without news of the head: announcements may have been missed.
func (s *Signal) Poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}

func (s *Signal) wake() {
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
	for sub := range s.subs {
		select {
		case sub.wake <- struct{}{}:
		default:
		}
	}
}

// Subscribe gives a channel that holds at most one wake-up: one per announcement, of which those that come while one is
// pending are merged. cancel ends it; the channel is never closed.
func (s *Signal) Subscribe() (wake <-chan struct{}, cancel func()) {
	sub := &subscription{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.subs[sub] = struct{}{}
	s.mu.Unlock()
	return sub.wake, func() {
		s.mu.Lock()
		delete(s.subs, sub)
		s.mu.Unlock()
	}
}

// Wait returns the head once it is above after. It returns earlier, with the head as it is, when Poke is called: the
// caller looks into the log. Its only error is ctx's.
func (s *Signal) Wait(ctx context.Context, after int64) (int64, error) {
	s.mu.Lock()
	if s.head > after {
		defer s.mu.Unlock()
		return s.head, nil
	}
	if s.grown == nil {
		s.grown = make(chan struct{})
	}
	grown := s.grown
	s.mu.Unlock()
	select {
	case <-grown:
		return s.Head(), nil
	case <-ctx.Done():
		return s.Head(), ctx.Err()
	}
}
