package rest

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestPausesGrowWithTheRefusals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for name, c := range map[string]struct {
		refused int           // at once, before
		later   time.Duration // how long ago they were
		want    time.Duration
	}{
		"a lone one":                      {0, 0, leastPause},
		"as many as fit into the least":   {refusalRate/10 - 1, 0, leastPause},
		"half a second's":                 {refusalRate/2 - 1, 0, second(0.5)},
		"half a second's, some time ago":  {refusalRate/2 - 1, second(0.3), second(0.2)},
		"half a second's, long ago":       {refusalRate/2 - 1, second(60), leastPause},
		"more than Retry-After has time":  {10 * refusalRate, 0, mostPause},
		"the same after Retry-After, too": {10 * refusalRate, mostPause, leastPause},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p pauses
			for range c.refused {
				p.after(now)
			}
			got := p.after(now.Add(c.later))
			if difference := (got - c.want).Abs(); difference > time.Second/refusalRate {
				t.Errorf("a pause of %v, want %v", got, c.want)
			}
		})
	}
}

// held gives both ends of a connection on which nothing is to be read for long.
func held(t *testing.T) (*boundedConn, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	caller, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	conn, err := (&boundedListener{Listener: listener, limit: 1}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := conn.(*boundedConn)
	c.hold(time.Hour)
	return c, caller
}

// A read that waits ends with its connection, and by a deadline that has passed, as net/http stops its own.
func TestHeldReadEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*boundedConn){
		"closed":   func(c *boundedConn) { c.Close() },
		"deadline": func(c *boundedConn) { c.SetReadDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := held(t)
			ended := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 1))
				ended <- err
			}()
			for waits := false; !waits; {
				c.mu.Lock()
				waits = c.wake != nil
				c.mu.Unlock()
			}
			end(c)
			if err := <-ended; !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			_, err := c.Read(make([]byte, 1)) // nor does one wait that comes later
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

// What has come meanwhile is read after the hold, and the next read doesn't wait.
func TestHeldConnectionGoesOn(t *testing.T) {
	t.Parallel()
	c, caller := held(t)
	if _, err := caller.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	const hold = 20 * time.Millisecond
	begun := time.Now()
	c.hold(hold)
	for _, want := range []string{"a", "b"} {
		one := make([]byte, 1)
		if _, err := c.Read(one); err != nil || string(one) != want {
			t.Fatalf("%q, %v", one, err)
		}
		if took := time.Since(begun); took < hold {
			t.Errorf("read %v after a hold of %v began", took, hold)
		}
	}
	if c.held.Load() {
		t.Error("the hold doesn't end")
	}
}
