package projections

import (
	"context"
	"sync"
)

// Waker says how far the log reaches, as far as this process has heard. It makes delivery prompt; correctness never
// depends on it, because every subscriber also looks by itself at intervals.
type Waker interface {
	// Head is the highest position the process has heard of; 0 when it has heard of none.
	Head() int64
	// Wait returns once Head is above after, or when ctx ends.
	Wait(ctx context.Context, after int64)
}

// Signal is a Waker that is told of the head. The zero value is ready; it is safe for concurrent use.
type Signal struct {
	mu      sync.Mutex
	head    int64
	changed chan struct{} // closed when head rises; nil while nobody waits
}

// Raise says that the log reaches a position. A position that is not above the one known changes nothing.
func (s *Signal) Raise(head int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head <= s.head {
		return
	}
	s.head = head
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Head implements Waker.
func (s *Signal) Head() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

// Wait implements Waker.
func (s *Signal) Wait(ctx context.Context, after int64) {
	for {
		s.mu.Lock()
		if s.head > after {
			s.mu.Unlock()
			return
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
