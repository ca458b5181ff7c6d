package rest

import (
	"net/http"
	"slices"
	"strings"

	"annals/domain"
	"annals/projections"
	"annals/transport/eventschema"
)

// eventTypeView is an event type as the API shows it.
type eventTypeView struct {
	EventType     string             `json:"event_type"`
	AggregateType string             `json:"aggregate_type"`
	SchemaVersion int                `json:"schema_version"` // today's
	Versions      []eventVersionView `json:"versions"`
	Projections   []string           `json:"projections"` // names of the subscribers that handle it
}

type eventVersionView struct {
	SchemaVersion int                `json:"schema_version"`
	Schema        eventschema.Schema `json:"schema"`
}

// describeEvents makes the list of event types. It fails when a version of a type isn't described.
func describeEvents(registry *domain.Registry, subscribers []projections.Spec) ([]eventTypeView, error) {
	all := []eventTypeView{}
	if registry == nil {
		return all, nil
	}
	for _, name := range registry.EventTypes() {
		d, _ := registry.EventDefinition(name)
		aggregate, _, _ := strings.Cut(name, ".")
		view := eventTypeView{EventType: name, AggregateType: aggregate, SchemaVersion: d.SchemaVersion, Projections: []string{}}
		for version := 1; version <= d.SchemaVersion; version++ {
			schema, err := eventschema.Of(d, version)
			if err != nil {
				return nil, err
			}
			view.Versions = append(view.Versions, eventVersionView{SchemaVersion: version, Schema: schema})
		}
		for _, s := range subscribers {
			if s.EventTypes == nil || slices.Contains(s.EventTypes, name) {
				view.Projections = append(view.Projections, s.Name)
			}
		}
		all = append(all, view)
	}
	return all, nil
}

// listEventTypes serves what this program knows of events.
func (s *server) listEventTypes(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		if err := s.readLog(r); err != nil {
			return err
		}
		return writeJSON(w, r, http.StatusOK, struct {
			Items []eventTypeView `json:"items"`
		}{s.eventTypes})
	}, nil
}
