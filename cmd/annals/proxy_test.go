package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a server and its PostgreSQL, and does what networks do.
type proxy struct {
	t        *testing.T
	target   *url.URL
	listener net.Listener
	work     sync.WaitGroup

	// Every every-th answer on a connection of the application dropOf, or of any when that is empty, is lost together
	// with the connection. 0: none. An answer that ends with ReadyForQuery comes after the commit.
	every   atomic.Int64
	dropOf  string // set before the first connection
	answers atomic.Int64
	dropped atomic.Int64

	mu    sync.Mutex
	links map[*proxied]bool
	flow  chan struct{} // closed while bytes may pass
}

// proxied is one connection through the proxy.
type proxied struct {
	app             string
	server, backend net.Conn
}

// newProxy starts a proxy to the database of a URL.
func newProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: target, listener: listener, links: make(map[*proxied]bool), flow: make(chan struct{})}
	close(p.flow)
	p.work.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.release()
		p.reset()
		p.work.Wait()
	})
	return p
}

// lose has every n-th answer lost from now on; 0: none.
func (p *proxy) lose(n int64) { p.every.Store(n) }

// dsn is the database's URL through the proxy.
func (p *proxy) dsn() string {
	u := *p.target
	u.Host = p.listener.Addr().String()
	u.RawQuery = "sslmode=disable"
	return u.String()
}

func dial(target *url.URL) (net.Conn, error) {
	q := target.Query()
	port := q.Get("port")
	if port == "" {
		port = "5432"
	}
	if dir := q.Get("host"); strings.HasPrefix(dir, "/") {
		return net.Dial("unix", dir+"/.s.PGSQL."+port)
	}
	host := target.Host
	if target.Port() == "" {
		host = net.JoinHostPort(target.Hostname(), port)
	}
	return net.Dial("tcp", host)
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.work.Go(func() { p.serve(conn) })
	}
}

// serve passes a connection on until either side ends it.
func (p *proxy) serve(conn net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	backend, err := dial(target)
	if err != nil {
		conn.Close()
		return
	}
	l := &proxied{server: conn, backend: backend}
	p.mu.Lock()
	current := p.target == target
	if current {
		p.links[l] = true
	}
	p.mu.Unlock()
	if !current { // it was led elsewhere meanwhile
		conn.Close()
		backend.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, l.server, l.backend, p.request) })
	both.Go(func() { p.pump(l, l.backend, l.server, p.answer) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump passes bytes on as long as pass lets it.
func (p *proxy) pump(l *proxied, from, to net.Conn, pass func(*proxied, []byte) bool) {
	defer l.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			<-p.gate()
			if !pass(l, buffer[:n]) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// request takes the application's name from the startup message.
func (p *proxy) request(l *proxied, data []byte) bool {
	const protocol3 = 3 << 16
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.app == "" && len(data) > 8 && binary.BigEndian.Uint32(data[4:]) == protocol3 {
		fields := strings.Split(string(data[8:]), "\x00")
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i] == "application_name" {
				l.app = fields[i+1]
			}
		}
	}
	return true
}

// readyForQuery ends the answer to a statement outside a transaction: what it did is committed.
var readyForQuery = []byte{'Z', 0, 0, 0, 5, 'I'}

// answer loses some answers.
func (p *proxy) answer(l *proxied, data []byte) bool {
	p.mu.Lock()
	app := l.app
	p.mu.Unlock()
	every := p.every.Load()
	if every == 0 || !strings.HasPrefix(app, "annals") || p.dropOf != "" && app != p.dropOf ||
		!bytes.HasSuffix(data, readyForQuery) {
		return true
	}
	if p.answers.Add(1)%every != 0 {
		return true
	}
	p.dropped.Add(1)
	return false
}

func (p *proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow
}

// stall keeps all bytes back until release. Connections stay open, and new ones are accepted.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flow = make(chan struct{})
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
	default:
		close(p.flow)
	}
}

// reset breaks every connection at once.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		for _, conn := range []net.Conn{l.server, l.backend} {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // closing sends RST
			}
		}
		l.close()
	}
}

func (l *proxied) close() {
	l.server.Close()
	l.backend.Close()
}
