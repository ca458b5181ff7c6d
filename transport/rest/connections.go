package rest

import (
	"io"
	"net"
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

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	listener *boundedListener
	once     sync.Once
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.once.Do(func() { c.listener.open.Add(-1) })
	return c.Conn.Close()
}
