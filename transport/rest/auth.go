package rest

import (
	"context"
	"errors"
	"time"

	"annals/eventstore"
)

// Roles is a set of roles.
type Roles uint8

// The roles a principal can have.
const (
	Viewer   Roles = 1 << iota // queries
	Operator                   // queries and commands
	Auditor                    // queries, events, audit log, integrity
	Admin                      // everything
)

// AllRoles is every role at once.
const AllRoles = Viewer | Operator | Auditor | Admin

// What the routes ask for: one of the roles in the set. An empty set asks for no credential.
const (
	mayAnyone     Roles = 0
	mayQuery            = Viewer | Operator | Auditor | Admin
	mayCommand          = Operator | Admin
	mayAudit            = Auditor | Admin
	mayAdminister       = Admin
)

// Credentials are what a request says of its sender, well-formed but not checked. Empty members weren't sent.
type Credentials struct {
	Authorization string // the header as it is
	Client        string // Annals-Client
	Actor         string // Annals-Actor
	Host          string // the name by which the server was called, with or without a port
}

// Principal is who a request comes from.
type Principal struct {
	Actor  string // of the events of its commands: 1 to 255 printable characters
	Client string // eventstore.AllClients: every client's events
	Roles  Roles  // any of them suffices
	// Narrowed: the credential is for every client, and the request looks at one of them. It issues no commands.
	Narrowed bool
}

// ErrUnauthorized says that there is no valid credential.
var ErrUnauthorized = errors.New("no valid credential")

// Authenticator finds out who a request comes from. It fails with ErrUnauthorized for a missing or wrong credential.
type Authenticator interface {
	// Authenticate says who sends a request. Its other errors are answered as a handler's: a *Problem, such as a 403, as it is.
	Authenticate(ctx context.Context, c Credentials) (Principal, error)
}

// Open is the authenticator of a server without keys and issuer: it believes what the headers say, and ignores
// Authorization, which it has nothing to check against. A server that uses it must listen on loopback only, and is to be
// called by a name of loopback.
type Open struct{}

// Names that stand where a request in open mode says nothing.
const (
	DefaultClient = "default"
	AnonymousUser = "anonymous"
)

// Authenticate implements Authenticator.
func (Open) Authenticate(_ context.Context, c Credentials) (Principal, error) {
	if !loopback(c.Host) {
		return Principal{}, forbidden("a server without API keys and without a token issuer answers to localhost only, " +
			"by the Host that it is called by")
	}
	p := Principal{Actor: c.Actor, Client: c.Client, Roles: AllRoles}
	if p.Actor == "" {
		p.Actor = AnonymousUser
	}
	if p.Client == "" {
		p.Client = DefaultClient
	}
	return p, nil
}

// tenancy says which clients a route serves, besides those of customers.
type tenancy uint8

const (
	anyClient tenancy = iota // every client's data with *: the log and the projections
	oneClient                // queries: not with *
	ownClient                // commands: neither with * nor for the system's client
)

// authorize finds out who asks and whether the route is open to them.
func (s *server) authorize(r *request) error {
	who, err := s.config.Authenticator.Authenticate(r.Context(), r.credentials)
	if errors.Is(err, ErrUnauthorized) {
		return unauthorized(err)
	}
	if err != nil {
		return err
	}
	r.who = who
	switch ep := r.endpoint; {
	case who.Roles&ep.may == 0:
		return forbidden("the credential's role doesn't allow this")
	case (who.Client == eventstore.AllClients || who.Narrowed) && ep.tenancy == ownClient:
		return forbidden("the client * issues no commands")
	case who.Client == eventstore.AllClients && ep.tenancy == oneClient:
		return forbidden("the client * reads events, the audit log and integrity only")
	case who.Client == eventstore.SystemClient && ep.tenancy == ownClient:
		return forbidden("the client annals belongs to the system")
	}
	return nil
}

// unauthorized asks for a credential, or for another one (RFC 6750, section 3).
func unauthorized(err error) *Problem {
	p := newProblem("unauthorized", "a valid credential is required")
	p.challenge, p.cause = `Bearer realm="annals"`, err
	var refused *refusedError
	if errors.As(err, &refused) {
		p.Detail = refused.detail
		p.challenge += `, error="invalid_token"`
	}
	return p
}

// recheckAfter is how often the credential of an answer that goes on for long is looked at again.
const recheckAfter = time.Second

// recheck ends an answer that goes on for long when its credential isn't valid any more, or says something else.
func (s *server) recheck(r *request) error {
	who, err := s.config.Authenticator.Authenticate(r.Context(), r.credentials)
	if err == nil && who != r.who {
		err = ErrUnauthorized
	}
	return err
}
