package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/projections/replay"
)

func TestPlainLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	r := New(&out)
	r.now = func() time.Time { return clock }
	at := func(phase replay.Phase, position int64, rate float64, eta, later time.Duration) {
		clock = clock.Add(later)
		r.Update(replay.Progress{Name: "orders", Version: 2, Phase: phase, Position: position, Head: 1000,
			EventsPerSecond: rate, ETA: eta})
	}
	at(replay.PhaseBuild, 0, 0, 0, 0)
	at(replay.PhaseBuild, 10, 100, 9900*time.Millisecond, time.Second) // too soon
	at(replay.PhaseBuild, 500, 590_400, time.Second, lineInterval)
	at(replay.PhaseSwitch, 1000, 1_250_000, 0, 0)
	want := []string{
		"orders v2 build: 0 of 1000",
		"orders v2 build: 500 of 1000, 590k events/s, ETA 1s",
		"orders v2 switch: 1000 of 1000, 1.2M events/s",
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := New(&out)
	r.terminal = true
	p := replay.Progress{Name: "orders", Version: 1, Phase: replay.PhaseBuild, Position: 1000, Head: 1000}
	r.Update(p)
	if strings.Contains(out.String(), "100%") {
		t.Errorf("the bar is full before the end: %q", out.String())
	}
	p.Phase = replay.PhaseDone
	r.Update(p)
	if !strings.Contains(out.String(), "100%") || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("the bar isn't finished: %q", out.String())
	}
}
