package eventstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"annals/eventstore/pgtest"
)

// A pooler that shares sessions among connections is told from PostgreSQL itself.
func TestPoolerWithoutSessions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	if err := CheckSessions(t.Context(), db.DSN, "test"); err != nil {
		t.Errorf("PostgreSQL itself: %v", err)
	}
	if err := CheckSessions(t.Context(), sharedSession(t, db.DSN), "test"); !errors.Is(err, ErrNoSessions) {
		t.Errorf("behind a pooler: %v", err)
	}
}

// sharedSession gives the URL of a pooler with one session of a database, which each connection has for a transaction.
func sharedSession(t *testing.T, dsn string) string {
	t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &transactionPool{socket: target.Query().Get("host") + "/.s.PGSQL." + target.Query().Get("port")}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			work.Go(func() {
				defer conn.Close()
				if err := p.serve(conn); err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("the pooler: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		work.Wait()
		if p.backend != nil {
			p.backend.Close()
		}
	})
	target.Host, target.RawQuery = listener.Addr().String(), "sslmode=disable"
	return target.String()
}

// transactionPool does what a pooler in transaction mode does, with one session.
type transactionPool struct {
	socket   string
	mu       sync.Mutex // held during a transaction
	backend  net.Conn
	greeting []byte
}

func (p *transactionPool) serve(client net.Conn) error {
	startup, err := readMessage(client, 0)
	if err != nil {
		return err
	}
	if err := p.greet(client, startup); err != nil {
		return err
	}
	inside := false
	defer func() {
		if inside {
			p.mu.Unlock()
		}
	}()
	for {
		message, err := readMessage(client, 1)
		if err != nil || message[0] == 'X' {
			return err
		}
		if !inside {
			p.mu.Lock()
			inside = true
		}
		if _, err := p.backend.Write(message); err != nil {
			return err
		}
		if message[0] != 'Q' && message[0] != 'S' {
			continue
		}
		status, err := p.answer(client)
		if err != nil {
			return err
		}
		if status == 'I' {
			inside = false
			p.mu.Unlock()
		}
	}
}

// greet lets the first connection make the session, and tells all others what it was told.
func (p *transactionPool) greet(client io.Writer, startup []byte) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backend != nil {
		_, err = client.Write(p.greeting)
		return err
	}
	if p.backend, err = net.Dial("unix", p.socket); err != nil {
		return err
	}
	if _, err = p.backend.Write(startup); err != nil {
		return err
	}
	_, err = p.answer(io.MultiWriter(client, (*appended)(&p.greeting)))
	return err
}

type appended []byte

func (a *appended) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}

// answer passes on what the session says until it is ready for a query, and gives its status.
func (p *transactionPool) answer(to io.Writer) (status byte, err error) {
	for {
		message, err := readMessage(p.backend, 1)
		if err != nil {
			return 0, err
		}
		if _, err := to.Write(message); err != nil {
			return 0, err
		}
		if message[0] == 'Z' {
			return message[len(message)-1], nil
		}
	}
}

// readMessage reads a message of the protocol: a type, which the first one of a client lacks, and a length.
func readMessage(from io.Reader, typeBytes int) ([]byte, error) {
	head := make([]byte, typeBytes+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint32(head[typeBytes:]))
	if length < 4 || length > 1<<20 {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	message := append(head, make([]byte, length-4)...)
	_, err := io.ReadFull(from, message[len(head):])
	return message, err
}
