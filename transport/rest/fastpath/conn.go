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

	message   message
	in        []byte // what was read, and not yet answered, is in[from:to]
	from, to  int
	out, body []byte // of an answer: what is to be sent, and the body as long as there is no head
	last      bool   // the present answer says that no other follows

	readSet, writeSet int64 // ticks in which the deadlines were set; 0: they are to be set

	mu      sync.Mutex
	busy    bool          // a request is under way, from its first byte
	began   int64         // the tick in which its handler began; 0: none is at work
	closed  bool          // by retire
	watch   chan struct{} // closed when the caller is no longer watched; nil: nobody watches
	unwatch bool          // the watch is to end
}

func newConn(l *Listener, inner net.Conn) *conn {
	ctx, gone := context.WithCancel(l.config.ConnContext(context.Background(), inner))
	base := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: inner.RemoteAddr().String()}
	return &conn{Conn: inner, listener: l, base: base, ctx: ctx, gone: gone, in: make([]byte, requestSize)}
}

// serve answers requests until there is one for net/http, or none.
func (c *conn) serve() {
	defer c.listener.forget(c)
	for {
		switch c.next() {
		case ordinary:
			if c.answer() {
				continue
			}
		case other:
			if c.listener.handOver(c) {
				return
			}
		}
		c.Close()
		return
	}
}

// next reads a request. Partial: there won't be another.
func (c *conn) next() verdict {
	if c.from == c.to && !c.await() || !c.begin() {
		return partial
	}
	for waited := false; ; waited = true {
		size, v := c.message.parse(c.in[c.from:c.to])
		switch {
		case v == ordinary:
			c.from += size
			return ordinary
		case v == other, size > len(c.in), !c.read(waited):
			return other
		}
	}
}

// await waits for the first bytes of a request.
func (c *conn) await() bool {
	first := c.to == 0
	timeout := c.listener.config.IdleTimeout
	if first {
		timeout = c.listener.config.FirstTimeout
	}
	if until, due := c.listener.due(&c.readSet, timeout); due {
		_ = c.SetReadDeadline(until) // where this fails, so does the read
	}
	n, _ := c.Read(c.in)
	c.from, c.to = 0, n
	if first {
		c.readSet = 0
	}
	return n > 0
}

// read adds to what was read of a request. False: that takes too long, or is too much, for an ordinary one.
func (c *conn) read(waited bool) bool {
	c.to = copy(c.in, c.in[c.from:c.to])
	c.from = 0
	if !waited {
		c.readSet = 0
		_ = c.SetReadDeadline(time.Now().Add(patience)) // as above
	}
	n, err := c.Read(c.in[c.to:])
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
	err := w.end()
	if cap(c.out) > 2*wholeAnswer {
		c.out = nil
	}
	return c.end() && err == nil && !c.last
}

func (c *conn) start() {
	if until, due := c.listener.due(&c.writeSet, c.listener.config.WriteTimeout); due {
		_ = c.SetWriteDeadline(until) // where this fails, so does the write
	}
	c.out, c.body, c.last = c.out[:0], c.body[:0], false
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
		c.watch, c.unwatch, c.readSet = nil, false, 0
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
