package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"annals/domain"
	"annals/eventstore"
)

// How long a GET waits for its read model.
const (
	defaultWait = 2 * time.Second        // for Annals-Min-Position without Prefer: wait
	comfortWait = 250 * time.Millisecond // for the client's own last command, which the request doesn't mention
)

// Applied says how far subscribers have come.
type Applied interface {
	// WaitFor returns once the named subscriber has applied a position, or with ctx's error.
	WaitFor(ctx context.Context, name string, position int64) error
	// WaitSynchronous waits until the synchronous subscribers have applied a position. It reports false when that takes too
	// long or ctx ends, and at once when one of them is paused, failed or rebuilding.
	WaitSynchronous(ctx context.Context, position int64, atMost time.Duration) bool
}

// read answers from a read model. query gives the position that the model had applied before its rows were read, also
// when it finds nothing: below the position that the request asks for, neither counts.
func (s *server) read(w http.ResponseWriter, r *request, model string, query func(ctx context.Context) (int64, error)) error {
	deadline, cancel := context.WithTimeout(r.Context(), r.patience())
	defer cancel()
	switch {
	case r.minPosition > 0:
		if err := s.config.Applied.WaitFor(deadline, model, r.minPosition); err != nil && deadline.Err() == nil {
			return err
		}
	default:
		s.comfort(r, model)
	}
	position, err := query(r.Context())
	if refusal := (*domain.Error)(nil); err != nil && !errors.As(err, &refusal) {
		return err // whatever the position
	}
	if position < r.minPosition {
		return s.behind(r, "the read model", position)
	}
	if position > 0 || err == nil {
		w.Header().Set(headerPosition, strconv.FormatInt(position, 10))
	}
	if err == nil && r.minPosition > 0 && r.prefer.hasWait {
		w.Header().Set(headerApplied, "wait="+strconv.Itoa(int(r.prefer.wait/time.Second)))
	}
	return err
}

// patience is how long the request may wait.
func (r *request) patience() time.Duration {
	if r.prefer.hasWait {
		return r.prefer.wait
	}
	return defaultWait
}

func (s *server) behind(r *request, what string, position int64) error {
	if err := r.Context().Err(); err != nil {
		return err
	}
	p := newProblem("read-model-behind", what+" is at position "+strconv.FormatInt(position, 10)+
		" and didn't reach "+strconv.FormatInt(r.minPosition, 10)+" in time")
	p.retryAfter = retryLater
	return p
}

// comfort waits a moment for the client's last command on this node. Whatever comes of it, the request is answered.
func (s *server) comfort(r *request, model string) {
	last := s.recent.position(r.who.Client)
	if last == 0 || r.who.Client == eventstore.AllClients {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), comfortWait)
	defer cancel()
	_ = s.config.Applied.WaitFor(ctx, model, last)
}

// readLog answers from the log itself, in which everything acknowledged is found. A position that the log hasn't reached
// yet is waited for as a read model is.
func (s *server) readLog(r *request) error {
	if r.minPosition == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), r.patience())
	defer cancel()
	for {
		heard := s.config.Growth.Head()
		head, err := s.config.Events.Head(r.Context())
		if err != nil || head >= r.minPosition {
			return err
		}
		// A log that ends before what was announced has lost its tail. One that grows all the time tells so in no time.
		if _, err := s.config.Growth.Wait(ctx, max(head, heard)); err != nil || ctx.Err() != nil {
			return s.behind(r, "the log", head)
		}
	}
}
