package eventstore

import (
	"errors"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// gathering is a sequencer whose last batch has just answered so many callers, and whose writer doesn't run.
func gathering(t *testing.T, callers int, wait time.Duration) *Sequencer {
	t.Helper()
	s, err := newSequencer(t.Context(), SequencerConfig{DSN: pgtest.New(t).DSN, Gather: wait})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.link != nil {
			s.link.close()
		}
		_ = s.listen.close()
	})
	s.target, s.answered, s.took = callers, time.Now(), long
	return s
}

func submit(t *testing.T, s *Sequencer) *pending {
	t.Helper()
	return submitTo(t, s, freshID())
}

func submitTo(t *testing.T, s *Sequencer, stream domain.ID) *pending {
	t.Helper()
	p := s.pool.get()
	p.req = onStream(stream, 0, 1)
	p.wire.encode(&p.req, &p.salts)
	p.deadline = time.Now().Add(s.cfg.Timeout)
	if err := s.enqueue(p); err != nil {
		t.Error(err)
	}
	return p
}

// gathered gives the size of the batch that is taken while others do something.
func gathered(s *Sequencer, meanwhile func()) int {
	size := make(chan int, 1)
	go func() { size <- len(s.gather()) }()
	meanwhile()
	return <-size
}

// waiting returns once the writer waits for callers.
func waiting(t *testing.T, s *Sequencer) {
	t.Helper()
	pgtest.Eventually(t, "the writer waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.expected > 0
	})
}

const long = time.Hour // a wait that no test would survive

func TestABatchWaitsForTheCallersItExpects(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, long)
	n := gathered(s, func() {
		submit(t, s)
		waiting(t, s)
		for range 4 {
			submit(t, s)
		}
	})
	if n != 5 {
		t.Errorf("a batch of %d, want all 5 that were expected", n)
	}
}

// TestABatchOfManyWaitsForSome: one that doesn't wait takes whoever is there.
func TestABatchOfManyWaitsForSome(t *testing.T) {
	t.Parallel()
	s := gathering(t, 3*gatherEnough, long)
	n := gathered(s, func() {
		submit(t, s)
		waiting(t, s)
		for range gatherEnough - 1 {
			submit(t, s)
		}
	})
	if n != gatherEnough {
		t.Errorf("a batch of %d, want %d", n, gatherEnough)
	}
}

func TestABatchGoesWithoutThoseWhoStayAway(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, 20*time.Millisecond)
	if n := gathered(s, func() { submit(t, s) }); n != 1 {
		t.Errorf("a batch of %d, want the one that came", n)
	}
}

// TestABatchWaitsNoLongerThanTheLastTook: else waiting would be most of an append where appends are quick.
func TestABatchWaitsNoLongerThanTheLastTook(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, long)
	s.took = time.Millisecond
	if n := gathered(s, func() { submit(t, s) }); n != 1 {
		t.Errorf("a batch of %d, want the one that came", n)
	}
}

// TestCallersBehindOthersAreBack: nobody is waited for whose request is there, though it can't go yet.
func TestCallersBehindOthersAreBack(t *testing.T) {
	t.Parallel()
	s := gathering(t, 2, long)
	stream := freshID()
	n := gathered(s, func() {
		submitTo(t, s, stream)
		submitTo(t, s, stream)
	})
	if n != 1 {
		t.Errorf("a batch of %d, want the first of the two", n)
	}
}

func TestALoneCallerWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := gathering(t, 1, long)
	if n := gathered(s, func() { submit(t, s) }); n != 1 {
		t.Errorf("a batch of %d, want 1", n)
	}
}

// TestNobodyIsExpectedOfAClosedSequencer: what waits is written at once.
func TestNobodyIsExpectedOfAClosedSequencer(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, long)
	submit(t, s)
	s.closing = true
	if n := gathered(s, func() {}); n != 1 {
		t.Errorf("a batch of %d, want 1", n)
	}
}

// TestExpectationsEnd: after a pause that was longer than any wait, nobody is expected back.
func TestExpectationsEnd(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, long)
	s.answered = time.Now().Add(-gatherMost * long)
	if n := gathered(s, func() { submit(t, s) }); n != 1 {
		t.Errorf("a batch of %d, want 1", n)
	}
}

// TestCloseEndsTheWaitForCallers: nobody comes any more, and what waits is written.
func TestCloseEndsTheWaitForCallers(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, long)
	n := gathered(s, func() {
		submit(t, s)
		waiting(t, s)
		s.mu.Lock()
		s.closing = true
		s.wakeWriter()
		s.mu.Unlock()
	})
	if n != 1 {
		t.Errorf("a batch of %d, want 1", n)
	}
}

// TestImpatienceEndsTheWaitForCallers: what wasn't sent fails once Close's context has ended.
func TestImpatienceEndsTheWaitForCallers(t *testing.T) {
	t.Parallel()
	s := gathering(t, 5, long)
	var p *pending
	n := gathered(s, func() {
		p = submit(t, s)
		waiting(t, s)
		s.mu.Lock()
		s.aborted = true
		s.mu.Unlock()
		s.stop()
	})
	if <-p.done; n != 0 || !errors.Is(p.err, ErrClosed) {
		t.Errorf("a batch of %d, error %v; want none and %v", n, p.err, ErrClosed)
	}
}
