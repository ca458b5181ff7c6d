package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/transport/rest"
)

// heldRunner keeps commands of one actor until they are let go.
type heldRunner struct {
	eventstore.Runner
	entered chan struct{}
	release chan struct{}
}

const heldActor = "Annals-Actor: held"

func (r heldRunner) Run(
	ctx context.Context, cmd eventstore.Command, useCase func(context.Context, *domain.UnitOfWork) error,
) (eventstore.CommandResult, error) {
	if cmd.Actor == "held" {
		r.entered <- struct{}{}
		<-r.release
	}
	return r.Runner.Run(ctx, cmd, useCase)
}

// withHeld has a server hold commands, of which it takes a number at a time.
func withHeld(commands int) (heldRunner, func(*bench)) {
	held := heldRunner{entered: make(chan struct{}), release: make(chan struct{})}
	return held, func(b *bench) {
		held.Runner = b.config.Commands
		b.config.Commands, b.config.MaxCommands = held, commands
	}
}

func TestCommandsBeyondTheBoundAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	held, change := withHeld(2)
	b := newServer(t, change)
	answers := make(chan *reply, 2)
	for _, client := range []string{"Annals-Client: a", "Annals-Client: b"} {
		go func() { answers <- b.send("POST", "/v1/carts", `{}`, heldActor, client) }()
		<-held.entered
	}
	refused := b.send("POST", "/v1/carts", `{}`)
	refused.problem(503, "overloaded")
	if refused.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", refused.header.Get("Retry-After"))
	}
	b.send("POST", "/v1/carts", `not even JSON`).problem(503, "overloaded") // it isn't looked at
	for _, path := range []string{"/v1/carts/" + refusedID, "/v1/orders", "/healthz", "/metrics"} {
		if r := b.send("GET", path, ""); r.status >= 500 {
			t.Errorf("GET %s beside the commands: %d", path, r.status)
		}
	}
	close(held.release)
	for range 2 {
		(<-answers).is(201)
	}
	b.send("POST", "/v1/carts", `{}`).is(201)
	if strings.Contains(b.log.String(), "status=503") {
		t.Errorf("refusals fill the log: %s", b.log)
	}
	if head := b.head(); head != 3 {
		t.Errorf("the log ends at %d, want 3", head)
	}
}

const refusedID = "01a1ffa4-729e-780a-a0ce-4a335fb2957a"

// A client that has its share is refused before its body is read when only the others' places are left. That, and a refusal
// once the body has been read, are the same answer.
func TestRefusalIsTheSameBeforeAndAfterTheBody(t *testing.T) {
	t.Parallel()
	held, change := withHeld(4)
	b := newServer(t, change)
	slow := b.dial()
	slow.say("POST /v1/carts HTTP/1.1\r\nHost: localhost\r\nAnnals-Client: a\r\nContent-Type: application/json\r\n" +
		"X-Request-Id: one\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	slow.answers(http.StatusContinue) // it wants the body, so it found room
	answers := make(chan *reply, 3)
	for i := range 3 {
		go func() { answers <- b.send("POST", "/v1/carts", `{}`, heldActor, "Annals-Client: a") }()
		<-held.entered
		if i == 0 { // before places are scarce the body is looked at
			b.send("POST", "/v1/carts", `not even JSON`, "Annals-Client: a").problem(400, "malformed-request")
		}
	}
	slow.say("{}")
	late := slow.answers(503)
	body, err := io.ReadAll(late.Body)
	check(t, err)
	early := b.send("POST", "/v1/carts", `not even JSON`, "Annals-Client: a", "X-Request-Id: one")
	early.problem(503, "overloaded")
	if string(early.body) != string(body) {
		t.Errorf("early: %s\nlate: %s", early.body, body)
	}
	late.Header.Del("Date")
	early.header.Del("Date")
	if !reflect.DeepEqual(late.Header, early.header) || late.Header.Get("Retry-After") != "1" {
		t.Errorf("early: %v\nlate: %v", early.header, late.Header)
	}
	b.send("POST", "/v1/carts", `not even JSON`, "Annals-Client: b").problem(400, "malformed-request")
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: no such").problem(400, "malformed-request")
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: *").problem(403, "forbidden")
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: b").is(201)
	close(held.release)
	for range 3 {
		(<-answers).is(201)
	}
}

// The connection of a refused request isn't read for a while; the refusal itself and other connections don't wait for that.
func TestRefusedCallersAreHeldBack(t *testing.T) {
	t.Parallel()
	held, change := withHeld(1)
	b := newServer(t, change)
	kept := make(chan *reply, 1)
	go func() { kept <- b.send("POST", "/v1/carts", `{}`, heldActor) }()
	<-held.entered
	const command = "POST /v1/carts HTTP/1.1\r\nHost: localhost\r\nAnnals-Client: a\r\nContent-Type: application/json\r\n" +
		"Content-Length: 2\r\n\r\n{}"
	refused := b.dial()
	refused.say(command)
	drained := refused.answers(503)
	_, err := io.Copy(io.Discard, drained.Body)
	check(t, err)
	begun := time.Now()
	refused.say(command)
	other := b.dial()
	other.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	other.answers(200)
	refused.answers(503)
	if took := time.Since(begun); took < 50*time.Millisecond {
		t.Errorf("the next refusal came %v after the first", took)
	}
	close(held.release)
	(<-kept).is(201)
}

func TestQueriesBeyondTheBoundAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.MaxQueries = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { // waits for a position that doesn't come
		r, err := http.NewRequestWithContext(ctx, "GET", b.url+"/v1/orders", nil)
		check(t, err)
		r.Header.Set("Annals-Min-Position", "1000000")
		r.Header.Set("Prefer", "wait=30")
		_, err = http.DefaultTransport.RoundTrip(r)
		waiting <- err
	}()
	until(t, func() bool {
		return strings.Contains(string(b.send("GET", "/metrics", "").body), `annals_http_requests_in_flight{kind="queries"} 1`)
	})
	b.send("GET", "/v1/products", "").problem(503, "overloaded")
	b.send("POST", "/v1/carts", `{}`).is(201)
	b.send("GET", "/v1/projections", "").is(200)
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(t, func() bool { return b.send("GET", "/v1/products", "").status == 200 })
}

// until asks again until something is so. The test's own deadline ends what never comes.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came to be")
		}
	}
}

func TestBodyThatTricklesHoldsNoPlace(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.MaxCommands = 1 })
	slow := b.dial()
	slow.say("POST /v1/carts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" +
		"Expect: 100-continue\r\n\r\n")
	slow.answers(http.StatusContinue) // its body is being read: it would be refused while another command has the place
	slow.say("{")
	for range 5 {
		b.send("POST", "/v1/carts", `{}`).is(201)
	}
	slow.say("}")
	slow.answers(201)
}

// What a body says of its length takes no room from others, only what has come of it does.
func TestLargeBodiesThatTrickleHoldNoRoom(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]string{"unknown length": "Transfer-Encoding: chunked", "known length": "Content-Length: 1048576"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newServer(t)
			for range 128 {
				slow := b.dial()
				slow.say("POST /v1/carts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + length +
					"\r\nExpect: 100-continue\r\n\r\n")
				slow.answers(http.StatusContinue) // its body is being read
				slow.say("1\r\n{\r\n")
			}
			b.send("POST", "/v1/carts", "{}"+strings.Repeat(" ", 100<<10)).is(201)
			chunked := b.dial()
			chunked.say("POST /v1/carts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
				"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
			chunked.answers(201)
		})
	}
}

func TestClientRate(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.ClientRate, b.config.ClientBurst = 0.001, 2 })
	b.send("POST", "/v1/carts", `{}`).is(201)
	b.send("GET", "/v1/orders", "").is(200)
	refused := b.send("POST", "/v1/carts", `{}`)
	refused.problem(429, "too-many-requests")
	if after := refused.header.Get("Retry-After"); len(after) != 3 && after != "1000" { // 1,000 s less what has passed
		t.Errorf("Retry-After: %q", after)
	}
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: another").is(201)
	b.send("GET", "/healthz", "").is(200)
	if head := b.head(); head != 2 {
		t.Errorf("the log ends at %d, want 2", head)
	}
}

// wire is a connection that is spoken to by hand.
type wire struct {
	t    testing.TB
	conn net.Conn
	read *bufio.Reader
}

func dialTo(t testing.TB, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	return &wire{t, conn, bufio.NewReader(conn)}
}

func (b *bench) dial() *wire {
	b.t.Helper()
	return dialTo(b.t, strings.TrimPrefix(b.url, "http://"))
}

func (w *wire) say(text string) {
	w.t.Helper()
	_, err := io.WriteString(w.conn, text)
	check(w.t, err)
}

func (w *wire) answers(status int) *http.Response {
	w.t.Helper()
	r, err := http.ReadResponse(w.read, nil)
	check(w.t, err)
	if r.StatusCode != status {
		w.t.Fatalf("status %d, want %d", r.StatusCode, status)
	}
	return r
}

// ends requires that the server closes the connection.
func (w *wire) ends() {
	w.t.Helper()
	_, err := io.Copy(io.Discard, w.read)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		w.t.Error("the connection stays open")
	}
}

// listen runs rest.Serve with a handler that reads the body to its end.
func listen(t *testing.T, limits rest.Limits) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	go func() { served <- rest.Serve(ctx, listener, handler, limits, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); check(t, <-served) })
	return listener.Addr().String()
}

func TestSlowCallersAreCutOff(t *testing.T) {
	t.Parallel()
	const short = 20 * time.Millisecond
	for name, c := range map[string]struct {
		limits rest.Limits
		say    string
		status int // 0: none
	}{
		"header":  {rest.Limits{HeaderTimeout: short}, "GET / HTTP/1.1\r\nHost:", 0},
		"body":    {rest.Limits{ReadTimeout: short}, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n1", 400},
		"idle":    {rest.Limits{IdleTimeout: short}, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
		"nothing": {rest.Limits{HeaderTimeout: short}, "", 0},
		"large header": {
			rest.Limits{MaxHeaderBytes: 1 << 10}, "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 8<<10) + "\r\n\r\n", 431,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := dialTo(t, listen(t, c.limits))
			w.say(c.say)
			if c.status != 0 {
				w.answers(c.status)
			}
			w.ends()
		})
	}
}

func TestConnectionsBeyondTheBoundAreTurnedAway(t *testing.T) {
	t.Parallel()
	address := listen(t, rest.Limits{MaxConnections: 2})
	const request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	kept := []*wire{dialTo(t, address), dialTo(t, address)}
	for _, w := range kept {
		w.say(request)
		w.answers(200)
	}
	for range 200 { // more than are answered at a time
		w := dialTo(t, address)
		w.conn.(*net.TCPConn).SetLinger(0)
		w.conn.Close()
	}
	var p struct {
		Type   string
		Status int
	}
	until(t, func() bool { // those from before may still be on their way out
		w := dialTo(t, address)
		_, _ = io.WriteString(w.conn, request)
		r, err := http.ReadResponse(w.read, nil)
		if err != nil {
			return false
		}
		check(t, json.NewDecoder(r.Body).Decode(&p))
		w.ends()
		return r.StatusCode == 503 && r.Header.Get("Retry-After") == "1" && r.Header.Get("Content-Type") == "application/problem+json"
	})
	if p.Type != "/problems/overloaded" || p.Status != 503 {
		t.Errorf("%+v", p)
	}
	for _, w := range kept {
		w.say(request)
		w.answers(200)
	}
	kept[0].conn.Close()
	until(t, func() bool {
		w := dialTo(t, address)
		_, _ = io.WriteString(w.conn, request)
		r, err := http.ReadResponse(w.read, nil)
		w.conn.Close()
		return err == nil && r.StatusCode == 200
	})
}
