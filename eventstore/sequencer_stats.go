package eventstore

import (
	"slices"
	"sync/atomic"
	"time"
)

// Distribution says how often values were seen since the start.
type Distribution struct {
	Bounds []float64 // upper bounds of the buckets, which include them, ascending
	Counts []int64   // of each bucket alone; one more than Bounds, the last for what is above all of them
	Sum    float64   // of all values
}

// SequencerStats counts since the start.
type SequencerStats struct {
	Requests  Distribution // appends in a batch
	Events    Distribution // events in a batch
	Gather    Distribution // seconds that a batch waited for callers who were expected back
	Wait      Distribution // seconds that an append stood in the queue until it was taken into a batch
	Statement Distribution // seconds that an attempt to write a batch took, commit included
	// Failures counts attempts that failed, by what the error meant for the batch.
	Failures   map[string]int64
	Overloaded int64 // appends refused because the queue was full
	Reconnects int64
	Queued     int // appends that wait now
}

// Kinds of SequencerStats.Failures.
var failureKinds = [...]string{
	failedRefused: "refused", failedTransient: "transient", failedSession: "session", failedBehind: "behind",
	failedUnknown: "unknown", failedFull: "full",
}

// tally counts values in buckets. One goroutine adds, any may read.
type tally struct {
	bounds []int64
	counts []atomic.Int64
	sum    atomic.Int64
}

func newTally(bounds []int64) tally {
	return tally{bounds: bounds, counts: make([]atomic.Int64, len(bounds)+1)}
}

func (t *tally) add(v int64) {
	i := 0
	for i < len(t.bounds) && v > t.bounds[i] {
		i++
	}
	t.counts[i].Add(1)
	t.sum.Add(v)
}

// distribution gives what was counted, divided by what makes a whole unit.
func (t *tally) distribution(whole float64) Distribution {
	d := Distribution{
		Bounds: make([]float64, len(t.bounds)), Counts: make([]int64, len(t.counts)), Sum: float64(t.sum.Load()) / whole,
	}
	for i, b := range t.bounds {
		d.Bounds[i] = float64(b) / whole
	}
	for i := range t.counts {
		d.Counts[i] = t.counts[i].Load()
	}
	return d
}

// sequencerCounters are the sequencer's counters. All but overloaded are added to by the writer alone.
type sequencerCounters struct {
	requests, events, gather, wait, statement tally
	failures                                  [len(failureKinds)]atomic.Int64
	overloaded, reconnects                    atomic.Int64
}

func newSequencerCounters() sequencerCounters {
	sizes := []int64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
	var times []int64
	for _, µs := range []int64{50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 500_000, 2_000_000} {
		times = append(times, µs*int64(time.Microsecond))
	}
	return sequencerCounters{
		requests: newTally(sizes), events: newTally(slices.Concat(sizes, []int64{4096, 16_384})),
		gather: newTally(times), wait: newTally(times), statement: newTally(times),
	}
}

// taken counts a batch that is about to be sent. Requests note when that was, for those who trace them.
func (c *sequencerCounters) taken(batch []*pending, timeout time.Duration) {
	now := time.Now()
	events := 0
	for _, p := range batch {
		events += len(p.req.Events)
		c.wait.add(int64(now.Sub(p.deadline) + timeout)) // the deadline says when it came
		p.sent, p.batch = now, len(batch)
	}
	c.requests.add(int64(len(batch)))
	c.events.add(int64(events))
}

// Stats gives the counters.
func (s *Sequencer) Stats() SequencerStats {
	c := &s.counters
	const second = float64(time.Second)
	stats := SequencerStats{
		Requests: c.requests.distribution(1), Events: c.events.distribution(1),
		Gather: c.gather.distribution(second), Wait: c.wait.distribution(second),
		Statement: c.statement.distribution(second),
		Failures:  make(map[string]int64, len(failureKinds)), Overloaded: c.overloaded.Load(), Reconnects: c.reconnects.Load(),
	}
	for kind, name := range failureKinds {
		stats.Failures[name] = c.failures[kind].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Queued = s.queue.count
	return stats
}
