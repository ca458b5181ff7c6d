package rest

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// How many requests of a kind are under way at a time, where the configuration doesn't say so.
const (
	defaultCommands = 512
	defaultQueries  = 512
	maxExports      = 64 // each holds a connection to the database for as long as its caller reads
	maxOperations   = 32 // of operators
	maxProbes       = 32 // of health, readiness, metrics and documentation
)

// gates bound how many requests are under way. One that doesn't fit is refused at once: a queue would only make everybody
// wait for answers that come too late. A request takes its place once it has been read, so that a body that trickles in
// holds none.
type gates struct {
	commands, queries, exports, operations, probes *gate
}

func newGates(config Config) *gates {
	return &gates{
		commands:   newGate("commands", or(config.MaxCommands, defaultCommands)),
		queries:    newGate("queries", or(config.MaxQueries, defaultQueries)),
		exports:    newGate("exports", maxExports),
		operations: newGate("operations", maxOperations),
		probes:     newGate("probes", maxProbes),
	}
}

// of gives the gate of a request; nil for event streams, which have a bound of their own.
func (g *gates) of(r *request) *gate {
	switch {
	case r.endpoint.may == mayAnyone:
		return g.probes
	case r.endpoint.may == mayAdminister:
		return g.operations
	case r.endpoint.commands():
		return g.commands
	case r.media == mediaSSE:
		return nil
	case r.media == mediaNDJSON, r.media == mediaCSV:
		return g.exports
	default:
		return g.queries
	}
}

// early refuses a command before its body is looked at when there is no place for it anyway: a refusal must cost little. Whose
// command it is matters only once places are scarce; what is wrong with its credential is said in its turn.
func (s *server) early(r *request) error {
	g := s.gates.commands
	if r.endpoint.may != mayCommand || !r.endpoint.commands() || !g.scarce() {
		return nil
	}
	var err error
	if r.credentials, err = credentials(r.Header); err != nil {
		return g.admits("")
	}
	r.credentials.Host = r.Host
	if err := s.authorize(r); err != nil {
		return g.admits("")
	}
	return g.admits(r.who.Client)
}

func (g *gates) register(registry *prometheus.Registry) error {
	for _, gate := range []*gate{g.commands, g.queries, g.exports, g.operations, g.probes} {
		err := registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "annals_http_requests_in_flight", Help: "Requests under way, by kind. Each kind has a bound.",
			ConstLabels: prometheus.Labels{"kind": gate.kind},
		}, gate.gauge))
		if err != nil {
			return err
		}
	}
	return nil
}

// gate counts the requests of a kind that are under way.
type gate struct {
	kind  string
	limit int

	mu       sync.Mutex
	inUse    int
	byClient map[string]int
}

func newGate(kind string, limit int) *gate {
	return &gate{kind: kind, limit: limit, byClient: make(map[string]int)}
}

// enter takes a place for a client's request, which leave gives back. The last quarter of the places is for clients that
// have less than a quarter: one client can't shut the others out.
func (g *gate) enter(client string) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hasRoom(client) {
		return g.refusal()
	}
	g.inUse++
	g.byClient[client]++
	return nil
}

// share is what a client can have whatever the others do.
func (g *gate) share() int { return max(g.limit/4, 1) }

// hasRoom reports whether a client's request can enter. mu is held.
func (g *gate) hasRoom(client string) bool {
	return g.inUse < g.limit && (g.inUse < g.limit-g.share() || g.byClient[client] < g.share())
}

// scarce reports whether there are clients whose requests can't enter.
func (g *gate) scarce() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inUse >= g.limit-g.share()
}

// admits refuses what enter would refuse, without taking a place. The client "" stands for one that has none.
func (g *gate) admits(client string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hasRoom(client) {
		return nil
	}
	return g.refusal()
}

func (g *gate) leave(client string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inUse--
	if g.byClient[client]--; g.byClient[client] == 0 {
		delete(g.byClient, client)
	}
}

func (g *gate) gauge() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.inUse)
}

func (g *gate) refusal() error {
	p := newProblem("overloaded", fmt.Sprintf("too many %s are under way; nothing was done", g.kind))
	p.retryAfter, p.shed = retryLater, true
	return p
}
