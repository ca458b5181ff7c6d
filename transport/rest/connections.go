package rest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// What turning a connection away may cost.
const (
	maxTurnedAway  = 64 // at a time; more are closed without a word
	turnAwayWithin = time.Second
)

// busyAnswer is what a connection gets that there is no room for. It is written before its request is read.
var busyAnswer = func() []byte {
	const body = `{"type":"/problems/overloaded","title":"Overloaded","status":503,` +
		`"detail":"too many connections are open; nothing was done","instance":"","request_id":""}`
	return []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n" +
		"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}()

// boundedListener accepts at most limit connections at a time. Others are told at once that the server is busy, rather than
// left to wait for somebody to go.
type boundedListener struct {
	net.Listener
	limit  int64
	open   atomic.Int64
	turned atomic.Int64
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.limit {
			return &boundedConn{Conn: conn, listener: l}, nil
		}
		l.open.Add(-1)
		if l.turned.Add(1) > maxTurnedAway {
			l.turned.Add(-1)
			conn.Close()
			continue
		}
		go func() {
			defer l.turned.Add(-1)
			turnAway(conn)
		}()
	}
}

// turnAway answers and closes. What the caller sends is read first, because closing before that would take the answer back.
func turnAway(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(turnAwayWithin)) != nil {
		return
	}
	if _, err := conn.Write(busyAnswer); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, maxBody)
	}
}

// After a request was refused for the load, nothing is read from its connection for a while. A caller that comes back at
// once, against Retry-After, then waits for the next refusal: hundreds of them, sending as fast as they are refused, would
// take the processors from those who were let in. The pause grows with the number of such connections, so that all of them
// together get no more than refusalRate answers a second, and ends when Retry-After does.
const (
	leastPause  = 100 * time.Millisecond
	mostPause   = retryLater
	refusalRate = 2500
)

// pauses spreads refusals over time.
type pauses struct {
	mu   sync.Mutex
	next time.Time // when the next refusal would be due at refusalRate
}

// after gives the pause that follows a refusal.
func (p *pauses) after(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Second / refusalRate)
	if latest := now.Add(mostPause); p.next.After(latest) {
		p.next = latest
	}
	return max(leastPause, p.next.Sub(now))
}

// boundedConn gives its place back when it is closed. It can be held: reads wait then.
type boundedConn struct {
	net.Conn
	listener *boundedListener
	once     sync.Once

	held  atomic.Bool // a hold was set and hasn't been waited for
	mu    sync.Mutex
	until time.Time     // of the hold
	wake  chan struct{} // of the read that waits; nil: none does
	over  bool          // closed, or past its deadline: no read is to wait
}

type connKey struct{}

// withConn lets the handlers of a connection's requests find it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secured.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// holdBack keeps the connection of a request that was refused from being read for a while. Where requests share a connection
// at the same time (HTTP/2), it does nothing: others aren't to wait.
func (p *pauses) holdBack(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*boundedConn); ok && r.ProtoMajor == 1 {
		c.hold(p.after(time.Now()))
	}
}

func (c *boundedConn) hold(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(d)
	c.held.Store(true)
}

// Read implements net.Conn.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.held.Load() {
		c.wait()
	}
	return c.Conn.Read(p)
}

func (c *boundedConn) wait() {
	c.mu.Lock()
	left := time.Until(c.until)
	if left <= 0 || c.over {
		c.held.Store(left > 0)
		c.mu.Unlock()
		return
	}
	wake := make(chan struct{})
	c.wake = wake
	c.mu.Unlock()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = nil
}

// endWaits says whether reads are not to wait. One that waits goes on then.
func (c *boundedConn) endWaits(over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = over
	if over && c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// SetReadDeadline implements net.Conn. One that has passed ends a read, also one that waits.
func (c *boundedConn) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	c.endWaits(!t.IsZero() && !t.After(time.Now()))
	return err
}

// CloseWrite lets net/http's server end its answer to a faulty request at once.
func (c *boundedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.once.Do(func() { c.listener.open.Add(-1) })
	err := c.Conn.Close()
	c.endWaits(true)
	return err
}
