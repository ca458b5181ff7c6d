package rest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"annals/domain"
	"annals/eventstore"
)

const unlimited = int(^uint(0) >> 1)

// errEnough ends a scan that has given what was asked for.
var errEnough = errors.New("enough")

// streamEvents writes events up to the present head, one a line, and ends.
func (s *server) streamEvents(w http.ResponseWriter, r *request, f eventstore.EventFilter, after int64, limit int) error {
	head, err := s.config.Events.Head(r.Context())
	if err != nil {
		return err
	}
	exported, err := s.startExport(r, after, &head)
	if err != nil {
		return err
	}
	defer exported.done()
	w.Header().Set(headerPosition, strconv.FormatInt(head, 10))
	lines := s.startLines(w, r, mediaNDJSON, exported)
	if head <= after || r.Method == http.MethodHead {
		return lines.finish()
	}
	err = s.config.Events.Scan(r.Context(), f, after, head, func(e eventstore.Envelope) error {
		if limit--; limit < 0 {
			return errEnough
		}
		exported.row(e.Position)
		return lines.write(eventViewOf(e))
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return lines.finish()
}

// streamOf names a stream as a client sees it.
type streamOf struct {
	client, aggregateType string
	id                    domain.ID
}

// streamVersions writes the events of one stream, one a line.
func (s *server) streamVersions(w http.ResponseWriter, r *request, of streamOf, after int64, limit int) error {
	exported, err := s.startExport(r, after, nil)
	if err != nil {
		return err
	}
	defer exported.done()
	lines := s.startLines(w, r, mediaNDJSON, exported)
	if r.Method == http.MethodHead {
		return lines.finish()
	}
	for limit > 0 {
		page, err := s.config.Events.Stream(r.Context(), of.client, of.aggregateType, of.id, after, min(limit, maxLimit))
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			exported.row(e.Position)
			if err := lines.write(eventViewOf(e)); err != nil {
				return err
			}
			after = e.AggregateVersion
		}
		if limit -= len(page.Events); !page.More || len(page.Events) == 0 {
			break
		}
	}
	return lines.finish()
}

// lines writes an answer of any length in constant memory, a line or more at a time. The header goes out with the first
// flush, so that an error before it still becomes a problem.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	request context.Context
	stop    context.Context
	recheck func() error // whether the caller may still have it
	checked time.Time
	buffer  bytes.Buffer
	export  *export
}

const (
	flushBytes  = 32 << 10
	flushWithin = 60 * time.Second // for the caller to take what is flushed
)

func (s *server) startLines(w http.ResponseWriter, r *request, media string, e *export) *lines {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	return &lines{
		w: w, control: http.NewResponseController(w), request: r.Context(), stop: s.stop,
		recheck: func() error { return s.recheck(r) }, checked: time.Now(), export: e,
	}
}

// write adds a value's JSON and a line feed.
func (l *lines) write(v any) error {
	if err := encode(&l.buffer, v); err != nil {
		return err
	}
	return l.written()
}

// written sends what is there once it is worth it.
func (l *lines) written() error {
	if l.buffer.Len() < flushBytes {
		return nil
	}
	return l.flush()
}

func (l *lines) flush() error {
	if l.stop.Err() != nil {
		return eventstore.ErrClosed
	}
	if now := time.Now(); now.Sub(l.checked) >= recheckAfter {
		if err := l.recheck(); err != nil {
			return err
		}
		l.checked = now
	}
	if err := l.control.SetWriteDeadline(time.Now().Add(flushWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := l.w.Write(l.buffer.Bytes())
	l.buffer.Reset()
	if err == nil {
		err = l.control.Flush() // what counts as handed out has left
	}
	if gone := l.request.Err(); err != nil && gone != nil {
		return gone // whoever asked went away, or took nothing for too long
	}
	if err == nil {
		l.export.flushed()
	}
	return err
}

// finish writes what is left. An answer without lines is an empty one.
func (l *lines) finish() error {
	if l.buffer.Len() == 0 {
		l.w.WriteHeader(http.StatusOK)
	} else if err := l.flush(); err != nil {
		return err
	}
	l.export.complete = true
	return nil
}
