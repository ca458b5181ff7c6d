package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"annals/domain"
	"annals/domain/operations"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/transport/auditfile"
)

// AuditLog reads the audit log.
type AuditLog interface {
	// List gives at most limit entries after a position.
	List(ctx context.Context, client string, f auditlog.Filter, after int64, limit int) (projections.List[auditlog.Entry], error)
	// Export gives every entry from after (exclusive) to upTo (inclusive).
	Export(ctx context.Context, client string, f auditlog.Filter, after, upTo int64, each func(auditlog.Entry) error) error
}

// auditMedia are the forms in which the audit log is served.
var auditMedia = []string{mediaJSON, mediaCSV, mediaNDJSON}

func (s *server) auditEndpoints() []*endpoint {
	return []*endpoint{
		getRecorded("/v1/audit-log", "listAuditLog", auditMedia, s.listAuditLog),
		getRecorded("/v1/audit-log/rows", "listRowEvents", []string{mediaJSON}, s.listRowEvents),
	}
}

func (s *server) listAuditLog(r *request) (answer, error) {
	q := &r.query
	filter := auditlog.Filter{
		ActorID: q.actor("actor_id"), EventTypes: q.list("event_type"), AggregateType: q.text("aggregate_type"),
		AggregateID: q.id("aggregate_id"), CorrelationID: q.text("correlation_id"), From: q.time("from"), To: q.time("to"),
	}
	limit, limited := q.optionalLimit()
	cursor := q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("audit-log", r.who.Client, filter.ActorID, strings.Join(filter.EventTypes, ","), filter.AggregateType,
			optionalID(filter.AggregateID), filter.CorrelationID, filter.From.Format(time.RFC3339Nano),
			filter.To.Format(time.RFC3339Nano))
		if r.media != mediaJSON {
			if !limited {
				limit = unlimited
			}
			return s.exportAuditLog(w, r, scope, cursor, filter, limit)
		}
		return serveList(s, w, r, auditlog.Spec().Name, scope, cursor, auditfile.RowOf,
			func(ctx context.Context, after int64) (projections.List[auditlog.Entry], error) {
				page, err := s.config.AuditLog.List(ctx, r.who.Client, filter, after, limit)
				if err == nil && page.Position >= r.minPosition { // else there is another answer
					err = s.recordEntries(r, page.Items)
				}
				return page, err
			})
	}, nil
}

// recordEntries records that rows of the audit log were read, before they are shown.
func (s *server) recordEntries(r *request, rows []auditlog.Entry) error {
	var found operations.Delivered
	for _, row := range rows {
		found.Add(1, row.Position, row.Position)
	}
	return s.recordRows(r, found)
}

// exportAuditLog writes every entry that matches, as it was when the export began.
func (s *server) exportAuditLog(
	w http.ResponseWriter, r *request, scope string, cursor cursor, f auditlog.Filter, limit int,
) error {
	after, err := cursor.after(scope)
	if err != nil {
		return err
	}
	var upTo int64
	err = s.read(w, r, auditlog.Spec().Name, func(ctx context.Context) (int64, error) {
		page, err := s.config.AuditLog.List(ctx, r.who.Client, f, math.MaxInt64, 1) // the position alone
		upTo = page.Position
		return upTo, err
	})
	if err != nil {
		return err
	}
	exported, err := s.startExport(r, after, &upTo)
	if err != nil {
		return err
	}
	defer exported.done()
	media, write := mediaNDJSON, auditfile.Row.AppendJSON
	if r.media == mediaCSV {
		media = mediaCSV + "; charset=utf-8; header=present"
		write = func(row auditfile.Row, b *bytes.Buffer) error {
			row.AppendCSV(b)
			return nil
		}
		w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="annals-audit-log-%d.csv"`, upTo))
	}
	out := s.startLines(w, r, media, exported)
	if r.media == mediaCSV {
		auditfile.AppendHeader(&out.buffer)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if upTo > after {
		err = s.config.AuditLog.Export(r.Context(), r.who.Client, f, after, upTo, func(e auditlog.Entry) error {
			if limit--; limit < 0 {
				return errEnough
			}
			exported.row(e.Position)
			if err := write(auditfile.RowOf(e), &out.buffer); err != nil {
				return err
			}
			return out.written()
		})
	}
	if err != nil && !errors.Is(err, errEnough) {
		w.Header().Del("Content-Disposition") // a problem is no file
		return err
	}
	return out.finish()
}

// optionalID is an id's text for a cursor's scope; "" when there is none.
func optionalID(id *domain.ID) string {
	if id == nil {
		return ""
	}
	return id.String()
}
