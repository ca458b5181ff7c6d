package rest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
)

// Access puts on record who reads the log.
type Access interface {
	// Read records that an actor read a page. A read whose recording fails isn't answered.
	Read(ctx context.Context, actor string, read operations.LogRead) error
	// Start records that an export begins, before its first byte. end is called once it is over.
	Start(ctx context.Context, actor, requestID string, e operations.ExportStarted) (
		end func(delivered operations.Delivered, complete bool), err error)
}

// getRecorded is a route that shows the log, of every client or of one; who reads it is put on record.
func getRecorded(path, name string, produces []string, prepare prepare) *endpoint {
	return &endpoint{method: http.MethodGet, path: path, name: name, may: mayAudit, recorded: true, produces: produces, prepare: prepare}
}

// headerReason says why the log is read.
const headerReason = "Annals-Reason"

// reason reads why the caller reads; nil when nothing is said.
func reason(h http.Header) (*string, error) {
	text, sent, err := single(h, headerReason)
	if err != nil || !sent {
		return nil, err
	}
	if n := utf8.RuneCountInString(text); n < 1 || n > domain.MaxNote || !utf8.ValidString(text) ||
		strings.ContainsFunc(text, unicode.IsControl) {
		return nil, malformed(headerReason + " must have 1 to 2,000 characters without control characters")
	}
	return &text, nil
}

// names gives the roles of the set.
func (r Roles) names() []string {
	names := []string{}
	for _, role := range []struct {
		role Roles
		name string
	}{{Viewer, "viewer"}, {Operator, "operator"}, {Auditor, "auditor"}, {Admin, "admin"}} {
		if r&role.role != 0 {
			names = append(names, role.name)
		}
	}
	return names
}

// access is what the request asks for, as it is recorded.
func (r *request) access() operations.Access {
	asked := make(url.Values)
	for _, p := range r.query.parameters {
		switch p.name {
		case "after", "cursor", "limit": // lead from page to page
		default:
			asked.Set(p.name, p.value)
		}
	}
	return operations.Access{
		Client: r.who.Client, Roles: r.who.Roles.names(), Route: r.endpoint.path, Query: asked.Encode(), Format: r.media,
		Reason: r.reason,
	}
}

// recordRead records that events were read, before they are shown.
func (s *server) recordRead(r *request, events ...eventstore.Envelope) error {
	var found operations.Delivered
	for _, e := range events {
		found.Add(1, e.Position, e.Position)
	}
	return s.recordRows(r, found)
}

// recordRows records that rows are about to be shown, by HEAD too: the length of what it stands for says whether there are any.
func (s *server) recordRows(r *request, found operations.Delivered) error {
	read := operations.LogRead{Access: r.access(), Delivered: found}
	if len(r.vars) > 0 {
		read.Resources = []string{r.URL.EscapedPath()}
	}
	return s.unrecorded(r, s.config.Access.Read(r.Context(), r.who.Actor, read))
}

// unrecorded is why a read isn't answered.
func (s *server) unrecorded(r *request, err error) error {
	if err == nil || r.Context().Err() != nil {
		return err
	}
	p := newProblem("unavailable", "who reads the log is put on record, and that can't be done at the moment")
	p.retryAfter, p.cause = retryLater, err
	return p
}

// export follows what an answer without end hands out.
type export struct {
	sent, buffered operations.Delivered
	complete       bool // set once all was sent
	end            func(operations.Delivered, bool)
}

// startExport records that an export begins; upTo is nil where no position ends it.
func (s *server) startExport(r *request, after int64, upTo *int64) (*export, error) {
	if r.Method == http.MethodHead {
		return &export{end: func(operations.Delivered, bool) {}}, nil
	}
	end, err := s.config.Access.Start(r.Context(), r.who.Actor, r.id, operations.ExportStarted{
		Access: r.access(), Resource: r.URL.EscapedPath(), After: after, UpTo: upTo,
	})
	if err != nil {
		return nil, s.unrecorded(r, err)
	}
	return &export{end: end}, nil
}

// row counts a row that was written, and isn't sent yet.
func (e *export) row(position int64) { e.buffered.Add(1, position, position) }

// flushed counts what was written as sent.
func (e *export) flushed() {
	if e.buffered.Rows > 0 {
		e.sent.Add(e.buffered.Rows, *e.buffered.FromPosition, *e.buffered.ToPosition)
		e.buffered = operations.Delivered{}
	}
}

// done records the export's end.
func (e *export) done() { e.end(e.sent, e.complete) }
