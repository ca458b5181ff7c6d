package fastpath

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// requestSize is the most that an ordinary request may have in bytes, its body included.
	requestSize = 8 << 10
	// patience is how long the rest of a request is waited for, before it is net/http that waits.
	patience = 20 * time.Millisecond
)

// conn is a connection all of whose requests have been ordinary so far.
type conn struct {
	net.Conn
	listener *Listener
	base     *http.Request // what its requests have in common
	ctx      context.Context
	gone     context.CancelFunc // of ctx: the caller has gone

	in       []byte // what was read, and not yet answered, is in[from:to]
	from, to int
	last     bool // the present answer says that no other follows
	*scratch      // of the request under way

	readUntil, writeUntil time.Time // deadlines; zero: they are to be set

	mu      sync.Mutex
	busy    bool          // a request is under way, from its first byte
	began   int64         // the tick in which its handler began; 0: none is at work
	closed  bool          // by retire
	watch   chan struct{} // closed when the caller is no longer watched; nil: nobody watches
	unwatch bool          // the watch is to end
}

// scratch is what a connection needs only while a request is under way.
type scratch struct {
	message   message
	out, body []byte // of an answer: what is to be sent, and the body as long as there is no head
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	s.message = message{}
	if s.out, s.body = s.out[:0], s.body[:0]; cap(s.out) <= 2*wholeAnswer && cap(s.body) <= 2*wholeAnswer {
		scratches.Put(s)
	}
}

func newConn(l *Listener, inner net.Conn) *conn {
	ctx, gone := context.WithCancel(l.config.ConnContext(context.Background(), inner))
	base := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: inner.RemoteAddr().String()}
	return &conn{Conn: inner, listener: l, base: base, ctx: ctx, gone: gone, in: make([]byte, requestSize+1)} // one for the watch
}

// serve answers requests until there is one for net/http, or none.
func (c *conn) serve() {
	handed := false
	defer func() {
		if !handed { // also when a handler ends the goroutine
			c.Close()
		}
		c.listener.forget(c)
	}()
	for {
		switch c.next() {
		case ordinary:
			if !c.answer() {
				return
			}
		case other:
			handed = c.listener.handOver(c)
			return
		case none:
			return
		}
	}
}

// next reads a request.
func (c *conn) next() verdict {
	if c.from == c.to && !c.await() || !c.begin() {
		return none
	}
	c.scratch = scratches.Get().(*scratch)
	for waited := false; ; waited = true {
		size, v := c.message.parse(c.in[c.from:c.to])
		switch {
		case v == ordinary:
			c.from += size
			return ordinary
		case v == other, size > requestSize, !c.read(waited):
			return other
		}
	}
}

// await waits for the first bytes of a request.
func (c *conn) await() bool {
	if c.to == 0 { // of the connection's first
		_ = c.SetReadDeadline(time.Now().Add(c.listener.config.FirstTimeout)) // where this fails, so does the read
	} else if until, due := renew(&c.readUntil, c.listener.config.IdleTimeout); due {
		_ = c.SetReadDeadline(until)
	}
	n, _ := c.Read(c.in[:requestSize])
	c.from, c.to = 0, n
	return n > 0
}

// read adds to what was read of a request. False: that takes too long, or is too much, for an ordinary one.
func (c *conn) read(waited bool) bool {
	c.to = copy(c.in, c.in[c.from:c.to])
	c.from = 0
	if !waited {
		c.readUntil = time.Time{}
		_ = c.SetReadDeadline(time.Now().Add(patience))
	}
	n, err := c.Read(c.in[c.to:max(c.to, requestSize)])
	c.to += n
	return n > 0 && err == nil
}

// begin notes that a request is under way. False: the connection was closed before.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
	return !c.closed
}

// answer has the request answered, and reports whether another may follow.
func (c *conn) answer() (another bool) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			c.end()
			another = false
			if value != http.ErrAbortHandler {
				c.listener.config.ErrorLog.Printf("http: panic serving %s: %v\n%s", c.base.RemoteAddr, value, debug.Stack())
			}
		}
	}()
	c.start()
	x := c.message.open(c.base, ctx)
	w := &x.response
	w.conn, w.header = c, make(http.Header, 8)
	c.listener.config.Handler.ServeHTTP(w, x.request)
	cancel()
	err := w.end()
	c.release()
	c.scratch = nil
	return c.end() && err == nil && !c.last
}

func (c *conn) start() {
	if until, due := renew(&c.writeUntil, c.listener.config.WriteTimeout); due {
		_ = c.SetWriteDeadline(until) // where this fails, so does the write
	}
	c.last = false
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = c.listener.tick.Load()
}

// end notes that the request was answered, and reports whether another may follow.
func (c *conn) end() bool {
	c.mu.Lock()
	c.busy, c.began = false, 0
	watch := c.watch
	if watch != nil {
		c.unwatch = true
		_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the watch's read
	}
	c.mu.Unlock()
	if watch != nil {
		<-watch
		c.watch, c.unwatch, c.readUntil = nil, false, time.Time{}
	}
	return !c.listener.draining.Load()
}

// watchCaller has it noticed when the caller goes, which ends the context of a request whose handler began before the tick.
// What is read meanwhile is of another request.
func (c *conn) watchCaller(tick int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began == 0 || c.began >= tick || c.watch != nil || c.to == len(c.in) {
		return
	}
	watch := make(chan struct{})
	c.watch = watch
	_ = c.SetReadDeadline(time.Time{})
	go func() {
		defer close(watch)
		n, _ := c.Read(c.in[c.to : c.to+1])
		c.to += n
		c.mu.Lock()
		defer c.mu.Unlock()
		if n == 0 && !c.unwatch {
			c.gone()
		}
	}()
}

// retire closes the connection unless a request is under way.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy && !c.closed {
		c.closed = true
		c.Close()
	}
}
