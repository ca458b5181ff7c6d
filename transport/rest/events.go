package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
)

// Events reads the log.
type Events interface {
	// Head gives the log's last position over all clients.
	Head(ctx context.Context) (int64, error)
	// Page gives at most limit events that the filter selects, after a position.
	Page(ctx context.Context, f eventstore.EventFilter, after int64, limit int) (eventstore.Page, error)
	// Scan gives each event that the filter selects, from after (exclusive) to upTo (inclusive).
	Scan(ctx context.Context, f eventstore.EventFilter, after, upTo int64, each func(eventstore.Envelope) error) error
	// Event gives one event, or a not-found refusal.
	Event(ctx context.Context, client string, position int64) (eventstore.Envelope, error)
	// Lineage gives what caused the event at a position and what it caused, or a not-found refusal.
	Lineage(ctx context.Context, client string, position int64) (eventstore.Lineage, error)
	// ByEventID gives the event with an id, or a not-found refusal.
	ByEventID(ctx context.Context, client string, id domain.ID) (eventstore.Envelope, error)
	// Stream gives at most limit events of a stream after a version, or a not-found refusal.
	Stream(ctx context.Context, client, aggregateType string, id domain.ID, afterVersion int64, limit int) (eventstore.StreamPage, error)
}

// Growth tells when the log has grown.
type Growth interface {
	// Head is the highest position that was announced.
	Head() int64
	// Wait returns once the log may reach beyond a position; its only error is ctx's.
	Wait(ctx context.Context, after int64) (int64, error)
}

// eventMedia are the forms in which events are served.
var eventMedia = []string{mediaJSON, mediaNDJSON, mediaSSE, mediaCloudEvents}

func (s *server) eventEndpoints() []*endpoint {
	return []*endpoint{
		{method: http.MethodGet, path: "/v1/event-types", name: "listEventTypes", may: mayQuery, produces: []string{mediaJSON},
			prepare: s.listEventTypes},
		getRecorded("/v1/events", "listEvents", eventMedia, s.listEvents),
		getRecorded("/v1/events/{position}", "getEvent", []string{mediaJSON}, s.getEvent),
		getRecorded("/v1/events/{position}/lineage", "getLineage", []string{mediaJSON}, s.getLineage),
		getRecorded("/v1/streams/{aggregate_type}/{aggregate_id}", "getStream", eventMedia, s.getStream),
		getRecorded("/v1/streams/{aggregate_type}/{aggregate_id}/state", "getState", []string{mediaJSON}, s.getState),
	}
}

// listEvents serves the log in the order of positions.
func (s *server) listEvents(r *request) (answer, error) {
	q := &r.query
	after, _ := q.position("after", 0)
	limit, limited := q.optionalLimit()
	if !limited && r.streams() {
		limit = unlimited
	}
	filter := eventstore.EventFilter{
		EventTypes: q.list("event_type"), AggregateType: q.text("aggregate_type"), AggregateID: q.id("aggregate_id"),
		ActorID: q.actor("actor_id"), From: q.time("from"), To: q.time("to"),
	}
	seen, resumes, err := r.lastEventID()
	if resumes {
		after = seen
	}
	return func(w http.ResponseWriter) error {
		filter.Client = r.who.Client
		if err := s.readLog(r); err != nil {
			return err
		}
		switch r.media {
		case mediaNDJSON:
			return s.streamEvents(w, r, filter, after, limit)
		case mediaSSE:
			return s.tail(w, r, after, s.logTail(filter, after), limit)
		}
		page, err := s.config.Events.Page(r.Context(), filter, after, limit)
		if err == nil {
			err = s.recordRead(r, page.Events...)
		}
		if err != nil {
			return err
		}
		w.Header().Set(headerPosition, strconv.FormatInt(page.Head, 10))
		if r.media == mediaCloudEvents {
			next := strconv.FormatInt(page.NextAfter, 10)
			w.Header().Set(headerNextAfter, next)
			if page.NextAfter < page.Head {
				linkNext(w.Header(), r, "after", next)
			}
			return writeBatch(w, r, page.Events)
		}
		return writeJSON(w, r, http.StatusOK, struct {
			Items     []eventView `json:"items"`
			NextAfter int64       `json:"next_after"`
			Head      int64       `json:"head"`
		}{eventViews(page.Events), page.NextAfter, page.Head})
	}, err
}

// eventView is an event as the API shows it.
type eventView struct {
	Position         int64           `json:"position"`
	EventID          domain.ID       `json:"event_id"`
	EventType        string          `json:"event_type"`
	SchemaVersion    int             `json:"schema_version"`
	AggregateType    string          `json:"aggregate_type"`
	AggregateID      domain.ID       `json:"aggregate_id"`
	AggregateVersion int64           `json:"aggregate_version"`
	ClientID         string          `json:"client_id"`
	ActorID          string          `json:"actor_id"`
	OccurredAt       timestamp       `json:"occurred_at"`
	RecordedAt       timestamp       `json:"recorded_at"`
	CorrelationID    string          `json:"correlation_id"`
	CausationID      string          `json:"causation_id"`
	RequestID        string          `json:"request_id"`
	Data             json.RawMessage `json:"data"`
}

func eventViewOf(e eventstore.Envelope) eventView {
	return eventView{
		Position: e.Position, EventID: e.EventID, EventType: e.EventType, SchemaVersion: e.SchemaVersion,
		AggregateType: e.AggregateType, AggregateID: e.AggregateID, AggregateVersion: e.AggregateVersion,
		ClientID: e.ClientID, ActorID: e.ActorID, OccurredAt: timestamp(e.OccurredAt), RecordedAt: timestamp(e.RecordedAt),
		CorrelationID: e.CorrelationID, CausationID: e.CausationID, RequestID: e.RequestID, Data: e.Data,
	}
}

func eventViews(events []eventstore.Envelope) []eventView {
	views := make([]eventView, len(events))
	for i, e := range events {
		views[i] = eventViewOf(e)
	}
	return views
}

// eventAt is the position in the path, given once the log reaches as far as the request asks.
func (s *server) eventAt(r *request) (int64, error) {
	position, err := parsePosition(r.vars["position"])
	if err != nil || position < 1 {
		return 0, notFound("there is no event at this position")
	}
	return position, s.readLog(r)
}

// getEvent serves one event.
func (s *server) getEvent(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		position, err := s.eventAt(r)
		if err != nil {
			return err
		}
		event, err := s.config.Events.Event(r.Context(), r.who.Client, position)
		if err == nil {
			err = s.recordRead(r, event)
		}
		if err != nil {
			return err
		}
		return writeJSON(w, r, http.StatusOK, eventViewOf(event))
	}, nil
}

// getStream serves the events of one stream in the order of versions.
func (s *server) getStream(r *request) (answer, error) {
	limit, limited := r.query.optionalLimit()
	if !limited && r.streams() {
		limit = unlimited
	}
	cursor := r.query.cursor()
	seen, resumes, err := r.lastEventID()
	return func(w http.ResponseWriter) error {
		aggregateType := r.vars["aggregate_type"]
		id, err := r.resource("aggregate_id", "stream")
		if err != nil {
			return err
		}
		var v domain.Validator
		if v.Text("", aggregateType, domain.MaxText); len(v.Fields()) > 0 { // also what PostgreSQL couldn't take
			return notFound("there is no aggregate type of this name")
		}
		scope := cursorScope("stream", r.who.Client, aggregateType, id.String())
		after, err := cursor.after(scope)
		if err != nil {
			return err
		}
		if err := s.readLog(r); err != nil {
			return err
		}
		first := limit
		if r.streams() {
			first = 1 // whether there is such a stream
		}
		page, err := s.config.Events.Stream(r.Context(), r.who.Client, aggregateType, id, after, first)
		if err != nil {
			return err
		}
		stream := streamOf{client: r.who.Client, aggregateType: aggregateType, id: id}
		switch {
		case r.media == mediaNDJSON:
			return s.streamVersions(w, r, stream, after, limit)
		case r.media == mediaSSE && resumes:
			return s.tail(w, r, seen, s.resumedTail(stream, seen), limit)
		case r.media == mediaSSE:
			return s.tail(w, r, after, s.streamTail(stream, after, 0), limit)
		}
		if err := s.recordRead(r, page.Events...); err != nil {
			return err
		}
		shown := list[eventView]{}
		if page.More {
			next := encodeCursor(scope, page.Events[len(page.Events)-1].AggregateVersion)
			shown.NextCursor = &next
		}
		if r.media == mediaCloudEvents {
			if shown.NextCursor != nil {
				linkNext(w.Header(), r, "cursor", *shown.NextCursor)
			}
			return writeBatch(w, r, page.Events)
		}
		shown.Items = eventViews(page.Events)
		return writeJSON(w, r, http.StatusOK, shown)
	}, err
}

// getState serves an aggregate's state as it was.
func (s *server) getState(r *request) (answer, error) {
	q := &r.query
	version, byVersion := q.position("at_version", 1)
	at := q.time("at")
	if byVersion && !at.IsZero() {
		return nil, malformed("at_version and at can't be combined")
	}
	return func(w http.ResponseWriter) error {
		id, err := r.resource("aggregate_id", "stream")
		if err != nil {
			return err
		}
		if err := s.readLog(r); err != nil {
			return err
		}
		state, err := s.stateAt(r, id, version, byVersion, at)
		if err != nil {
			return err
		}
		read := operations.Delivered{}
		read.Add(1, state.Position, state.Position)
		if err := s.recordRows(r, read); err != nil {
			return err
		}
		asked := time.Now()
		if !at.IsZero() && at.Before(asked) {
			asked = at
		}
		shown, err := s.represent(state, asked)
		if err != nil {
			return err
		}
		setETag(w.Header(), state.Version)
		return writeJSON(w, r, http.StatusOK, struct {
			State        any   `json:"state"`
			Version      int64 `json:"version"`
			AsOfPosition int64 `json:"as_of_position"`
		}{shown, state.Version, state.Position})
	}, nil
}

func (s *server) stateAt(r *request, id domain.ID, version int64, byVersion bool, at time.Time) (eventstore.StateAt, error) {
	ctx, client, aggregateType := r.Context(), r.who.Client, r.vars["aggregate_type"]
	switch {
	case byVersion:
		return s.config.States.AtVersion(ctx, client, aggregateType, id, version)
	case !at.IsZero():
		return s.config.States.AtTime(ctx, client, aggregateType, id, at)
	default:
		return s.config.States.Current(ctx, client, aggregateType, id)
	}
}
