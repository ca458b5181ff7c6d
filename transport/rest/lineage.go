package rest

import (
	"net/http"
	"slices"

	"annals/eventstore"
)

// lineageView is what caused an event and what it caused.
type lineageView struct {
	Event      eventView   `json:"event"`
	Causes     []eventView `json:"causes"`
	Effects    []eventView `json:"effects"`
	SearchedTo int64       `json:"searched_to"`
	Head       int64       `json:"head"`
}

// getLineage serves what caused an event and what it caused.
func (s *server) getLineage(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		position, err := s.eventAt(r)
		if err != nil {
			return err
		}
		l, err := s.config.Events.Lineage(r.Context(), r.who.Client, position)
		if err == nil {
			err = s.recordRead(r, slices.Concat(l.Causes, []eventstore.Envelope{l.Event}, l.Effects)...)
		}
		if err != nil {
			return err
		}
		return writeJSON(w, r, http.StatusOK, lineageView{
			Event: eventViewOf(l.Event), Causes: eventViews(l.Causes), Effects: eventViews(l.Effects),
			SearchedTo: l.SearchedTo, Head: l.Head,
		})
	}, nil
}
