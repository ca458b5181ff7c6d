package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/transport/rest/jsonbody"
)

// useCase is what a command runs.
type useCase = func(ctx context.Context, u *domain.UnitOfWork) error

// command declares a route that changes something. decode binds the body's members and the path's ids, and gives the use
// case; its error says that the path names nothing, which counts after the faults of the body.
type command struct {
	method, path, name string
	body               bodyRule
	location           string // of what the command creates, before its id; "" when it creates nothing of its own
	decode             func(r *request, f *jsonbody.Fields) (useCase, error)
}

// KeyScope is the scope of the idempotency keys that callers send with commands.
const KeyScope = "http"

func (s *server) command(c command) *endpoint {
	return &endpoint{
		method: c.method, path: c.path, name: c.name, body: c.body,
		may: mayCommand, tenancy: ownClient, produces: []string{mediaJSON},
		prepare: func(r *request) (answer, error) {
			return func(w http.ResponseWriter) error { return s.execute(w, r, c) }, nil
		},
	}
}

// validator is a command that judges its own values.
type validator interface{ Validate() []domain.FieldError }

// uses gives the use case of a command whose values are judged with the body.
func uses[C validator](
	f *jsonbody.Fields, c C, run func(context.Context, *domain.UnitOfWork, C) error,
) useCase {
	f.Judge(c.Validate())
	return func(ctx context.Context, u *domain.UnitOfWork) error { return run(ctx, u, c) }
}

// runs gives the use case of a command that has no values to judge.
func runs[C any](c C, run func(context.Context, *domain.UnitOfWork, C) error) useCase {
	return func(ctx context.Context, u *domain.UnitOfWork) error { return run(ctx, u, c) }
}

// execute runs a command and answers with what it did.
func (s *server) execute(w http.ResponseWriter, r *request, c command) error {
	fields := jsonbody.Bind(r.body)
	run, missing := c.decode(r, fields)
	if err := fields.Err(); err != nil {
		return err
	}
	if missing != nil {
		return missing
	}
	result, err := s.config.Commands.Run(r.Context(), r.command(), run)
	if err != nil {
		return err
	}
	h := w.Header()
	if result.Replayed {
		h.Set(headerReplayed, "true")
	}
	s.recent.note(r.who.Client, result.Position)
	if !s.config.Applied.WaitSynchronous(r.Context(), result.Position, s.config.SynchronousWait) {
		h.Set(headerSynchronous, "pending")
		s.metrics.pending.Inc()
	}
	return s.answerCommand(w, r, c, result)
}

// command gives the envelope of the request's command.
func (r *request) command() eventstore.Command {
	cmd := eventstore.Command{
		Name:   r.endpoint.name,
		Client: r.who.Client, Actor: r.who.Actor, RequestID: r.id, Metadata: r.trace.metadata(), Match: r.match,
	}
	if r.key != "" {
		cmd.Key = &eventstore.CommandKey{Scope: KeyScope, Key: r.key, Fingerprint: r.fingerprint()}
	}
	return cmd
}

// fingerprint is what two requests with one idempotency key must have in common: method, path, what the query string adds
// to it, and the body in canonical form, so that the order of members and white space don't count.
func (r *request) fingerprint() []byte {
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	b.WriteString(r.Method)
	b.WriteByte(0)
	b.WriteString(r.URL.EscapedPath())
	b.WriteByte(0)
	for _, p := range r.query.parameters { // at most one: the line of a threshold
		b.WriteString(p.name)
		b.WriteByte(0)
		b.WriteString(p.value)
		b.WriteByte(0)
	}
	b.Write(r.body.AppendCanonical(b.AvailableBuffer()))
	sum := sha256.Sum256(b.Bytes())
	return sum[:]
}

// answerCommand writes the answer of a command that took effect, now or earlier.
func (s *server) answerCommand(w http.ResponseWriter, r *request, c command, result eventstore.CommandResult) error {
	h := w.Header()
	setETag(h, result.Version)
	h.Set(headerPosition, strconv.FormatInt(result.Position, 10))
	status := http.StatusOK
	if result.Created {
		status = http.StatusCreated
		h.Set("Location", c.location+result.ID.String())
	}
	if r.prefer.representation {
		shown, err := s.representation(r, result)
		if err == nil {
			h.Set(headerApplied, "return=representation")
			return writeJSON(w, r, status, shown)
		}
		// No error of the command's: it did take effect, and is answered as such.
		s.config.Log.WarnContext(r.Context(), "the representation after a command can't be made", "request_id", r.id, "error", err)
	} else if r.prefer.minimal {
		h.Set(headerApplied, "return=minimal")
	}
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	b.Write(appendResult(b.AvailableBuffer(), result))
	writeBody(w, r, status, mediaJSON, b.Bytes())
	return nil
}

// representation shows the command's target as it was after the command, ages included: a repeat of a command that changed
// something shows the same.
func (s *server) representation(r *request, result eventstore.CommandResult) (any, error) {
	state := eventstore.StateAt{AggregateType: result.AggregateType, ID: result.ID, ClientID: r.who.Client}
	if result.Target != nil {
		state.Loaded = *result.Target
		var err error
		if state, err = s.config.States.Open(r.Context(), state); err != nil {
			return nil, err
		}
	} else {
		var err error
		state, err = s.config.States.AtVersion(r.Context(), r.who.Client, result.AggregateType, result.ID, result.Version)
		if err != nil {
			return nil, err
		}
	}
	now := time.Now()
	if len(result.Events) > 0 {
		now = state.UpdatedAt
	}
	return s.represent(state, now)
}

// appendResult writes the answer of a command. Ids, event types and numbers need no escaping.
func appendResult(b []byte, result eventstore.CommandResult) []byte {
	b = append(append(b, `{"id":"`...), result.ID.String()...)
	b = strconv.AppendInt(append(b, `","version":`...), result.Version, 10)
	b = strconv.AppendInt(append(b, `,"position":`...), result.Position, 10)
	b = append(b, `,"events":[`...)
	for i, e := range result.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"event_id":"`...), e.EventID.String()...)
		b = append(append(b, `","event_type":"`...), e.EventType...)
		b = strconv.AppendInt(append(b, `","version":`...), e.Version, 10)
		b = strconv.AppendInt(append(b, `,"position":`...), e.Position, 10)
		b = append(b, '}')
	}
	b = append(b, ']')
	for _, name := range slices.Sorted(maps.Keys(result.Extras)) {
		value, err := json.Marshal(result.Extras[name])
		if err != nil { // of a string: can't be
			value = []byte("null")
		}
		b = append(append(append(b, `,"`...), name...), `":`...)
		b = append(b, value...)
	}
	return append(b, "}\n"...)
}
