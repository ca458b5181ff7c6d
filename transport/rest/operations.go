package rest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"

	"annals/domain"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/replay"
	"annals/transport/rest/jsonbody"
)

// Projections looks after the subscribers.
type Projections interface {
	// Status lists every subscriber, policies and timers too.
	Status(ctx context.Context) ([]projections.State, error)
	// The others fail with projections.ErrUnknownSubscriber for a name that there isn't. What they change is recorded with the
	// actor before it takes effect; to pause or resume again changes nothing.
	Pause(ctx context.Context, name, actor string) error
	Resume(ctx context.Context, name, actor string) error
	Failures(ctx context.Context, name string) ([]projections.Failure, error)
	// Retry and Skip fail with projections.ErrNoFailure when the subscriber hasn't stopped at the position. A skip can also fail
	// with projections.ErrNoEvents and projections.ErrNotSkipped: the subscriber skips nothing.
	Retry(ctx context.Context, name string, position int64, actor string) error
	Skip(ctx context.Context, name string, position int64, reason, actor string) error
}

// Rebuilds starts rebuilds of read models in the background.
type Rebuilds interface {
	// Start begins one and returns once the projection's status tells of it. It fails with replay.ErrUnknownProjection,
	// replay.ErrNotReadModel, replay.ErrAlreadyBuilding (here or by another process) and replay.ErrManagerClosed.
	Start(ctx context.Context, name, actor string) error
}

func (s *server) projectionEndpoints() []*endpoint {
	const one = "/v1/projections/{name}"
	route := func(method, path, name string, body bodyRule, prepare prepare) *endpoint {
		return &endpoint{method: method, path: path, name: name, body: body, may: mayAdminister,
			produces: []string{mediaJSON}, prepare: prepare}
	}
	return []*endpoint{
		route(http.MethodGet, "/v1/projections", "listProjections", noBody, s.listProjections),
		route(http.MethodPost, one+"/rebuild", "rebuildProjection", bodyOptional,
			s.operation(http.StatusAccepted, s.rebuild)),
		route(http.MethodPost, one+"/pause", "pauseProjection", bodyOptional,
			s.operation(http.StatusOK, func(r *request, _ *jsonbody.Fields) (operate, error) {
				return func(ctx context.Context, name string) error {
					return s.config.Projections.Pause(ctx, name, r.who.Actor)
				}, nil
			})),
		route(http.MethodPost, one+"/resume", "resumeProjection", bodyOptional,
			s.operation(http.StatusOK, func(r *request, _ *jsonbody.Fields) (operate, error) {
				return func(ctx context.Context, name string) error {
					return s.config.Projections.Resume(ctx, name, r.who.Actor)
				}, nil
			})),
		route(http.MethodGet, one+"/failures", "listFailures", noBody, s.listFailures),
		route(http.MethodPost, one+"/failures/{position}/retry", "retryFailure", bodyOptional,
			s.operation(http.StatusOK, s.retry)),
		route(http.MethodPost, one+"/failures/{position}/skip", "skipFailure", bodyRequired,
			s.operation(http.StatusOK, s.skip)),
	}
}

// listProjections lists every subscriber.
func (s *server) listProjections(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		if err := s.readLog(r); err != nil {
			return err
		}
		states, err := s.config.Projections.Status(r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, r, http.StatusOK, struct {
			Items []projections.State `json:"items"`
		}{states})
	}, nil
}

// listFailures lists the events that a subscriber stopped at.
func (s *server) listFailures(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		if err := s.readLog(r); err != nil {
			return err
		}
		failures, err := s.config.Projections.Failures(r.Context(), r.vars["name"])
		if err != nil {
			return operationError(err)
		}
		return writeJSON(w, r, http.StatusOK, struct {
			Items []projections.Failure `json:"items"`
		}{failures})
	}, nil
}

// operate does something with a subscriber.
type operate func(ctx context.Context, name string) error

// operation is a route that changes a subscriber and answers with what it is then.
func (s *server) operation(status int, decode func(*request, *jsonbody.Fields) (operate, error)) prepare {
	return func(r *request) (answer, error) {
		return func(w http.ResponseWriter) error {
			fields := jsonbody.Bind(r.body)
			do, missing := decode(r, fields)
			if err := fields.Err(); err != nil {
				return err
			}
			if missing != nil {
				return missing
			}
			name := r.vars["name"]
			if _, err := s.projection(r, name); err != nil {
				return err
			}
			return s.once(w, r, status, func(ctx context.Context) (any, error) {
				if err := do(ctx, name); err != nil {
					return nil, operationError(err)
				}
				return s.projection(r, name)
			})
		}, nil
	}
}

// OperationScope is the scope of the idempotency keys of operations.
const OperationScope = "operation"

// answerMember is where a key keeps an operation's answer.
const answerMember = "answer"

// once does something and answers with what it gives. Under an idempotency key it is done by the first request alone; when the
// server ends before the key is kept, by the next one too.
func (s *server) once(w http.ResponseWriter, r *request, status int, do func(context.Context) (any, error)) error {
	if r.key == "" {
		shown, err := do(r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, r, status, shown)
	}
	cmd := eventstore.Command{
		Name: r.endpoint.name, Client: eventstore.SystemClient, Actor: r.who.Actor, RequestID: r.id,
		Key: &eventstore.CommandKey{
			Scope: OperationScope, Key: r.who.Client + " " + r.key, Fingerprint: r.fingerprint(), First: true,
		},
	}
	result, err := s.config.Commands.Run(r.Context(), cmd, func(ctx context.Context, u *domain.UnitOfWork) error {
		shown, err := do(ctx)
		if err != nil {
			return err
		}
		var body bytes.Buffer
		err = encode(&body, shown)
		u.Attach(answerMember, body.String())
		return err
	})
	if err != nil {
		return err
	}
	if result.Replayed {
		w.Header().Set(headerReplayed, "true")
	}
	writeBody(w, r, status, mediaJSON, []byte(result.Extras[answerMember]))
	return nil
}

// projection gives a subscriber's state, or a not-found.
func (s *server) projection(r *request, name string) (projections.State, error) {
	states, err := s.config.Projections.Status(r.Context())
	if err != nil {
		return projections.State{}, err
	}
	i := slices.IndexFunc(states, func(state projections.State) bool { return state.Name == name })
	if i < 0 {
		return projections.State{}, notFound("there is no projection of this name")
	}
	return states[i], nil
}

func (s *server) rebuild(r *request, _ *jsonbody.Fields) (operate, error) {
	return func(ctx context.Context, name string) error {
		state, err := s.projection(r, name)
		if err != nil {
			return err
		}
		if state.Kind != projections.KindReadModel {
			return replay.ErrNotReadModel
		}
		return s.config.Rebuilds.Start(ctx, name, r.who.Actor)
	}, nil
}

func (s *server) retry(r *request, _ *jsonbody.Fields) (operate, error) {
	position, missing := r.failure()
	return func(ctx context.Context, name string) error {
		return s.config.Projections.Retry(ctx, name, position, r.who.Actor)
	}, missing
}

func (s *server) skip(r *request, f *jsonbody.Fields) (operate, error) {
	reason := f.String("reason")
	var v domain.Validator
	v.Text("/reason", reason, domain.MaxNote)
	f.Judge(v.Fields())
	position, missing := r.failure()
	return func(ctx context.Context, name string) error {
		return s.config.Projections.Skip(ctx, name, position, reason, r.who.Actor)
	}, missing
}

// failure is the position in the path; 0 is where timers fail.
func (r *request) failure() (int64, error) {
	position, err := parsePosition(r.vars["position"])
	if err != nil {
		return 0, notFound("the projection has no failure at this position")
	}
	return position, nil
}

// operationError says what a refused operation means to the caller.
func operationError(err error) error {
	for _, known := range []struct {
		err          error
		slug, detail string
	}{
		{projections.ErrUnknownSubscriber, "not-found", "there is no projection of this name"},
		{projections.ErrNoFailure, "not-found", "the projection has no failure at this position"},
		{projections.ErrNoEvents, "invalid-transition", "the projection reads no events, so that there is nothing to skip"},
		{projections.ErrNotSkipped, "invalid-transition", "the sealer leaves out no event: what it stopped at must be put right"},
		{replay.ErrUnknownProjection, "not-found", "there is no projection of this name"},
		{replay.ErrNotReadModel, "invalid-transition", "only a read model can be rebuilt"},
		{replay.ErrAlreadyBuilding, "invalid-transition", "the projection is being rebuilt already"},
		{replay.ErrManagerClosed, "unavailable", "the server is stopping"},
	} {
		if errors.Is(err, known.err) {
			return newProblem(known.slug, known.detail)
		}
	}
	return err
}
