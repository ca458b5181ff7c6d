// Package fastpath answers ordinary HTTP/1.1 requests for less than net/http's server does, and leaves all others to that
// server. A request is ordinary when its head is plain, of a few kilobytes with its body, and there at once.
package fastpath

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how requests are answered. All members are required.
type Config struct {
	Handler      http.Handler
	ConnContext  func(context.Context, net.Conn) context.Context // as of http.Server
	FirstTimeout time.Duration                                   // for a new connection's first bytes
	IdleTimeout  time.Duration                                   // between requests
	WriteTimeout time.Duration                                   // to answer
	ErrorLog     *log.Logger
}

const (
	// resolution is how often it is looked whose callers have waited for a while.
	resolution = 100 * time.Millisecond
	// slackness is the part of a timeout by which it may be longer.
	slackness = 8
)

// Listener accepts connections and answers the ordinary requests on them. With another request a connection is net/http's
// for the rest of its life: Accept gives it to that server.
type Listener struct {
	inner    net.Listener
	config   Config
	accepted chan accepted
	closed   chan struct{}
	closing  sync.Once
	draining atomic.Bool
	tick     atomic.Int64 // counts resolution, from 1

	mu    sync.Mutex
	conns map[*conn]struct{}
	empty chan struct{} // closed when no connection is left after Close
}

type accepted struct {
	conn net.Conn
	err  error
}

// Listen begins to accept connections. Close ends that, and closes inner.
func Listen(inner net.Listener, config Config) *Listener {
	l := &Listener{
		inner: inner, config: config, accepted: make(chan accepted), closed: make(chan struct{}),
		conns: make(map[*conn]struct{}), empty: make(chan struct{}),
	}
	l.tick.Store(1)
	go l.accept()
	go l.watch()
	return l
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept implements net.Listener, for net/http: it gives connections to hand over, and the inner listener's errors. After
// Close: net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// give waits for Accept. False: nobody accepts any more.
func (l *Listener) give(a accepted) bool {
	select {
	case l.accepted <- a:
		return true
	case <-l.closed:
		return false
	}
}

func (l *Listener) accept() {
	for {
		inner, err := l.inner.Accept()
		if err != nil {
			if !l.give(accepted{err: err}) { // net/http's server knows how long to wait
				return
			}
			continue
		}
		c := newConn(l, inner)
		l.mu.Lock()
		l.conns[c] = struct{}{}
		l.mu.Unlock()
		if l.draining.Load() {
			c.retire()
		}
		go c.serve()
	}
}

// watch has the callers watched that have waited for a while.
func (l *Listener) watch() {
	ticker := time.NewTicker(resolution)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.empty:
			return
		}
		tick := l.tick.Add(1)
		l.mu.Lock()
		for c := range l.conns {
			c.watchCaller(tick - 1)
		}
		l.mu.Unlock()
	}
}

// renew gives a deadline that is the timeout away, or up to a slackness longer, so that it needn't be set for each request.
// False: the one that was set will do.
func renew(set *time.Time, timeout time.Duration) (until time.Time, due bool) {
	now := time.Now()
	if set.Sub(now) >= timeout {
		return time.Time{}, false
	}
	*set = now.Add(timeout + timeout/slackness)
	return *set, true
}

// handOver gives a connection to net/http, with what was read of it. False: it is too late for that.
func (l *Listener) handOver(c *conn) bool {
	_ = c.SetDeadline(time.Time{}) // where this fails, so does what comes next
	return l.give(accepted{conn: &handed{Conn: c.Conn, read: c.in[c.from:c.to]}})
}

// handed is a connection of which something was read already.
type handed struct {
	net.Conn
	read []byte
}

// Read implements net.Conn.
func (h *handed) Read(b []byte) (int, error) {
	if len(h.read) == 0 {
		return h.Conn.Read(b)
	}
	n := copy(b, h.read)
	if h.read = h.read[n:]; len(h.read) == 0 {
		h.read = nil // and with it the buffer
	}
	return n, nil
}

// CloseWrite lets net/http's server end its answer to a faulty request at once.
func (h *handed) CloseWrite() error {
	half, ok := h.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// NetConn gives the connection as it was accepted.
func (h *handed) NetConn() net.Conn { return h.Conn }

func (l *Listener) forget(c *conn) {
	c.gone()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.checkEmpty()
}

func (l *Listener) checkEmpty() {
	if !l.draining.Load() || len(l.conns) > 0 {
		return
	}
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}

// Close implements net.Listener, with the inner listener's error. Connections without a request under way are closed; the others end with their answer.
func (l *Listener) Close() (err error) {
	l.closing.Do(func() {
		l.draining.Store(true)
		close(l.closed)
		err = l.inner.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.conns {
			c.retire()
		}
		l.checkEmpty()
	})
	return err
}

// Drain waits, after Close, for the requests under way. At the end of ctx it cuts them off, and returns
// ctx's error.
func (l *Listener) Drain(ctx context.Context) error {
	select {
	case <-l.empty:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
	return ctx.Err()
}
