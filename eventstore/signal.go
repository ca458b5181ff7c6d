package eventstore

import (
	"context"
	"strconv"
	"strings"
	"sync"
)

// Signal tells waiters that the log has grown, and by what types of events as far as this node knows. It is a wake-up,
// never a proof: what a waiter then finds in the log counts. It is safe for concurrent use.
type Signal struct {
	mu      sync.Mutex
	head    int64
	unknown int64            // the last position whose event's type isn't known here
	last    map[string]int64 // the last position of each type that is
	waiters map[*waiter]struct{}
	subs    map[*subscription]struct{}
}

// waiter is one call of WaitTypes. Its channel is closed when there is news for it.
type waiter struct {
	after int64
	types []string
	news  chan struct{}
}

type subscription struct{ wake chan struct{} }

// NewSignal makes a signal that stands at a head.
func NewSignal(head int64) *Signal {
	return &Signal{
		head: head, unknown: head, last: make(map[string]int64),
		waiters: make(map[*waiter]struct{}), subs: make(map[*subscription]struct{}),
	}
}

// Head is the highest position announced so far.
func (s *Signal) Head() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

// Announce raises the head over events of whatever types, and wakes every waiter. A head that isn't higher wakes nobody.
func (s *Signal) Announce(head int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head <= s.head {
		return
	}
	s.head, s.unknown = head, head
	s.wake()
}

// announceTypes raises the head over events that this node wrote: from first on, of the types given, in order. What lies
// between the head so far and first was written by others, of whatever types.
func (s *Signal) announceTypes(first int64, types []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first > s.head+1 {
		s.unknown = max(s.unknown, first-1)
	}
	for i, t := range types {
		if at := first + int64(i); at > s.last[t] {
			s.last[t] = at
		}
	}
	if head := first + int64(len(types)) - 1; head > s.head {
		s.head = head
		s.wake()
	}
}

// mostTypes bounds how many types a signal keeps apart.
const mostTypes = 10_000

// hear takes in an announcement of another node. One that can't be read is dropped: subscribers look by themselves.
func (s *Signal) hear(announcement string) {
	fields := strings.Fields(announcement)
	if len(fields) == 0 {
		return
	}
	head, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return
	}
	if len(fields) < 3 {
		s.Announce(head)
		return
	}
	if first, err := strconv.ParseInt(fields[1], 10, 64); err == nil && 0 < first && first <= head {
		s.announceOthers(first, head, fields[2:])
	}
}

// announceOthers raises the head over events that another node wrote, of the types given in whatever order. What lies
// between the head so far and first is of whatever types.
func (s *Signal) announceOthers(first, head int64, types []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first > s.head+1 {
		s.unknown = max(s.unknown, first-1)
	}
	for _, t := range types {
		if _, known := s.last[t]; !known && len(s.last) >= mostTypes {
			s.unknown = max(s.unknown, head)
			break
		}
		s.last[t] = max(s.last[t], head)
	}
	if head > s.head {
		s.head = head
		s.wake()
	}
}

// Poke wakes every waiter without news of the head: announcements may have been missed.
func (s *Signal) Poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.waiters {
		s.tell(w)
	}
	s.wakeSubscribers()
}

// wake is called under the lock, as are those below.
func (s *Signal) wake() {
	for w := range s.waiters {
		if s.concerns(w.after, w.types) {
			s.tell(w)
		}
	}
	s.wakeSubscribers()
}

func (s *Signal) tell(w *waiter) {
	close(w.news)
	delete(s.waiters, w)
}

func (s *Signal) wakeSubscribers() {
	for sub := range s.subs {
		select {
		case sub.wake <- struct{}{}:
		default:
		}
	}
}

// concerns reports whether an event after a position may be of one of the types; no types: whether there is one.
func (s *Signal) concerns(after int64, types []string) bool {
	if len(types) == 0 {
		return s.head > after
	}
	if s.unknown > after {
		return true
	}
	for _, t := range types {
		if s.last[t] > after {
			return true
		}
	}
	return false
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
	return s.WaitTypes(ctx, after, nil)
}

// WaitTypes is Wait for those who want events of some types: it returns once one after the position may be of them, by what
// this node wrote and what others announced. No types: any event.
func (s *Signal) WaitTypes(ctx context.Context, after int64, types []string) (int64, error) {
	s.mu.Lock()
	if s.concerns(after, types) {
		defer s.mu.Unlock()
		return s.head, nil
	}
	w := &waiter{after: after, types: types, news: make(chan struct{})}
	s.waiters[w] = struct{}{}
	s.mu.Unlock()
	select {
	case <-w.news:
		return s.Head(), nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiters, w)
		return s.head, ctx.Err()
	}
}
