package rest

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"annals/domain"
	"annals/eventstore"
)

// What the streams of server-sent events may cost all together. Each holds one page in memory and no transaction; what
// its caller doesn't take yet stays in the log.
const (
	defaultStreams = 256 // open at a time; a client has at most a quarter
	streamReads    = 2   // reads of the log at a time
	// A stream that has caught up rests after a read: the more there are, the longer, so that appends keep the database.
	streamRest     = 20 * time.Millisecond
	streamRestEach = 2 * time.Millisecond

	defaultHeartbeat = 15 * time.Second

	streamPage      = 50        // events of a stream's first page
	streamPageBytes = 256 << 10 // about what later ones hold
	eventBytes      = 512       // of an event without its data, about
)

// streams bounds what is open.
type streams struct {
	limit   int
	reading chan struct{}
	gauge   prometheus.Gauge

	mu       sync.Mutex
	open     int
	byClient map[string]int
}

func newStreams(limit int) *streams {
	return &streams{
		limit: or(limit, defaultStreams), reading: make(chan struct{}, streamReads), byClient: make(map[string]int),
		gauge: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "annals_http_event_streams", Help: "Streams of server-sent events that are open.",
		}),
	}
}

// enter takes a place for a client's stream.
func (s *streams) enter(client string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p *Problem
	switch {
	case s.open >= s.limit:
		p = newProblem("overloaded", "too many event streams are open")
	case s.byClient[client] >= max(s.limit/4, 1):
		p = newProblem("too-many-requests", "the client has too many event streams open")
	default:
		s.open++
		s.byClient[client]++
		s.gauge.Inc()
		return func() { s.leave(client) }, nil
	}
	p.retryAfter = retryLater
	return nil, p
}

func (s *streams) leave(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.gauge.Dec()
	if s.byClient[client]--; s.byClient[client] == 0 {
		delete(s.byClient, client)
	}
}

// rest is how long a stream that has caught up leaves the log alone after a read.
func (s *streams) rest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return streamRest + time.Duration(s.open)*streamRestEach
}

// tailPage is what a tail read.
type tailPage struct {
	events []eventstore.Envelope
	head   int64 // of the log, where the answer shows it; else -1
	more   bool  // there may be more already
	until  int64 // when there isn't: what the log must grow beyond
}

// nextPage gives the next events, at most limit, of what a stream follows.
type nextPage func(ctx context.Context, limit int) (tailPage, error)

// logTail follows what a filter selects, after a position.
func (s *server) logTail(f eventstore.EventFilter, after int64) nextPage {
	return func(ctx context.Context, limit int) (tailPage, error) {
		page, err := s.config.Events.Page(ctx, f, after, limit)
		if err != nil {
			return tailPage{}, err
		}
		after = max(after, page.NextAfter)
		return tailPage{events: page.Events, head: page.Head, more: after < page.Head, until: max(after, page.Head)}, nil
	}
}

// streamTail follows one stream after a version, and leaves out what stands at or before a position.
func (s *server) streamTail(of streamOf, after, seen int64) nextPage {
	return func(ctx context.Context, limit int) (tailPage, error) {
		head, err := s.config.Events.Head(ctx)
		if err != nil {
			return tailPage{}, err
		}
		page, err := s.config.Events.Stream(ctx, of.client, of.aggregateType, of.id, after, limit)
		if err != nil {
			return tailPage{}, err
		}
		read := tailPage{head: -1, more: page.More, until: head}
		for _, e := range page.Events {
			if after = e.AggregateVersion; e.Position > seen {
				read.events = append(read.events, e)
			}
		}
		return read, nil
	}
}

// resumedTail follows one stream after a position, which is mostly that of one of its events.
func (s *server) resumedTail(of streamOf, seen int64) nextPage {
	var follow nextPage
	return func(ctx context.Context, limit int) (tailPage, error) {
		if follow == nil {
			var version int64
			e, err := s.config.Events.Event(ctx, of.client, seen)
			switch {
			case err == nil && e.AggregateType == of.aggregateType && e.AggregateID == of.id:
				version = e.AggregateVersion
			case err != nil && domain.CodeOf(err) != domain.CodeNotFound:
				return tailPage{}, err
			}
			follow = s.streamTail(of, version, seen)
		}
		return follow(ctx, limit)
	}
}

// tail answers with server-sent events: what is there, then what comes, until the caller goes away, the server drains, or
// limit events were sent. It reads the next page only when the caller has taken the last one.
func (s *server) tail(w http.ResponseWriter, r *request, after int64, next nextPage, limit int) error {
	leave, err := s.streams.enter(r.who.Client)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	out := &eventStream{every: or(s.config.Heartbeat, defaultHeartbeat)}
	defer func() {
		if out.lines != nil {
			out.lines.export.done()
		}
	}()
	err = s.follow(ctx, w, r, after, next, limit, out)
	switch {
	case err == nil || s.stop.Err() == nil:
		return err
	case w.(*response).status == 0:
		return eventstore.ErrClosed
	default:
		return nil // the server ends it, between two events
	}
}

func (s *server) follow(
	ctx context.Context, w http.ResponseWriter, r *request, after int64, next nextPage, limit int, out *eventStream,
) error {
	size := streamPage
	for limit > 0 {
		page, err := s.streams.read(ctx, next, min(size, limit))
		if err != nil {
			return err
		}
		if out.lines == nil {
			if page.head >= 0 {
				w.Header().Set(headerPosition, strconv.FormatInt(page.head, 10))
			}
			w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold events back
			exported, err := s.startExport(r, after, nil)
			if err != nil {
				return err
			}
			out.lines = s.startLines(w, r, mediaSSE, exported)
			if r.Method == http.MethodHead {
				return out.lines.finish()
			}
			out.beat = time.Now().Add(out.every)
		}
		for _, e := range page.events {
			out.lines.export.row(e.Position)
			if err := out.event(e); err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
		size, limit = pageAfter(page.events, size), limit-len(page.events)
		if page.more || limit == 0 {
			continue
		}
		if err := s.growth(ctx, page.until, out); err != nil {
			return err
		}
	}
	out.lines.export.complete = true
	return nil
}

// read reads a page when it is this stream's turn.
func (s *streams) read(ctx context.Context, next nextPage, limit int) (tailPage, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
		return next(ctx, limit)
	case <-ctx.Done():
		return tailPage{}, ctx.Err()
	}
}

// pageAfter is how many events the next page should have, going by the size of these.
func pageAfter(events []eventstore.Envelope, size int) int {
	total := 0
	for _, e := range events {
		total += eventBytes + len(e.Data) + len(e.Metadata)
	}
	if total == 0 {
		return size
	}
	return min(max(len(events)*streamPageBytes/total, 1), maxLimit)
}

// growth rests and then waits until the log reaches beyond a position, or it is time for a comment: then the log is
// looked at all the same.
func (s *server) growth(ctx context.Context, after int64, out *eventStream) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.streams.rest()):
	}
	wait, cancel := context.WithDeadline(ctx, out.beat)
	defer cancel()
	_, _ = s.config.Growth.Wait(wait, after) // its only error is that the time is over
	return ctx.Err()
}

// eventStream writes server-sent events.
type eventStream struct {
	lines *lines
	every time.Duration // between comments
	beat  time.Time     // of the next one
}

// event adds an event. Its id is the position, with which the caller resumes.
func (o *eventStream) event(e eventstore.Envelope) error {
	b := &o.lines.buffer
	b.WriteString("id: ")
	b.Write(strconv.AppendInt(b.AvailableBuffer(), e.Position, 10))
	b.WriteString("\ndata: ")
	if err := encode(b, eventViewOf(e)); err != nil {
		return err
	}
	b.WriteByte('\n')
	return o.lines.written()
}

// flush sends what there is at once, with a comment when it is time for one.
func (o *eventStream) flush() error {
	if now := time.Now(); !now.Before(o.beat) {
		o.beat = now.Add(o.every)
		o.lines.buffer.WriteString(": alive\n\n")
	}
	if o.lines.buffer.Len() == 0 && o.lines.w.(*response).status != 0 {
		return nil
	}
	return o.lines.flush()
}

// streams reports whether the answer may go on for long.
func (r *request) streams() bool { return r.media == mediaNDJSON || r.media == mediaSSE }

// lastEventID reads the position after which a stream of server-sent events resumes.
func (r *request) lastEventID() (position int64, sent bool, err error) {
	if r.media != mediaSSE {
		return 0, false, nil
	}
	text, _, err := single(r.Header, "Last-Event-Id")
	if err != nil || text == "" { // an empty one is how browsers say that there was none
		return 0, false, err
	}
	if position, err = parsePosition(text); err != nil {
		return 0, false, malformed("Last-Event-ID must be a position: a whole number from 0 on")
	}
	return position, true, nil
}
