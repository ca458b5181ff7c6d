package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/transport/tokens"
)

// Problem is an error as the caller sees it (RFC 9457). Its JSON form is the body of every error answer.
type Problem struct {
	Type      string              `json:"type"` // /problems/<slug>
	Title     string              `json:"title"`
	Status    int                 `json:"status"`
	Detail    string              `json:"detail"`
	Instance  string              `json:"instance"`
	RequestID string              `json:"request_id"`
	Errors    []domain.FieldError `json:"errors,omitempty"` // of a 422 validation-failed
	Checks    []Check             `json:"checks,omitempty"` // of a 503 of /readyz

	allow      string        // the Allow header of a 405
	retryAfter time.Duration // the Retry-After header of a 503 or 429, when above zero
	challenge  string        // WWW-Authenticate of a 401
	shed       bool          // refused for the load alone
	cause      error         // what happened, for the log alone
}

// Error implements error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Unwrap gives what the log should hold.
func (p *Problem) Unwrap() error { return p.cause }

const problemPath = "/problems/"

// newProblem makes a problem of a registered slug.
func newProblem(slug, detail string) *Problem {
	kind := problemKinds[slug]
	return &Problem{Type: problemPath + slug, Title: kind.Title, Status: kind.Status, Detail: detail}
}

func malformed(detail string) *Problem { return newProblem("malformed-request", detail) }

func notFound(detail string) *Problem { return newProblem("not-found", detail) }

func forbidden(detail string) *Problem { return newProblem("forbidden", detail) }

// retryLater is the Retry-After of answers that say nothing better.
const retryLater = time.Second

// problemOf turns any error of a handler into a problem. What it doesn't know is internal: the caller learns nothing of it.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var refusal *domain.Error
	if errors.As(err, &refusal) {
		if _, known := problemKinds[string(refusal.Code)]; known {
			p := newProblem(string(refusal.Code), refusal.Detail)
			p.Errors = refusal.Fields
			return p
		}
	}
	var large *eventstore.TooLargeError
	if errors.As(err, &large) {
		return newProblem("payload-too-large", "the event that the request leads to is larger than the log takes")
	}
	for _, failure := range failures {
		if errors.Is(err, failure.err) {
			p := newProblem(failure.slug, failure.detail)
			p.cause = err
			if p.Status == http.StatusServiceUnavailable {
				p.retryAfter = retryLater
			}
			return p
		}
	}
	internal := newProblem("internal", "something went wrong on the server; the request id finds it in the server's log")
	internal.cause = err
	return internal
}

// failures are the event store's errors that aren't refusals, in the order in which they are looked for.
var failures = []struct {
	err          error
	slug, detail string
}{
	{eventstore.ErrKeyReused, "idempotency-key-reused", "the idempotency key was used for another method, path or body"},
	{eventstore.ErrOverloaded, "overloaded", "too many commands are waiting; nothing was written"},
	{eventstore.ErrOutcomeUnknown, "unavailable", "the connection to the database was lost: the command may or may not " +
		"have been written. The same request with the same Idempotency-Key finds out"},
	{eventstore.ErrLogBehind, "unavailable", "the log lost events that were acknowledged; nothing was written, and this " +
		"server takes no command until an operator has looked"},
	{eventstore.ErrDiskFull, "unavailable", "the database's disk is full; nothing was written"},
	{eventstore.ErrUnavailable, "unavailable", "the database can't be reached; nothing was written"},
	{tokens.ErrUnavailable, "unavailable", "the token issuer's keys can't be had; nothing was written"},
	{eventstore.ErrClosed, "unavailable", "the server is stopping; nothing was written"},
	{context.DeadlineExceeded, "unavailable", "the database didn't answer in time; nothing was written"},
}

// writeTo sends the problem. The request has its id and path by now.
func (p *Problem) writeTo(w http.ResponseWriter, headOnly bool) {
	h := w.Header()
	for _, name := range []string{"Content-Length", headerETag, "Location", "Cache-Control", headerReplayed} {
		delete(h, name)
	}
	body, err := json.Marshal(p)
	if err != nil { // only strings and numbers: can't be
		body = []byte("{}")
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.retryAfter+time.Second-1)/time.Second), 10))
	}
	if p.challenge != "" {
		h.Set("WWW-Authenticate", p.challenge)
	}
	w.WriteHeader(p.Status)
	if !headOnly {
		_, _ = w.Write(body)
	}
}
