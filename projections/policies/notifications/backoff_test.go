package notifications

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		attempt    int
		jitter     float64
		first, max time.Duration
		want       time.Duration
	}{
		{1, 1, 5 * time.Second, time.Hour, 5 * time.Second},
		{1, 0, 5 * time.Second, time.Hour, 2500 * time.Millisecond},
		{2, 1, 5 * time.Second, time.Hour, 10 * time.Second},
		{4, 0.5, 5 * time.Second, time.Hour, 30 * time.Second},
		{10, 1, 5 * time.Second, time.Hour, 2560 * time.Second},
		{11, 1, 5 * time.Second, time.Hour, time.Hour},
		{1000, 1, 5 * time.Second, time.Hour, time.Hour},
		{33, 1, 1000 * time.Hour, 2000 * time.Hour, 2000 * time.Hour},
		{1, 1, 2 * time.Hour, time.Hour, time.Hour},
	} {
		if got := backoff(c.first, c.max, c.attempt, c.jitter); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
