package rest

import (
	"context"
	"net/http"

	"annals/domain"
	"annals/projections"
)

// list is the JSON form of a page.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// serveList answers with a page of a read model. scope names the list, the client and every filter.
func serveList[Row, View any](
	s *server, w http.ResponseWriter, r *request, model, scope string, cursor cursor, view func(Row) View,
	query func(ctx context.Context, after int64) (projections.List[Row], error),
) error {
	after, err := cursor.after(scope)
	if err != nil {
		return err
	}
	var found projections.List[Row]
	err = s.read(w, r, model, func(ctx context.Context) (int64, error) {
		found, err = query(ctx, after)
		return found.Position, err
	})
	if err != nil {
		return err
	}
	page := list[View]{Items: make([]View, len(found.Items))}
	for i, row := range found.Items {
		page.Items[i] = view(row)
	}
	if found.Next > 0 {
		next := encodeCursor(scope, found.Next)
		page.NextCursor = &next
	}
	return writeJSON(w, r, http.StatusOK, page)
}

// versioned is what has an ETag.
type versioned interface{ version() int64 }

// serveOne answers with one resource of a read model, whose id is in the path.
func serveOne[Row any, View versioned](
	s *server, w http.ResponseWriter, r *request, model, what string, view func(Row) View,
	query func(ctx context.Context, client string, id domain.ID) (Row, int64, error),
) error {
	id, err := r.resource("id", what)
	if err != nil {
		return err
	}
	return serveFound(s, w, r, model, view, func(ctx context.Context) (Row, int64, error) {
		return query(ctx, r.who.Client, id)
	})
}

// serveFound answers with the one resource that a query of a read model finds.
func serveFound[Row any, View versioned](
	s *server, w http.ResponseWriter, r *request, model string, view func(Row) View,
	query func(ctx context.Context) (Row, int64, error),
) error {
	var row Row
	err := s.read(w, r, model, func(ctx context.Context) (position int64, err error) {
		row, position, err = query(ctx)
		return position, err
	})
	if err != nil {
		return err
	}
	shown := view(row)
	setETag(w.Header(), shown.version())
	if noneMatch(r.Header["If-None-Match"], shown.version()) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(w, r, http.StatusOK, shown)
}
