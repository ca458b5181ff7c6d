package rest

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"annals/domain"
	"annals/transport/rest/jsonbody"
)

// endpoint is one method of one path: what may be sent to it, by whom, and what it does.
type endpoint struct {
	method   string
	path     string // template of gorilla/mux
	spans    bool   // the path's last variable takes all that follows, slashes too
	name     string // operationId in the OpenAPI document
	may      Roles
	tenancy  tenancy
	recorded bool // who reads it is put on record
	body     bodyRule
	produces []string // media types, the preferred one first; none: the endpoint negotiates by itself
	prepare  prepare
}

// prepare reads what the endpoint wants of the query string and gives the way to the answer. It runs before the
// credential is checked, so it touches no data: syntax is judged first.
type prepare func(r *request) (answer, error)

// answer does the work and writes the answer. An error becomes a problem, unless the answer has begun.
type answer func(w http.ResponseWriter) error

// bodyRule says what becomes of a request's body.
type bodyRule uint8

const (
	noBody       bodyRule = iota // ignored: GET
	bodyOptional                 // none means an empty object
	bodyRequired
)

// maxBody is how many bytes a body may have.
const maxBody = 1 << 20

// request is an HTTP request with what the conventions made of it.
type request struct {
	*http.Request
	endpoint    *endpoint
	id          string            // the request id
	vars        map[string]string // of the path
	media       string            // what to answer with
	query       query
	credentials Credentials
	who         Principal
	prefer      preferences
	minPosition int64
	match       *domain.Precondition // of a command
	key         string               // of a command; "" without
	trace       trace
	room        room           // for the body of a command
	reason      *string        // for reading the log; nil: none is given
	body        jsonbody.Value // the object of a command; without members when there was none
}

// commands reports whether the endpoint changes something.
func (e *endpoint) commands() bool { return e.body != noBody }

// serve answers one request of an endpoint, by the order of checks of the API: syntax, credential, and what the endpoint
// itself judges.
func (s *server) serve(w http.ResponseWriter, r *request) error {
	if r.endpoint.commands() {
		if err := s.early(r); err != nil {
			return err
		}
		if err := s.bodies.admits(r.ContentLength); err != nil {
			return err
		}
		r.room = room{bodies: &s.bodies, vouched: func() bool { return s.authorize(r) == nil }}
		defer r.room.release()
	}
	if err := r.read(w); err != nil {
		return err
	}
	respond, err := r.endpoint.prepare(r)
	if faulty := r.query.end(); faulty != nil {
		return faulty
	}
	if err != nil {
		return err
	}
	if r.endpoint.may != mayAnyone {
		if err := s.authorize(r); err != nil {
			return err
		}
		if err := s.rates.take(r.who.Client); err != nil {
			return err
		}
	}
	gate := s.gates.of(r)
	if err := gate.enter(r.who.Client); err != nil {
		return err
	}
	defer gate.leave(r.who.Client)
	return respond(w)
}

// read judges the syntax of everything the endpoint looks at.
func (r *request) read(w http.ResponseWriter) (err error) {
	if offers := r.endpoint.produces; len(offers) > 0 {
		offer, ok := negotiate(r.Header["Accept"], offers)
		if !ok {
			return newProblem("not-acceptable", "this can be served as "+strings.Join(offers, ", "))
		}
		r.media = offer
	}
	if r.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return err
	}
	if r.endpoint.may == mayAnyone {
		return nil
	}
	if r.credentials, err = credentials(r.Header); err != nil {
		return err
	}
	r.credentials.Host = r.Host
	if r.prefer, err = parsePrefer(r.Header[headerPrefer]); err != nil {
		return err
	}
	if r.endpoint.recorded {
		if r.reason, err = reason(r.Header); err != nil {
			return err
		}
	}
	if !r.endpoint.commands() {
		r.minPosition, err = minPosition(r.Header)
		return err
	}
	if r.match, err = parseIfMatch(r.Header["If-Match"]); err != nil {
		return err
	}
	if r.key, err = idempotencyKey(r.Header); err != nil {
		return err
	}
	r.trace = parseTrace(r.Header)
	r.body, err = readBody(w, r.Request, r.endpoint.body, &r.room)
	return err
}

// readBody reads a command's object. A body that may be missing, and is, is an empty object.
func readBody(w http.ResponseWriter, r *http.Request, rule bodyRule, room *room) (jsonbody.Value, error) {
	empty := jsonbody.Value{Kind: jsonbody.Object}
	if r.ContentLength > maxBody {
		return empty, tooLarge()
	}
	checked := r.ContentLength > 0
	if checked {
		if err := checkContentType(r.Header); err != nil {
			return empty, err
		}
	}
	data, err := room.readAll(http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
	if err != nil {
		if _, exceeded := errors.AsType[*http.MaxBytesError](err); exceeded {
			return empty, tooLarge()
		}
		if refused, ok := errors.AsType[*Problem](err); ok {
			return empty, refused
		}
		return empty, malformed("the body could not be read to its end")
	}
	if len(data) == 0 && rule == bodyOptional {
		return empty, nil
	}
	// Without a body and a type the missing body is what is wrong.
	if !checked && (len(data) > 0 || len(r.Header["Content-Type"]) > 0) {
		if err := checkContentType(r.Header); err != nil {
			return empty, err
		}
	}
	object, err := jsonbody.Parse(data)
	if err != nil {
		return empty, malformed(err.Error())
	}
	return object, nil
}

func tooLarge() *Problem { return newProblem("payload-too-large", "the body has more than 1 MiB") }

// resource is the id in the path. One that isn't a UUID names nothing; that is said when existence is judged, after the
// values of the body.
func (r *request) resource(variable, what string) (domain.ID, error) {
	id, err := domain.ParseID(r.vars[variable])
	if err != nil {
		return domain.ID{}, notFound("there is no " + what + " with this id")
	}
	return id, nil
}

// methods serves the methods of one path.
type methods struct {
	server    *server
	endpoints map[string]*endpoint
	allow     string
}

func newMethods(s *server, endpoints []*endpoint) *methods {
	m := &methods{server: s, endpoints: make(map[string]*endpoint)}
	allowed := []string{http.MethodOptions}
	for _, e := range endpoints {
		m.endpoints[e.method] = e
		allowed = append(allowed, e.method)
		if e.method == http.MethodGet {
			m.endpoints[http.MethodHead] = e
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	m.allow = strings.Join(allowed, ", ")
	return m
}

// ServeHTTP implements http.Handler.
func (m *methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := w.(*response)
	e, ok := m.endpoints[r.Method]
	switch {
	case ok:
		out.route, out.endpoint = e.path, e
		in := &request{Request: r, endpoint: e, id: out.requestID, vars: mux.Vars(r)}
		m.server.finish(out, r, m.server.serve(out, in))
	case r.Method == http.MethodOptions:
		out.Header().Set("Allow", m.allow)
		out.WriteHeader(http.StatusNoContent)
	default:
		p := newProblem("method-not-allowed", "this path takes "+m.allow)
		p.allow = m.allow
		m.server.finish(out, r, p)
	}
}
