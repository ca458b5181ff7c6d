package eventstore

import "time"

// gather waits for work and takes a batch; nil means that there will be none.
//
// Much of what a batch costs is the same with one request or a hundred, so it is worth a moment's wait for callers who are
// expected back: those that the last batch answered, besides those who waited meanwhile. A lone caller is neither.
func (s *Sequencer) gather() []*pending {
	for {
		s.mu.Lock()
		for s.queue.readyCount == 0 && !s.aborted {
			if s.closing {
				s.mu.Unlock()
				return nil
			}
			s.idle = true
			s.mu.Unlock()
			<-s.wake
			s.mu.Lock()
		}
		if s.aborted {
			s.failQueued(ErrClosed, time.Time{})
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		s.awaitExpected()
		s.mu.Lock()
		if s.aborted {
			s.mu.Unlock()
			continue
		}
		batch := s.take()
		s.mu.Unlock()
		s.settle()
		if len(batch) > 0 {
			return batch
		}
	}
}

// gatherMost bounds the time that a batch waits for callers: each adds to it, up to so many.
const gatherMost = 20

// gatherEnough is how many requests are as good as all: with more callers than that, some had better be answered, and on
// their way back, while others are appended.
const gatherEnough = 48

// awaitExpected waits until as many requests wait as are expected, for a time that grows with their number: no longer than
// the last batch took, so that nobody's append takes twice as long for it. When even the first of the callers stayed away for
// as long as a batch waits at most, the others needn't be waited for either.
func (s *Sequencer) awaitExpected() {
	start := time.Now()
	expected := min(s.target, s.cfg.MaxBatch, gatherEnough)
	limit := min(s.cfg.Gather*time.Duration(min(expected, gatherMost)), s.took)
	if start.Sub(s.answered) < gatherMost*s.cfg.Gather && s.expect(expected) {
		timer := time.NewTimer(limit)
		select {
		case <-s.gathered:
		case <-timer.C:
		case <-s.ctx.Done(): // Close has lost its patience
		}
		timer.Stop()
		s.expect(0)
	}
	s.counters.gather.add(int64(time.Since(start)))
}

// expect says from how many requests on, ready or blocked, the writer doesn't wait any more: a caller whose request is
// behind another's has come back, too. It reports whether the writer must wait for them.
func (s *Sequencer) expect(requests int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.gathered:
	default:
	}
	s.expected = 0
	if s.queue.count < requests && !s.closing {
		s.expected = requests
	}
	return s.expected > 0
}
