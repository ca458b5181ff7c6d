package eventstore

import (
	"fmt"
	"time"
)

// full refuses a batch for which there is no room. The next one is tried all the same: there may be room by then.
func (s *Sequencer) full(batch []*pending, err error) {
	if now := time.Now(); now.Sub(s.fullSaid) > time.Second { // the log may be on that disk, too
		s.fullSaid = now
		s.log.Error("the database's disk is full: nothing can be written until there is room", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range batch {
		if p.unknown {
			s.finish(p, AppendOutcome{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
		} else {
			s.finish(p, AppendOutcome{}, fmt.Errorf("%w: %w", ErrDiskFull, err))
		}
	}
}

// behind stops the sequencer for good.
func (s *Sequencer) behind(batch []*pending, err error) {
	s.log.Error("the log is behind: its tail was lost", "error", err, "known_head", s.KnownHead())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sticky = fmt.Errorf("%w: %w", ErrLogBehind, err)
	for _, p := range batch {
		if p.unknown {
			s.finish(p, AppendOutcome{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, s.sticky))
		} else {
			s.finish(p, AppendOutcome{}, s.sticky)
		}
	}
	s.failQueued(s.sticky, time.Time{})
}
