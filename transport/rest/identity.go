package rest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"annals/eventstore"
	"annals/eventstore/apikeys"
	"annals/transport/tokens"
)

// Keys tells whose API key a request carries.
type Keys interface {
	// Exist reports whether there ever was a key.
	Exist(ctx context.Context) (bool, error)
	// Verify fails with apikeys.ErrInvalid for anything but a key in use.
	Verify(ctx context.Context, presented string) (apikeys.Key, error)
}

// Tokens tells whose token a request carries.
type Tokens interface {
	// Verify fails with a tokens.InvalidError for anything but a token of the issuer, and with tokens.ErrUnavailable
	// when the issuer's keys can't be had.
	Verify(ctx context.Context, token string) (tokens.Identity, error)
}

// Identity is the authenticator of the program: Open as long as there never was an API key and there is no issuer, from
// then on by credential alone.
type Identity struct {
	Keys   Keys
	Tokens Tokens // nil: no issuer
}

// Authenticate implements Authenticator. With a credential Annals-Actor counts for nothing, and Annals-Client can only
// choose among the clients that the credential is for.
func (i Identity) Authenticate(ctx context.Context, c Credentials) (Principal, error) {
	if i.Tokens == nil {
		closed, err := i.Keys.Exist(ctx)
		if err != nil {
			return Principal{}, fmt.Errorf("find out whether a credential is needed: %w", err)
		}
		if !closed {
			return Open{}.Authenticate(ctx, c)
		}
	}
	scheme, credential, _ := strings.Cut(c.Authorization, " ")
	credential = strings.TrimLeft(credential, " ")
	if !strings.EqualFold(scheme, "Bearer") || credential == "" {
		return Principal{}, ErrUnauthorized
	}
	p, err := i.principal(ctx, credential)
	if err != nil {
		return Principal{}, err
	}
	switch {
	case c.Client == "" || c.Client == p.Client:
		return p, nil
	case p.Client == eventstore.AllClients && p.Roles&mayAudit != 0:
		p.Client, p.Narrowed = c.Client, true
		return p, nil
	default:
		return Principal{}, forbidden("the credential is for another client than " + headerClient + " names")
	}
}

// principal finds out whose credential it is.
func (i Identity) principal(ctx context.Context, credential string) (Principal, error) {
	if strings.HasPrefix(credential, apikeys.Prefix) {
		key, err := i.Keys.Verify(ctx, credential)
		if errors.Is(err, apikeys.ErrInvalid) {
			return Principal{}, &refusedError{"the API key isn't valid (any more)"}
		}
		if err != nil {
			return Principal{}, fmt.Errorf("look up the API key: %w", err)
		}
		return Principal{Actor: key.Actor, Client: key.Client, Roles: rolesOf(key.Role)}, nil
	}
	if i.Tokens == nil {
		return Principal{}, &refusedError{"the credential isn't an API key, and the server has no token issuer"}
	}
	who, err := i.Tokens.Verify(ctx, credential)
	var invalid *tokens.InvalidError
	switch {
	case errors.As(err, &invalid):
		return Principal{}, &refusedError{invalid.Detail}
	case err != nil:
		return Principal{}, err
	case printable(headerActor, who.Actor) != nil:
		return Principal{}, &refusedError{"the token's actor must have 1 to 255 printable characters"}
	case who.Client != eventstore.AllClients && !isClient(who.Client):
		return Principal{}, &refusedError{"the token's client must have 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-'"}
	}
	return Principal{Actor: who.Actor, Client: who.Client, Roles: rolesOf(who.Roles...)}, nil
}

// rolesOf reads names of roles. Unknown ones grant nothing.
func rolesOf(names ...string) (roles Roles) {
	for _, name := range names {
		roles |= map[string]Roles{"viewer": Viewer, "operator": Operator, "auditor": Auditor, "admin": Admin}[name]
	}
	return roles
}

// refusedError is a credential that was sent and isn't taken.
type refusedError struct{ detail string }

func (e *refusedError) Error() string { return e.detail }

// Is makes it an ErrUnauthorized.
func (e *refusedError) Is(target error) bool { return target == ErrUnauthorized }

// loopback reports whether a Host header names this machine. In open mode nothing else is answered: a page of another
// site, whose name was made to resolve to this machine, would be of the same origin as the server.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	return err == nil && ip.IsLoopback()
}
