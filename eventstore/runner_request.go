package eventstore

import (
	"context"
	"encoding/json"
	"fmt"

	"annals/domain"
)

// request is what the log is asked to take.
// A stream of another client or type can't be appended to: it doesn't exist. That it was looked for needs no
// expectation: it stays so.
//
// Personal text is sealed first, in the events that the changes hold and so in the states that the cache is given.
func (a *attempt) request(ctx context.Context, work domain.Work) (AppendRequest, error) {
	x := a.execution
	fetched := make(map[domain.Subject]SubjectKey)
	request := AppendRequest{Client: x.cmd.Client}
	for _, c := range work.Changes {
		if a.isForeign(c.ID) {
			if len(c.Events) > 0 {
				return AppendRequest{}, domain.NotFound(c.Aggregate.AggregateType(), c.ID)
			}
			continue
		}
		request.Streams = append(request.Streams, StreamExpectation{AggregateID: c.ID, Expected: c.Loaded.Version})
		sealed := false
		for i := range c.Events {
			id := x.r.NewID()
			changed, err := x.seal(ctx, c, i, id, fetched)
			if err != nil {
				return AppendRequest{}, err
			}
			sealed = sealed || changed
			event, err := x.event(c, i, id)
			if err != nil {
				return AppendRequest{}, err
			}
			request.Events = append(request.Events, event)
		}
		if sealed {
			if err := refold(c); err != nil {
				return AppendRequest{}, err
			}
		}
	}
	for _, c := range work.Releases {
		request.Releases = append(request.Releases, ClaimChange{Kind: c.Kind, Value: c.Value, Owner: c.Owner})
	}
	for _, c := range work.Claims {
		request.Claims = append(request.Claims, ClaimChange{Kind: c.Kind, Value: c.Value, Owner: c.Owner})
	}
	if key := x.cmd.Key; key != nil {
		request.Idempotency = &Idempotency{Scope: key.Scope, Key: key.Key, Fingerprint: key.Fingerprint}
	}
	return request, nil
}

// seal seals the personal text of a change's event i, which is to have the id. It reports whether there was any.
func (x *execution) seal(
	ctx context.Context, c *domain.Change, i int, id domain.ID, fetched map[domain.Subject]SubjectKey,
) (sealed bool, err error) {
	d, known := x.r.Registry.EventDefinition(c.Events[i].EventType())
	if !known || !carriesText(d, c.Events[i]) {
		return false, nil
	}
	c.Events[i], err = x.r.Vault.seal(ctx, x.cmd.Client, d, c.Events[i], c.ID, id, fetched)
	return true, err
}

// refold makes the state after a change anew from its events.
func refold(c *domain.Change) (err error) {
	c.State = c.Loaded.State
	for _, e := range c.Events {
		if c.State, err = c.Aggregate.EvolveState(c.State, e); err != nil {
			return err
		}
	}
	return nil
}

// event makes the new event i of a stream.
func (x *execution) event(c *domain.Change, i int, id domain.ID) (NewEvent, error) {
	encoded, err := x.r.Registry.Encode(c.Events[i])
	if err != nil {
		return NewEvent{}, err
	}
	if x.metadata == nil {
		if x.metadata, err = encodeMetadata(x.cmd.Metadata); err != nil {
			return NewEvent{}, err
		}
	}
	return NewEvent{
		EventID: id, EventType: encoded.Type, SchemaVersion: encoded.SchemaVersion,
		AggregateType: c.Aggregate.AggregateType(), AggregateID: c.ID, AggregateVersion: c.Loaded.Version + int64(i) + 1,
		ActorID: x.cmd.Actor, OccurredAt: x.now, CorrelationID: x.cmd.CorrelationID, CausationID: x.cmd.CausationID,
		RequestID: x.cmd.RequestID, Data: encoded.Data, Metadata: x.metadata,
	}, nil
}

// encodeMetadata writes the members in sorted order, so that equal metadata has equal bytes.
func encodeMetadata(members map[string]string) ([]byte, error) {
	if len(members) == 0 {
		return []byte("{}"), nil
	}
	encoded, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return encoded, nil
}

// answerOf is what the command will answer once it is appended.
func answerOf(work domain.Work, request AppendRequest) *storedResult {
	s := &storedResult{Created: work.Created, Extras: work.Extras, Events: make([]storedEvent, len(request.Events))}
	for i, e := range request.Events {
		s.Events[i] = storedEvent{
			EventID: e.EventID, EventType: e.EventType, AggregateType: e.AggregateType, AggregateID: e.AggregateID,
			Version: e.AggregateVersion,
		}
	}
	if t := work.Target; t != nil {
		s.AggregateType, s.ID = t.Aggregate.AggregateType(), t.ID
		s.Version = t.Loaded.Version + int64(len(t.Events))
		if len(s.Events) == 0 {
			s.Position = t.Loaded.Position
		}
	}
	return s
}
