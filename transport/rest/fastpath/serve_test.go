package fastpath

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server listens on loopback, and is stopped at the test's end.
type server struct {
	t       testing.TB
	address string
	fast    *Listener // nil: net/http alone
	http    *http.Server
}

func start(t testing.TB, fast bool, handler http.Handler, change func(*Config)) *server {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	s := &server{t: t, address: inner.Addr().String(), http: &http.Server{Handler: handler, ErrorLog: quiet}}
	listener := inner
	if fast {
		config := Config{
			Handler: handler, FirstTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute, ErrorLog: quiet,
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return ctx },
		}
		if change != nil {
			change(&config)
		}
		s.fast = Listen(inner, config)
		listener = s.fast
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.drain(ctx)
		s.http.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

func (s *server) drain(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if s.fast != nil {
		err = errors.Join(err, s.fast.Drain(ctx))
	}
	return err
}

// wire is a caller's end of a connection.
type wire struct {
	t testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func (s *server) dial(t testing.TB) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &wire{t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

func (w *wire) say(text string) {
	w.t.Helper()
	if _, err := w.Write([]byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads one.
func (w *wire) answer() string {
	w.t.Helper()
	r, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return strconv.Itoa(r.StatusCode) + " " + string(body)
}

func (w *wire) ends() {
	w.t.Helper()
	if rest, err := io.ReadAll(w.in); err != nil || len(rest) > 0 {
		w.t.Fatalf("%q, %v", rest, err)
	}
}

const get = " HTTP/1.1\r\nHost: h\r\n\r\n"

func isFast(r *http.Request) bool { return r.Context().Value(http.ServerContextKey) == nil }

// answers is a handler with an answer of each kind.
func answers(w http.ResponseWriter, r *http.Request) {
	h, control := w.Header(), http.NewResponseController(w)
	long := bytes.Repeat([]byte("0123456789"), 10_000)
	switch r.URL.Path {
	case "/nothing":
	case "/204":
		w.WriteHeader(http.StatusNoContent)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	case "/304":
		h.Set("ETag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	case "/304/described":
		h.Set("ETag", `"1"`)
		h.Set("Content-Length", "100")
		h.Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotModified)
	case "/204/described":
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusNoContent)
	case "/204/flushed":
		w.WriteHeader(http.StatusNoContent)
		_ = control.Flush()
	case "/declared":
		h.Set("Content-Length", "3")
		_, _ = w.Write([]byte("abc"))
		if _, err := w.Write([]byte("d")); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	case "/declared/badly":
		h.Set("Content-Length", "x")
		_, _ = w.Write([]byte("abc"))
	case "/declared/too-much":
		h.Set("Content-Length", "3")
		_, _ = w.Write([]byte("abcd"))
		_, _ = w.Write([]byte("efg"))
	case "/untyped":
		h["Content-Type"] = nil
		h["Date"] = nil
		_, _ = w.Write([]byte("abc"))
	case "/encoded":
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("\x1f\x8b\x08"))
	case "/in-parts":
		_, _ = w.Write([]byte("<"))
		_, _ = w.Write([]byte("html>"))
	case "/own-encoding":
		h.Set("Transfer-Encoding", "identity")
		h.Set("Trailer", "Later")
		_, _ = w.Write([]byte("abc"))
	case "/status/599":
		w.WriteHeader(599)
	case "/status/0":
		w.WriteHeader(0)
	case "/status/early":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	case "/goexit":
		runtime.Goexit()
	case "/long/chunk":
		_, _ = w.Write(long)
		_, _ = w.Write(long)
	case "/long":
		for part := range slices.Chunk(long, 7001) {
			_, _ = w.Write(part)
		}
	case "/long/whole":
		for part := range slices.Chunk(long[:wholeAnswer], 1<<10) {
			_, _ = w.Write(part)
		}
	case "/long/declared":
		h.Set("Content-Length", strconv.Itoa(len(long)))
		_, _ = w.Write(long[:10])
		_, _ = w.Write(long[10:])
	case "/flushed":
		_, _ = io.WriteString(w, "one")
		_ = control.Flush()
		_ = control.SetWriteDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(w, "")
		_, _ = io.WriteString(w, "two")
	case "/flushed/empty":
		_ = control.Flush()
	case "/short":
		h.Set("Content-Length", "5")
		_, _ = io.WriteString(w, "abc")
	case "/twice":
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "<html>")
	case "/late":
		w.WriteHeader(http.StatusOK)
		h.Set("Too", "late")
		_, _ = io.WriteString(w, "x")
	case "/fields":
		h["Many"] = []string{"a", " b ", "c\r\nd"}
		h["not a name"] = []string{"e"}
		h["Date"] = []string{"then"}
		h.Set("Content-Type", "text/x")
		_, _ = io.WriteString(w, "x")
	case "/close":
		h.Set("Connection", "close")
		_, _ = io.WriteString(w, "x")
	case "/panic":
		_, _ = io.WriteString(w, "x")
		panic("on purpose")
	case "/abort":
		_, _ = io.WriteString(w, "x")
		_ = control.Flush()
		panic(http.ErrAbortHandler)
	default:
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %s %v %d %q %v", r.Method, r.URL, r.Host, r.Header, r.ContentLength, body, err)
	}
}

// What comes over the connection is the same as from net/http's server alone, but for the order of a header's fields.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	t.Parallel()
	fast, plain := start(t, true, http.HandlerFunc(answers), nil), start(t, false, http.HandlerFunc(answers), nil)
	for _, path := range []string{"/", "/nothing", "/204", "/304", "/204/flushed", "/declared", "/long", "/long/declared",
		"/304/described", "/204/described", "/declared/too-much", "/untyped", "/encoded", "/in-parts", "/status/599", "/status/0",
		"/goexit", "/long/chunk", "/flushed", "/flushed/empty", "/short", "/twice", "/late", "/fields", "/close", "/panic", "/abort"} {
		t.Run(path, func(t *testing.T) {
			text := "GET " + path + get + "POST /after HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
			want, got := plain.talk(t, text), fast.talk(t, text)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Where the framing is for the server to choose, or a handler says what it can't know, the answer has a length.
func TestAnswersOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := start(t, true, http.HandlerFunc(answers), nil)
	for path, want := range map[string]exchanged{
		"/declared/badly": {Status: 200, Body: "abc"}, // net/http: chunks
		"/own-encoding":   {Status: 200, Body: "abc"}, // net/http: until the connection ends
		"/status/early":   {Status: 202},              // net/http: 103 before
		"/long/whole":     {Status: 200, Body: strings.Repeat("0123456789", 4000)[:wholeAnswer]},
	} {
		want.Header = http.Header{"Content-Length": {strconv.Itoa(len(want.Body))}, "Date": {"a time"}}
		if want.Body != "" {
			want.Header.Set("Content-Type", "text/plain; charset=utf-8")
		}
		if diff := cmp.Diff([]exchanged{want}, s.talk(t, "GET "+path+get)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func TestOtherRequestsAreNetHTTPs(t *testing.T) {
	t.Parallel()
	fast, plain := start(t, true, http.HandlerFunc(answers), nil), start(t, false, http.HandlerFunc(answers), nil)
	for name, text := range otherRequests {
		t.Run(name, func(t *testing.T) {
			for _, before := range []string{"", "GET /" + get} {
				if diff := cmp.Diff(plain.talk(t, before+text), fast.talk(t, before+text)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// exchanged is what came back of an answer.
type exchanged struct {
	Status int
	Header http.Header
	Body   string
	Cut    bool
}

// talk sends requests and reads answers until the connection ends.
func (s *server) talk(t *testing.T, text string) (all []exchanged) {
	t.Helper()
	w := s.dial(t)
	w.say(text)
	_ = w.CloseWrite()
	for {
		r, err := http.ReadResponse(w.in, nil)
		if err != nil {
			return all
		}
		body, err := io.ReadAll(r.Body)
		if _, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			r.Header.Set("Date", "a time")
		}
		all = append(all, exchanged{r.StatusCode, r.Header, string(body), err != nil})
	}
}

// Whatever is sent, the answers are those of net/http's server alone.
func FuzzServe(f *testing.F) {
	for _, text := range ordinaryRequests {
		f.Add([]byte(text), uint16(0))
		f.Add([]byte(text+text), uint16(len(text)+9))
	}
	for _, text := range otherRequests {
		f.Add([]byte("GET /"+get+text), uint16(20))
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/flushed" && r.URL.Path != "/long" && r.URL.Path != "/panic" { // compared elsewhere
			answers(w, r)
		}
	})
	fast, plain := start(f, true, handler, nil), start(f, false, handler, nil)
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		if want, got := plain.raw(t, text, 0), fast.raw(t, text, int(cut)); want != got {
			t.Errorf("%q\nnet/http answers\n%s\nnot\n%s", text, want, got)
		}
	})
}

// raw sends what may be requests, in two pieces, and gives the lines that come back, sorted, without dates. A last refusal is
// left out: one or two bytes that follow an answer get it from net/http only on a new connection, such as it is handed.
func (s *server) raw(t *testing.T, text []byte, cut int) string {
	w := s.dial(t)
	defer w.Close()
	cut = min(cut, len(text))
	_, _ = w.Write(text[:cut])
	_, _ = w.Write(text[cut:])
	_ = w.CloseWrite()
	back, _ := io.ReadAll(w.in)
	answered, _, _ := strings.Cut(string(back), "HTTP/1.1 400 Bad Request")
	lines := strings.Split(answered, "\r\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Date: ") })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
