package eventstore

import (
	"context"

	"annals/domain"
)

// attempt is one decision of a command. It is the Loader of its unit of work and remembers what the decision rests on.
type attempt struct {
	*execution
	generation int64
	read       []loadedStream
}

// loadedStream is a stream that the decision rests on.
type loadedStream struct {
	stream
	id      domain.ID
	version int64 // as the client sees it
	foreign bool  // of another client or type, which it stays for ever
}

var _ domain.Loader = (*attempt)(nil)

// Load implements domain.Loader.
func (a *attempt) Load(ctx context.Context, aggregate domain.AnyAggregate, id domain.ID) (domain.Loaded, error) {
	found, err := a.r.States.load(ctx, aggregate, id, a.known[id])
	if err != nil {
		return domain.Loaded{}, err
	}
	loaded, foreign := found.visible(a.cmd.Client, aggregate)
	a.read = append(a.read, loadedStream{stream: found, id: id, version: loaded.Version, foreign: foreign})
	return loaded, nil
}

// isForeign reports whether a stream was found to belong to another client or type.
func (a *attempt) isForeign(id domain.ID) bool {
	for _, s := range a.read {
		if s.id == id {
			return s.foreign
		}
	}
	return false
}

// confirm reports whether the states that the decision rests on were all true at one instant since the command arrived,
// which makes a refusal or a no-op the right answer of that instant: streams only grow, so that equal versions at the
// instant of one statement prove equal states. A single stream that this attempt read from the log needs no proof, nor
// does one of another client or type. What has moved is noted for the next attempt.
func (a *attempt) confirm(ctx context.Context) (bool, error) {
	var open []loadedStream
	for _, s := range a.read {
		if !s.foreign {
			open = append(open, s)
		}
	}
	if len(open) == 0 || len(open) == 1 && open[0].fromLog {
		return true, nil
	}
	ids := make([]domain.ID, len(open))
	for i, s := range open {
		ids[i] = s.id
	}
	current, err := a.r.States.versions(ctx, a.cmd.Client, ids)
	if err != nil {
		return true, err
	}
	moved := make(map[domain.ID]int64)
	for _, s := range open {
		if current[s.id] != s.version {
			moved[s.id] = current[s.id]
		}
	}
	if len(moved) == 0 {
		return true, nil
	}
	a.r.n.outdated.Add(1)
	a.outdated(moved)
	return false, nil
}

// advance puts the new states into the cache and gives them by stream.
func (a *attempt) advance(work domain.Work, request AppendRequest, result CommandResult) map[domain.ID]domain.Loaded {
	after := make(map[domain.ID]domain.Loaded, len(work.Changes))
	at := 0 // index of the stream's first event
	for _, c := range work.Changes {
		n := len(c.Events)
		if n == 0 {
			continue
		}
		loaded := domain.Loaded{
			State: c.State, Version: c.Loaded.Version + int64(n), Position: result.Events[at+n-1].Position,
			CreatedAt: c.Loaded.CreatedAt, UpdatedAt: a.now,
		}
		if c.Loaded.Version == 0 {
			loaded.CreatedAt = a.now
		}
		size := 0
		for _, e := range request.Events[at : at+n] {
			size += len(e.Data)
		}
		a.r.States.advance(a.readOf(c.ID), &cachedStream{
			Loaded: loaded, id: c.ID, client: a.cmd.Client, aggregateType: c.Aggregate.AggregateType(),
		}, size, a.generation)
		after[c.ID] = loaded
		at += n
	}
	return after
}

func (a *attempt) readOf(id domain.ID) *cachedStream {
	for _, s := range a.read {
		if s.id == id {
			return s.cachedStream
		}
	}
	return nil
}

// targetOf gives the target as it is after the command.
func targetOf(work domain.Work, after map[domain.ID]domain.Loaded) *domain.Loaded {
	if work.Target == nil {
		return nil
	}
	if loaded, changed := after[work.Target.ID]; changed {
		return &loaded
	}
	loaded := work.Target.Loaded
	return &loaded
}
