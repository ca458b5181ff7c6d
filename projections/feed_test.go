package projections

import (
	"testing"
	"time"
)

func TestLoadPause(t *testing.T) {
	t.Parallel()
	const step = 20 * time.Millisecond
	for name, c := range map[string]struct {
		positions int64
		since     time.Duration
		want      time.Duration
	}{
		"a lone event":            {1, time.Second, 0},
		"a caller who waits":      {1, 2 * time.Millisecond, 0},
		"below the load":          {99, 100 * time.Millisecond, 0},
		"2,000 a second":          {200, 100 * time.Millisecond, 0},
		"3,000 a second":          {300, 100 * time.Millisecond, 3 * step},
		"as fast as it gets":      {9000, 100 * time.Millisecond, 5 * step},
		"a burst after a silence": {2000, time.Hour, 0},
		"at once":                 {2000, 0, 5 * step},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := loadPause(step, c.positions, c.since); got.Round(time.Microsecond) != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
