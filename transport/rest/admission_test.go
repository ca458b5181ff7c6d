package rest

import (
	"fmt"
	"testing"
	"time"
)

func TestGateKeepsRoomForOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit          int
		alone, another int // places that a lone client gets, and then another one
	}{{1, 1, 0}, {2, 1, 1}, {4, 3, 1}, {8, 6, 2}, {512, 384, 128}} {
		g := newGate("tests", c.limit)
		fill := func(client string) (n int) {
			for g.admits(client) == nil {
				if err := g.enter(client); err != nil {
					t.Fatalf("limit %d: what is admitted can't enter: %v", c.limit, err)
				}
				n++
			}
			if g.enter(client) == nil || !g.scarce() {
				t.Errorf("limit %d: there is room for what isn't admitted", c.limit)
			}
			return n
		}
		if alone, another := fill("a"), fill("b"); alone != c.alone || another != c.another {
			t.Errorf("limit %d: %d and %d places, want %d and %d", c.limit, alone, another, c.alone, c.another)
		}
		if g.admits("c") == nil {
			t.Errorf("limit %d: not full with %d", c.limit, g.inUse)
		}
		for range c.alone {
			g.leave("a")
		}
		for range c.another {
			g.leave("b")
		}
		if g.inUse != 0 || len(g.byClient) != 0 {
			t.Errorf("limit %d: %d places and %d clients are left", c.limit, g.inUse, len(g.byClient))
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	limited := newRates(2, 3)
	limited.now = func() time.Time { return now }
	take := func(client string) time.Duration {
		if err := limited.take(client); err != nil {
			return err.(*Problem).retryAfter
		}
		return 0
	}
	for i, step := range []struct {
		pass   time.Duration
		client string
		wait   time.Duration
	}{
		{0, "a", 0}, {0, "a", 0}, {0, "a", 0}, {0, "a", time.Second / 2}, {0, "a", time.Second / 2},
		{0, "b", 0},
		{time.Second / 4, "a", time.Second / 4},
		{time.Second / 4, "a", 0}, {0, "a", time.Second / 2},
		{-time.Hour, "a", time.Second / 2}, // a clock that jumps back costs a client nothing but the wait
		{time.Second, "a", 0},
		{time.Hour, "a", 0}, {0, "a", 0}, {0, "a", 0}, {0, "a", time.Second / 2},
	} {
		now = now.Add(step.pass)
		if wait := take(step.client); wait != step.wait {
			t.Errorf("step %d: client %s waits %v, want %v", i, step.client, wait, step.wait)
		}
	}
	if err := newRates(0, 0).take("a"); err != nil {
		t.Errorf("without a rate: %v", err)
	}
}

func TestRatesAreBounded(t *testing.T) {
	t.Parallel()
	limited := newRates(1, 1)
	now := time.Unix(1e9, 0)
	limited.now = func() time.Time { return now }
	for i := range 2 * maxBuckets {
		if err := limited.take(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(limited.byClient); n != maxBuckets {
		t.Errorf("%d busy clients are remembered, want %d", n, maxBuckets)
	}
	now = now.Add(time.Minute)
	if err := limited.take("late"); err != nil || len(limited.byClient) != 1 {
		t.Errorf("%v; %d idle clients are remembered, want none", err, len(limited.byClient)-1)
	}
}
