// Package rest is Annals' HTTP interface: routes, the conventions they share, and the OpenAPI document that describes
// them. It knows use cases and query types, and reaches everything else through small interfaces of its own.
package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	oteltrace "go.opentelemetry.io/otel/trace"

	"annals/domain"
	"annals/domain/notifications"
	"annals/eventstore"
	"annals/projections"
)

// Config is what the interface needs. All members are required unless they say otherwise.
type Config struct {
	Authenticator     Authenticator
	Commands          eventstore.Runner
	States            eventstore.StateReader
	Events            Events
	Growth            Growth
	Products          Products
	Carts             Carts
	Orders            Orders
	WorkOrders        WorkOrders
	ProductionEntries ProductionEntries
	Inspections       Inspections
	Holds             Holds
	KPIs              KPIs
	Thresholds        Thresholds
	Alerts            Alerts
	Webhooks          Webhooks
	Secrets           notifications.Secrets // of webhooks
	DeadLetters       DeadLetters
	EventTypes        []string // every type there is, which webhooks can name
	AuditLog          AuditLog
	Access            Access
	Integrity         Integrity
	Records           Records
	Projections       Projections
	Rebuilds          Rebuilds
	Applied           Applied
	Readiness         Readiness
	Registry          *domain.Registry     // what events there are
	Subscribers       []projections.Spec   // who reads them
	Metrics           *prometheus.Registry // the requests' metrics are registered here; /metrics shows all of it
	Log               *slog.Logger
	// SynchronousWait bounds how long a command's answer waits for the synchronous subscribers; 0: one second.
	SynchronousWait time.Duration
	// Tracer records a span per request. Nil: none.
	Tracer oteltrace.Tracer
	// MaxStreams bounds the streams of server-sent events that are open at a time, of which a client has at most a quarter;
	// 0: 256. Heartbeat is how often each says that it lives; 0: 15 seconds.
	MaxStreams int
	Heartbeat  time.Duration
	// MaxCommands and MaxQueries bound the requests of either kind that are under way; further ones are refused at once.
	// 0: 512.
	MaxCommands, MaxQueries int
	// ClientRate is how many requests a client may send per second, and ClientBurst how many at once (0: what a second
	// brings). 0: any number.
	ClientRate  float64
	ClientBurst int
}

// server holds what the handlers share.
type server struct {
	config  Config
	metrics *metrics
	recent  *recent
	docs    func() (page []byte, err error)
	streams *streams
	gates   *gates
	bodies  bodies
	rates   *rates
	pauses  pauses

	eventTypes []eventTypeView
	stop       context.Context // done when the server drains
}

// New makes the handler of every route. Canceling ctx ends answers that would go on for long, such as an export, so that
// the server can stop.
func New(ctx context.Context, config Config) (http.Handler, error) {
	router, _, err := newRouter(ctx, config)
	return router, err
}

func newRouter(ctx context.Context, config Config) (http.Handler, *mux.Router, error) {
	if config.SynchronousWait == 0 {
		config.SynchronousWait = time.Second
	}
	s := &server{config: config, metrics: newMetrics(), recent: newRecent(), docs: sync.OnceValues(renderDocs), stop: ctx,
		streams: newStreams(config.MaxStreams), gates: newGates(config), rates: newRates(config.ClientRate, config.ClientBurst)}
	var err error
	if s.eventTypes, err = describeEvents(config.Registry, config.Subscribers); err != nil {
		return nil, nil, fmt.Errorf("describe the events: %w", err)
	}
	if err := errors.Join(s.metrics.register(config.Metrics), config.Metrics.Register(s.streams.gauge),
		s.gates.register(config.Metrics)); err != nil {
		return nil, nil, fmt.Errorf("register the metrics of requests: %w", err)
	}
	router := mux.NewRouter().SkipClean(true)
	for _, group := range groups(s.endpoints()) {
		sub := router.MatcherFunc(group.matches).Subrouter()
		for _, path := range group.paths {
			sub.MatcherFunc(path.matches).Name(path.template).Handler(newMethods(s, path.endpoints))
		}
	}
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.finish(w.(*response), r, notFound("there is nothing at this path"))
	})
	return s.around(router), router, nil
}

// group holds the paths that begin alike, so that a request is compared with few of the routes.
type group struct {
	prefix string
	paths  []*path
}

// path is a template, whose segments are words or, in braces, variables.
type path struct {
	template  string
	segments  []string
	variables []string
	spans     bool // the last variable takes all that follows, slashes too
	endpoints []*endpoint
}

func newPath(e *endpoint) *path {
	p := &path{template: e.path, segments: strings.Split(e.path, "/"), spans: e.spans}
	for _, segment := range p.segments {
		if isVariable(segment) {
			p.variables = append(p.variables, strings.Trim(segment, "{}"))
		}
	}
	return p
}

func isVariable(segment string) bool { return strings.HasPrefix(segment, "{") }

func (g *group) matches(r *http.Request, _ *mux.RouteMatch) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, g.prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// matches compares a request's path with the template, and takes its variables: at a fraction of what mux's regular
// expressions cost.
func (p *path) matches(r *http.Request, found *mux.RouteMatch) bool {
	var room [4]string
	values := room[:0]
	rest, more := r.URL.Path, true
	for i, segment := range p.segments {
		got := rest
		switch last := i == len(p.segments)-1; {
		case !more:
			return false
		case last && p.spans:
			more = false
		default:
			got, rest, more = strings.Cut(rest, "/")
		}
		switch {
		case !isVariable(segment):
			if got != segment {
				return false
			}
		case got == "":
			return false
		default:
			values = append(values, got)
		}
	}
	if more {
		return false
	}
	found.Vars = make(map[string]string, len(values))
	for i, name := range p.variables {
		found.Vars[name] = values[i]
	}
	return true
}

// groups gathers endpoints by path, and paths by their first segment, or first two under /v1. Order is kept.
func groups(endpoints []*endpoint) []*group {
	var all []*group
	byPrefix := make(map[string]*group)
	byPath := make(map[string]*path)
	for _, e := range endpoints {
		p, known := byPath[e.path]
		if !known {
			p = newPath(e)
			byPath[e.path] = p
			prefix := prefixOf(e.path)
			g, known := byPrefix[prefix]
			if !known {
				g = &group{prefix: prefix}
				byPrefix[prefix] = g
				all = append(all, g)
			}
			g.paths = append(g.paths, p)
		}
		p.endpoints = append(p.endpoints, e)
	}
	return all
}

func prefixOf(path string) string {
	segments := strings.SplitN(path, "/", 4)
	if segments[1] == "v1" {
		return "/v1/" + segments[2]
	}
	return "/" + segments[1]
}

// response notes what was answered, for the log and the metrics.
type response struct {
	http.ResponseWriter
	requestID string
	route     string // template; "" when no route matched
	endpoint  *endpoint
	status    int  // 0: nothing was written yet
	shed      bool // refused for the load alone
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// around is what happens to every request: its id, the guard against other sites' pages, panics, the log, the metrics.
func (s *server) around(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		w := &response{ResponseWriter: rw, requestID: requestID(r.Header)}
		h := w.Header()
		h.Set(headerRequestID, w.requestID)
		h.Set("X-Content-Type-Options", "nosniff")
		r, end := s.traced(w, r)
		defer end()
		defer s.observe(w, r, start)
		defer s.recover(w, r)
		if err := origins.Check(r); err != nil {
			s.finish(w, r, forbidden("a browser sent this from a page of another site"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// recover turns a panic into an answer that says nothing of it. Its stack goes to the log.
func (s *server) recover(w *response, r *http.Request) {
	value := recover()
	if value == nil {
		return
	}
	if value == http.ErrAbortHandler {
		panic(value)
	}
	s.config.Log.ErrorContext(r.Context(), "panic while answering", "request_id", w.requestID, "method", r.Method,
		"path", r.URL.Path, "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun: the caller must see that it is cut off
	}
	s.render(w, r, newProblem("internal", problemOf(errPanic).Detail))
}

var errPanic = errors.New("panic")

// finish renders a handler's error.
func (s *server) finish(w *response, r *http.Request, err error) {
	if err == nil {
		return
	}
	if gone := r.Context().Err(); gone != nil && errors.Is(err, gone) {
		w.status = statusClientGone
		return // nobody reads the answer
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && p.cause != nil {
		s.config.Log.ErrorContext(r.Context(), "request failed", "request_id", w.requestID, "method", r.Method,
			"path", r.URL.Path, "status", p.Status, "error", p.cause)
	}
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	s.render(w, r, p)
}

// statusClientGone stands in the log and the metrics for requests whose sender didn't wait for the answer.
const statusClientGone = 499

func (s *server) render(w *response, r *http.Request, p *Problem) {
	w.shed = p.shed
	if p.shed && p.Status == http.StatusServiceUnavailable {
		s.pauses.holdBack(r)
	}
	copied := *p
	copied.Instance, copied.RequestID = r.URL.EscapedPath(), w.requestID
	copied.writeTo(w, r.Method == http.MethodHead)
}

// observe logs a request and counts it.
func (s *server) observe(w *response, r *http.Request, start time.Time) {
	took := time.Since(start)
	s.metrics.observe(w, r, took)
	level := slog.LevelDebug
	if w.status >= http.StatusBadRequest && !w.shed { // under overload the log would be part of it
		level = slog.LevelInfo
	}
	if !s.config.Log.Enabled(r.Context(), level) {
		return
	}
	s.config.Log.LogAttrs(r.Context(), level, "request", slog.String("request_id", w.requestID),
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", w.status),
		slog.Duration("took", took))
}
