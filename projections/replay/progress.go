package replay

import "time"

// Progress tells where a rebuild is.
type Progress struct {
	Name            string
	Version         int
	Phase           Phase
	Position        int64         // the rebuilt rows are those of the log up to here
	Head            int64         // where the build is going; it grows while the log does
	EventsPerSecond float64       // positions of the log passed in a second, over the last few seconds
	ETA             time.Duration // until Position reaches Head at that rate; 0: unknown
}

// Phase is a step of a rebuild.
type Phase string

// The phases, in order. A rebuild that starts over goes back to PhaseBuild.
const (
	PhaseBuild   Phase = "build"    // the bulk of the log
	PhaseIndex   Phase = "index"    // deferred indexes, statistics
	PhaseCatchUp Phase = "catch-up" // what was appended meanwhile
	PhaseSwitch  Phase = "switch"   // waiting for the tables' locks
	PhaseCompare Phase = "compare"  // rebuilt rows against live ones
	PhaseDone    Phase = "done"
)

// window is how far back the rate looks, interval how often progress is told at most within a phase.
const (
	window   = 5 * time.Second
	interval = 100 * time.Millisecond
)

// tracker turns positions into rates. The clock has no influence on what is built.
type tracker struct {
	report  func(Progress)
	last    Progress
	told    time.Time
	samples []sample
}

type sample struct {
	at       time.Time
	position int64
}

func newTracker(name string, version int, report func(Progress)) *tracker {
	return &tracker{report: report, last: Progress{Name: name, Version: version}}
}

// at notes a position. It tells about it when the phase is new or the last telling was long enough ago.
func (t *tracker) at(now time.Time, phase Phase, position, head int64) {
	changed := phase != t.last.Phase
	if changed || position < t.last.Position {
		t.samples = t.samples[:0]
	}
	t.last.Phase, t.last.Position, t.last.Head = phase, position, head
	if !changed && now.Sub(t.told) < interval {
		return
	}
	t.samples = append(t.samples, sample{now, position})
	for len(t.samples) > 2 && now.Sub(t.samples[0].at) > window {
		t.samples = t.samples[1:]
	}
	t.rate()
	t.told = now
	if t.report != nil {
		t.report(t.last)
	}
}

func (t *tracker) rate() {
	first, last := t.samples[0], t.samples[len(t.samples)-1]
	elapsed := last.at.Sub(first.at).Seconds()
	t.last.EventsPerSecond, t.last.ETA = 0, 0
	if elapsed <= 0 {
		return
	}
	t.last.EventsPerSecond = float64(last.position-first.position) / elapsed
	if missing := t.last.Head - t.last.Position; t.last.EventsPerSecond > 0 && missing > 0 {
		t.last.ETA = time.Duration(float64(missing) / t.last.EventsPerSecond * float64(time.Second))
	}
}
