package embedded

import (
	"fmt"
	"time"
)

const (
	firstDelay   = 50 * time.Millisecond
	longestDelay = 5 * time.Second
	healthyAfter = time.Minute
)

// supervise starts PostgreSQL again when it dies, ever more slowly if it dies
// soon again.
func (s *Server) supervise() {
	delay := firstDelay
	for {
		p := s.current()
		since := time.Now()
		select {
		case <-p.exited:
		case <-s.life.Done():
			return
		}
		if time.Since(since) > healthyAfter {
			delay = firstDelay
		}
		for s.current() == p {
			select {
			case <-time.After(delay):
			case <-s.life.Done():
				return
			}
			s.revive(p)
			delay = min(2*delay, longestDelay)
		}
	}
}

// revive starts PostgreSQL unless somebody else did, or stops it.
func (s *Server) revive(dead *process) {
	if !s.ops.TryLock() {
		return // Restart or Stop is at it
	}
	defer s.ops.Unlock()
	if s.current() != dead || s.life.Err() != nil {
		return
	}
	s.cfg.Logger.Error("the database server died; starting it again", "pid", dead.pid, "status", fmt.Sprint(dead.err), "log", s.log.file.Name())
	if err := s.launch(s.life); err != nil && s.life.Err() == nil {
		s.cfg.Logger.Error("the database server can't be started", "error", err)
	}
}

func (s *Server) keepLogSmall() {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-ticker.C:
			if err := s.log.rotate(); err != nil {
				s.cfg.Logger.Warn("the database server's log", "error", err)
			}
		}
	}
}
