package fastpath

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// says tells who answers what. "/slow" is answered after the caller has been watched for a while.
func says(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	who := "net/http"
	if isFast(r) {
		who = "fast"
	}
	if r.URL.Path == "/slow" {
		time.Sleep(4 * resolution)
	}
	if r.Context().Err() != nil {
		who = "canceled"
	}
	_, _ = io.WriteString(w, who+" "+r.URL.Path+" "+string(body))
}

func TestConnectionChangesHands(t *testing.T) {
	t.Parallel()
	w := start(t, true, http.HandlerFunc(says), nil).dial(t)
	for _, step := range []struct{ say, want string }{
		{"GET /a" + get, "200 fast /a "},
		{"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", "200 fast /b {}"},
		{"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 net/http /c abc"},
		{"GET /d" + get, "200 net/http /d "},
	} {
		w.say(step.say)
		if got := w.answer(); got != step.want {
			t.Errorf("%q: %s", step.say, got)
		}
	}
}

func TestRequestsMayFollowWithoutWaiting(t *testing.T) {
	t.Parallel()
	sent := make(chan struct{})
	w := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-sent
		says(w, r)
	}), nil).dial(t)
	const each = 400 // more than are read at a time
	w.say(strings.Repeat("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", each))
	close(sent)
	for range each {
		if got := w.answer(); got != "200 fast /a {}" {
			t.Fatal(got)
		}
	}
}

// A request in pieces that come quickly is ordinary; where they come slowly, or are large, net/http takes them.
func TestRequestInPieces(t *testing.T) {
	t.Parallel()
	s := start(t, true, http.HandlerFunc(says), nil)
	taken := make(chan struct{}, 2)
	s.http.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			taken <- struct{}{}
		}
	}
	const head = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
	w := s.dial(t)
	w.say(head + "{}" + head[:20])
	w.answer()
	<-taken
	w.say(head[20:] + "{")
	w.say("}")
	if got := w.answer(); got != "200 net/http /a {}" {
		t.Error(got)
	}
	w = s.dial(t)
	w.say("GET /" + strings.Repeat("b", requestSize) + get)
	if got := w.answer(); !strings.HasPrefix(got, "200 net/http /b") {
		t.Error(got)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	const short = 4 * resolution
	for name, c := range map[string]struct {
		change func(*Config)
		say    string
	}{
		"first": {func(c *Config) { c.FirstTimeout = short }, ""},
		"idle":  {func(c *Config) { c.IdleTimeout = short }, "GET /" + get},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, true, http.HandlerFunc(says), c.change).dial(t)
			if c.say != "" {
				w.say(c.say)
				w.answer()
			}
			w.ends()
		})
	}
	// Each of these lasts longer than a timeout that has no say in it any more.
	t.Run("first, in use", func(t *testing.T) {
		t.Parallel()
		w := start(t, true, http.HandlerFunc(says), func(c *Config) { c.FirstTimeout = short }).dial(t)
		for range 6 {
			w.say("GET /" + get)
			w.answer()
			time.Sleep(short / 4)
		}
	})
	t.Run("idle and write, in use", func(t *testing.T) {
		t.Parallel()
		w := start(t, true, http.HandlerFunc(says), func(c *Config) { c.IdleTimeout, c.WriteTimeout = 5*short, 5*short }).dial(t)
		for range 13 {
			w.say("GET /" + get)
			w.answer()
			time.Sleep(short / 2)
		}
	})
	t.Run("idle, at work", func(t *testing.T) {
		t.Parallel()
		w := start(t, true, http.HandlerFunc(says), func(c *Config) { c.IdleTimeout = short / 2 }).dial(t)
		for _, path := range []string{"/", "/slow"} {
			w.say("GET " + path + get)
			if got := w.answer(); got != "200 fast "+path+" " {
				t.Error(got)
			}
		}
	})
	t.Run("a handler's own", func(t *testing.T) {
		t.Parallel()
		w := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/own" {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(short))
			}
			says(w, r)
		}), nil).dial(t)
		w.say("GET /own" + get)
		w.answer()
		time.Sleep(2 * short)
		w.say("GET /" + get)
		w.answer()
	})
	t.Run("write", func(t *testing.T) {
		t.Parallel()
		failed := make(chan error, 1)
		w := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for { // more than the connection has room for
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					failed <- err
					return
				}
			}
		}), func(c *Config) { c.WriteTimeout = short }).dial(t)
		w.say("GET /" + get)
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A request's context ends when its caller goes: soon where the handler waits, at once where the answer has begun. It ends
// with the handler, too.
func TestCallerGoes(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	contexts := make(chan context.Context, 1)
	s := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/quick":
			contexts <- r.Context()
		case "/slow":
			says(w, r)
		case "/stream":
			_ = http.NewResponseController(w).Flush()
			fallthrough
		default:
			<-r.Context().Done()
			ended <- struct{}{}
		}
	}), nil)
	for _, path := range []string{"/wait", "/stream"} {
		w := s.dial(t)
		w.say("GET /slow" + get)
		w.answer()
		w.say("GET " + path + get)
		if path == "/stream" {
			_, _ = w.in.Peek(1)
		}
		w.Close()
		<-ended
	}
	w := s.dial(t)
	w.say("GET /quick" + get)
	w.answer()
	<-(<-contexts).Done()
}

// A write that fails, here because nobody reads, ends the context, too.
func TestFailedWriteEndsTheContext(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	w := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(resolution))
		var err error
		for err == nil { // more than the connection has room for
			_, err = w.Write(make([]byte, 1<<20))
		}
		<-r.Context().Done()
		ended <- err
	}), nil).dial(t)
	w.say("GET /" + get)
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// The context ends with the handler, and the body can't be mistaken for the next request's.
func TestNothingOutlivesTheHandler(t *testing.T) {
	t.Parallel()
	var first *http.Request
	w := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/first":
			first = r
		case "/second":
			body, err := io.ReadAll(first.Body)
			if string(body) != "FIRST" || err != nil || first.Context().Err() == nil {
				t.Errorf("%q, %v, %v", body, err, first.Context().Err())
			}
		}
	}), nil).dial(t)
	for _, request := range []string{"first HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nFIRST",
		"second HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nSECOND"} {
		w.say("POST /" + request)
		w.answer()
	}
}

// A request may take all the room there is for it, and its caller is watched all the same.
func TestLargestOrdinaryRequest(t *testing.T) {
	t.Parallel()
	ended := make(chan bool)
	w := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- isFast(r)
	}), nil).dial(t)
	const head = "GET / HTTP/1.1\r\nHost: h\r\nLong: \r\n\r\n"
	w.say(strings.Replace(head, "Long: ", "Long: "+strings.Repeat("x", requestSize-len(head)), 1))
	w.CloseWrite()
	if !<-ended {
		t.Error("net/http had it")
	}
}

// Between requests a connection keeps what it needs to read one.
func TestIdleConnectionsAreSmall(t *testing.T) {
	s := start(t, true, http.HandlerFunc(answers), nil)
	const count = 100
	measure := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools let go of what wasn't used since the last
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var all [count]*wire
	before := measure()
	for i := range all {
		all[i] = s.dial(t)
		all[i].say("GET /long/declared" + get + "GET /long/whole" + get)
		all[i].answer()
		all[i].answer()
	}
	// Each has 8 KiB here, and 4 KiB in the test itself.
	if each := (measure() - before) / count; each > 24<<10 {
		t.Errorf("%d bytes for each", each)
	}
	runtime.KeepAlive(all)
}

// Whether the caller is still there is looked at without taking from what it sends next, and without an end to later
// requests.
func TestWatchedCallerSendsMore(t *testing.T) {
	t.Parallel()
	w := start(t, true, http.HandlerFunc(says), nil).dial(t)
	for _, early := range []bool{true, false, true, false} {
		w.say("GET /slow" + get)
		if early {
			time.Sleep(3 * resolution)
			w.say("GET /next" + get)
		}
		if got := w.answer(); got != "200 fast /slow " {
			t.Error(got)
		}
		if !early {
			time.Sleep(3 * resolution)
			w.say("GET /next" + get)
		}
		if got := w.answer(); got != "200 fast /next " {
			t.Error(got)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Path != "/" {
			begun <- struct{}{}
			<-release
		}
		says(w, r)
	}), nil)
	idle, fresh, busy, streaming := s.dial(t), s.dial(t), s.dial(t), s.dial(t)
	idle.say("GET /" + get)
	idle.answer()
	busy.say("GET /busy" + get)
	streaming.say("GET /begun" + get)
	<-begun
	<-begun
	drained := make(chan error, 1)
	go func() { drained <- s.drain(t.Context()) }()
	idle.ends()
	fresh.ends()
	select {
	case err := <-drained:
		t.Fatalf("it doesn't wait for the requests under way: %v", err)
	default:
	}
	close(release)
	for w, closes := range map[*wire]bool{busy: true, streaming: false} {
		r, err := http.ReadResponse(w.in, nil)
		if err != nil || r.Close != closes {
			t.Fatal(r, err)
		}
		if body, err := io.ReadAll(r.Body); !strings.HasPrefix(string(body), "fast /b") {
			t.Errorf("%q, %v", body, err)
		}
		w.ends()
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsOff(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := start(t, true, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-release
	}), nil)
	w := s.dial(t)
	w.say("GET /" + get)
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.ends()
}

// What a handler writes after it has returned reaches nobody.
func TestWriteAfterTheEnd(t *testing.T) {
	t.Parallel()
	kept := make(chan http.ResponseWriter, 1)
	s := start(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case kept <- w:
		default:
		}
		says(w, r)
	}), nil)
	w := s.dial(t)
	for range 2 { // the second is answered after the end of the first
		w.say("GET /a" + get)
		w.answer()
	}
	late := <-kept
	if _, err := late.Write([]byte("late")); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	if err := http.NewResponseController(late).Flush(); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	w.say("GET /b" + get)
	if got := w.answer(); got != "200 fast /b " {
		t.Error(got)
	}
}
