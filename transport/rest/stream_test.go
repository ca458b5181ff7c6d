package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"annals/eventstore"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/transport/rest"
)

const sse = "Accept: text/event-stream"

// sent is a server-sent event.
type sent struct {
	id   string
	data []byte
}

// eventsOf reads server-sent events to the end.
func eventsOf(t testing.TB, r io.Reader) []sent {
	t.Helper()
	var all []sent
	for events := (&eventReader{scan: lineScanner(r)}); ; {
		e, err := events.next()
		if err == io.EOF {
			return all
		}
		check(t, err)
		if e.data != nil {
			all = append(all, e)
		}
	}
}

func lineScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	return s
}

// eventReader reads a stream as its specification says.
type eventReader struct {
	scan     *bufio.Scanner
	comments int
}

// next gives the next event, or a comment as one without data.
func (r *eventReader) next() (e sent, err error) {
	comment := false
	for r.scan.Scan() {
		line := r.scan.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && (comment || e.data != nil):
			return e, nil
		case line == "":
			return e, fmt.Errorf("an event without data")
		case field == "":
			r.comments++
			comment = true
		case field == "id":
			e.id = value
		case field == "data":
			e.data = append(e.data, value...)
		default:
			return e, fmt.Errorf("a line %q", line)
		}
	}
	if err := r.scan.Err(); err != nil {
		return e, err
	}
	if e.data != nil {
		return e, io.ErrUnexpectedEOF
	}
	return e, io.EOF
}

// live is an open stream of server-sent events.
type live struct {
	t      testing.TB
	header http.Header
	eventReader
	close func()
}

// follow opens a stream.
func (b *bench) follow(path string, headers ...string) *live {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	check(b.t, err)
	for _, h := range append(headers, sse) {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	check(b.t, err)
	b.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("%s: %d %v", path, response.StatusCode, response.Header)
	}
	return &live{t: b.t, header: response.Header, eventReader: eventReader{scan: lineScanner(response.Body)}, close: cancel}
}

// want reads events and compares their positions.
func (l *live) want(positions ...int64) {
	l.t.Helper()
	for _, want := range positions {
		e, err := l.next()
		for err == nil && e.data == nil {
			e, err = l.next()
		}
		check(l.t, err)
		var shown struct{ Position int64 }
		check(l.t, json.Unmarshal(e.data, &shown))
		if e.id != strconv.FormatInt(want, 10) || shown.Position != want {
			l.t.Fatalf("event %s: %s, want position %d", e.id, e.data, want)
		}
	}
}

func TestEventsAsTheyCome(t *testing.T) {
	t.Parallel()
	b := newServer(t, unwatched)
	id := b.product("A", 5)
	all, filtered := b.follow("/v1/events"), b.follow("/v1/events?event_type=product.renamed&after=0")
	resumed, late := b.follow("/v1/events?after=0", "Last-Event-ID: 1"), b.follow("/v1/events?after=3", "Last-Event-ID: ")
	stream := b.follow("/v1/streams/product/" + id)
	again := b.follow("/v1/streams/product/"+id, "Last-Event-ID: 1")
	all.want(1)
	stream.want(1)
	b.send("POST", "/v1/carts", `{}`).is(201)                                                         // 2
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: other").is(201)                                 // 3
	b.send("PATCH", "/v1/products/"+id, `{"name":"B","price":"2"}`, "Annals-Actor: jane").is(200)     // 4, 5
	b.send("POST", "/v1/products/"+id+"/stock-receipts", `{"quantity":1,"reason":"a\nb"}`).is(422)    // nothing
	b.send("POST", "/v1/products/"+id+"/stock-receipts", `{"quantity":1,"reason":"ä \\ \""}`).is(200) // 6
	all.want(2, 4, 5, 6)
	filtered.want(4)
	resumed.want(2, 4, 5, 6)
	late.want(4, 5, 6)
	stream.want(4, 5, 6)
	again.want(4, 5, 6)
	b.follow("/v1/events?actor_id=jane").want(4, 5)
	b.follow("/v1/events?aggregate_id="+id+"&from=2026-01-01T00:00:00Z", "Last-Event-ID: 4").want(5, 6)
	b.follow("/v1/events", "Annals-Client: *").want(1, 2, 3, 4, 5, 6)
	// A position of another stream, and one that there isn't yet.
	b.follow("/v1/streams/product/"+id, "Last-Event-ID: 3").want(4, 5, 6)
	ahead := b.follow("/v1/events", "Last-Event-ID: 7")
	b.send("POST", "/v1/carts", `{}`).is(201) // 7
	b.send("POST", "/v1/carts", `{}`).is(201) // 8
	ahead.want(8)
	cursor := b.send("GET", "/v1/streams/product/"+id+"?limit=2", "").text("next_cursor")
	b.follow("/v1/streams/product/"+id+"?cursor="+cursor).want(5, 6)
}

func TestWhatAStreamIsAskedFor(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.product("B", 5)
	b.send("GET", "/v1/events", "", sse, "Last-Event-ID: x").problem(400, "malformed-request")
	b.send("GET", "/v1/events", "", sse, "Last-Event-ID: -1").problem(400, "malformed-request")
	b.send("GET", "/v1/events", "", sse, "Last-Event-ID: 1", "Last-Event-ID: 2").problem(400, "malformed-request")
	b.send("GET", "/v1/events?limit=0", "", sse).problem(400, "malformed-request")
	b.send("GET", "/v1/streams/product/"+exampleID, "", sse).problem(404, "not-found")
	b.send("GET", "/v1/streams/cart/"+id, "", sse, "Last-Event-ID: 1").problem(404, "not-found")
	b.send("GET", "/v1/events", "", "Last-Event-ID: x").is(200) // says nothing of pages
	if head := b.send("HEAD", "/v1/events", "", sse).is(200); len(head.body) != 0 || head.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v", head)
	}
	two := b.send("GET", "/v1/events?limit=2", "", sse).is(200)
	if got := eventsOf(t, bytes.NewReader(two.body)); len(got) != 2 || two.header.Get("Annals-Position") != "2" ||
		two.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", two.header, two.body)
	}
}

// A stream that catches up reads as many pages as it needs, small ones of large events.
func TestStreamCatchesUp(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 0)
	want := []int64{1}
	for i := range 300 {
		b.send("POST", "/v1/products/"+id+"/stock-receipts", `{"quantity":1,"reason":"`+strings.Repeat("ä", 2000)+`"}`).is(200)
		want = append(want, int64(i+2))
	}
	b.follow("/v1/events").want(want...)
	b.follow("/v1/streams/product/" + id).want(want...)
}

// tallied counts the pages that are read.
type tallied struct {
	rest.Events
	pages chan int
}

func (l tallied) Page(ctx context.Context, f eventstore.EventFilter, after int64, limit int) (eventstore.Page, error) {
	page, err := l.Events.Page(ctx, f, after, limit)
	l.pages <- len(page.Events)
	return page, err
}

// pipes is a network without buffers: what isn't read can't be written.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// Who doesn't read is not read for: the server holds a page of it, commands go on, and nothing is lost.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	const total = 5_000
	pages := make(chan int, total)
	b := newServerOf(t, []projections.Projector{auditlog.New()}, unwatched)
	b.fillLog(total, strings.Repeat("x", 1000))
	b.config.Events, b.config.Metrics = tallied{b.config.Events, pages}, prometheus.NewRegistry()
	handler, err := rest.New(context.Background(), b.config)
	check(t, err)
	network := pipes{make(chan net.Conn, 1)}
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(network) }()
	ours, theirs := net.Pipe()
	network.conns <- theirs
	_, err = io.WriteString(ours, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
	check(t, err)
	response, err := http.ReadResponse(bufio.NewReaderSize(ours, 16), nil)
	check(t, err)
	slow := &live{t: t, eventReader: eventReader{scan: lineScanner(response.Body)}}
	slow.want(1)
	for range 50 { // commands while it stands still
		b.send("POST", "/v1/carts", `{}`).is(201)
	}
	if n := len(pages); n > 1 {
		t.Errorf("%d pages were read for who took one event", n)
	}
	for p := int64(2); p <= total+50; p++ {
		slow.want(p)
	}
	check(t, ours.Close())
	close(network.conns)
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.MaxStreams = 4 })
	first := b.follow("/v1/events")
	p := b.send("GET", "/v1/events", "", sse)
	p.problem(429, "too-many-requests")
	if p.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for _, client := range []string{"b", "c", "d"} {
		b.follow("/v1/events", "Annals-Client: "+client)
	}
	b.send("GET", "/v1/events", "", sse, "Annals-Client: e").problem(503, "overloaded")
	b.send("GET", "/v1/events", "", "Annals-Client: e").is(200)
	metrics := string(b.send("GET", "/metrics", "").is(200).body)
	if !strings.Contains(metrics, "\nannals_http_event_streams 4\n") {
		t.Errorf("the metrics don't show 4 streams")
	}
	first.close()
	for b.send("HEAD", "/v1/events", "", sse, "Annals-Client: e").status != 200 { // its place is free once the server has noticed
		check(t, t.Context().Err())
	}
}

// A stream lives on past the bounds on reading a request and writing an answer, says so, and ends cleanly with the server.
func TestStreamLivesUntilTheServerDrains(t *testing.T) {
	t.Parallel()
	b := newServer(t, unwatched)
	b.product("A", 5)
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	b.config.Heartbeat, b.config.Metrics = 20*time.Millisecond, prometheus.NewRegistry()
	handler, err := rest.New(ctx, b.config)
	check(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	served := make(chan error, 1)
	limits := rest.Limits{ReadTimeout: 400 * time.Millisecond, WriteTimeout: 400 * time.Millisecond}
	go func() { served <- rest.Serve(ctx, listener, handler, limits, slog.New(slog.DiscardHandler)) }()
	b.url = "http://" + listener.Addr().String()
	stream := b.follow("/v1/events")
	stream.want(1)
	for stream.comments < 60 {
		_, err := stream.next()
		check(t, err)
	}
	b.send("POST", "/v1/carts", `{}`).is(201)
	stream.want(2)
	drain()
	for err == nil {
		_, err = stream.next()
	}
	if err != io.EOF {
		t.Errorf("the stream ends with %v", err)
	}
	check(t, <-served)
}

// A stream whose log can't be read any more is cut off; one that never could is a problem.
func TestFailedEventStream(t *testing.T) {
	t.Parallel()
	fail := make(chan error, 1)
	b := newServer(t, func(b *bench) { b.config.Events = failingLog{b.config.Events, fail} })
	b.product("A", 5)
	stream := b.follow("/v1/events")
	stream.want(1)
	fail <- fmt.Errorf("read: %w", eventstore.ErrUnavailable)
	b.send("POST", "/v1/carts", `{}`).is(201)
	if _, err := stream.next(); err == nil || err == io.EOF {
		t.Errorf("ends with %v", err)
	}
	fail <- fmt.Errorf("read: %w", eventstore.ErrUnavailable)
	b.send("GET", "/v1/events", "", sse).problem(503, "unavailable")
}

type failingLog struct {
	rest.Events
	fail chan error
}

func (l failingLog) Page(ctx context.Context, f eventstore.EventFilter, after int64, limit int) (eventstore.Page, error) {
	select {
	case err := <-l.fail:
		return eventstore.Page{}, err
	default:
		return l.Events.Page(ctx, f, after, limit)
	}
}

func TestEventsAsCloudEvents(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	id := b.product("A", 5)
	b.send("PATCH", "/v1/products/"+id, `{"name":"B","price":"2"}`, "Annals-Actor: jane").is(200)
	b.send("POST", "/v1/carts", `{}`).is(201)
	const batch = "Accept: application/cloudevents-batch+json"
	for _, start := range []string{"/v1/events?limit=1&aggregate_type=product&to=2126-01-01T00%3A00%3A00Z", "/v1/streams/product/" + id + "?limit=2"} {
		var types []string
		for path := start; path != ""; {
			r := b.send("GET", path, "", batch).is(200)
			var page []map[string]any
			check(t, json.Unmarshal(r.body, &page))
			for _, e := range page {
				types = append(types, e["type"].(string))
				if e["specversion"] != "1.0" || e["source"] != "urn:annals:default" || e["subject"] != "product/"+id ||
					e["datacontenttype"] != "application/json" || e["data"] == nil || e["id"] == "" {
					t.Errorf("%v", e)
				}
			}
			link := r.header.Get("Link")
			path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
			if link != "" && !strings.HasSuffix(link, `>; rel="next"`) {
				t.Errorf("Link: %s", link)
			}
		}
		if diff := cmp.Diff([]string{"product.registered", "product.renamed", "product.price_changed"}, types); diff != "" {
			t.Errorf("%s: %s", start, diff)
		}
	}
	if last := b.send("GET", "/v1/events?after=4", "", batch).is(200); string(last.body) != "[]\n" || last.header.Get("Annals-Next-After") != "4" {
		t.Errorf("%v %s", last.header, last.body)
	}
}
