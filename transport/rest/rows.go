package rest

import (
	"context"
	"encoding/csv"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore"
)

// rowEvents are events that made a row. next is what to go on after; 0: there are no more.
type rowEvents struct {
	events []eventstore.Envelope
	next   int64
}

// rowTrace gives the events that made a row, after what next was. A row that there never was is a not-found refusal.
type rowTrace func(ctx context.Context, client string, after int64, limit int) (rowEvents, error)

// rowSource says how the rows of a read model are found in the log.
type rowSource struct {
	form  string // of a key, for whoever sent another one
	trace func(s *server, key string) (trace rowTrace, ok bool)
}

// rowSources are the read models whose rows can be asked for.
var rowSources = map[string]rowSource{
	"audit_log":           {"a position", (*server).traceEntry},
	"products":            rowsOfStreams("product"),
	"carts":               rowsOfStreams("cart"),
	"orders":              rowsOfStreams("order"),
	"work_orders":         rowsOfStreams("work_order"),
	"production_entries":  rowsOfStreams("production_entry"),
	"quality_inspections": rowsOfStreams("quality_inspection"),
	"holds":               rowsOfStreams("hold"),
	"kpi_thresholds":      rowsOfStreams("kpi"),
	"webhooks":            rowsOfStreams("webhook"),
	"kpi_alerts":          {"a UUID", (*server).traceAlert},
	"kpis":                {"day,line,shift,work_order_id as a record of CSV", (*server).traceCell},
}

// maxRowKey is more than any key has.
const maxRowKey = 1000

// listRowEvents serves the events that made one row of a read model.
func (s *server) listRowEvents(r *request) (answer, error) {
	q := &r.query
	tables := slices.Sorted(maps.Keys(rowSources))
	table := q.enum("table", tables...)
	if table == "" {
		q.fail("table", "must be one of %s", strings.Join(tables, ", "))
	}
	key, _ := q.take("key")
	source, ok := rowSources[table]
	var trace rowTrace
	if ok = ok && key != "" && len(key) <= maxRowKey; ok {
		trace, ok = source.trace(s, key)
	}
	if !ok {
		q.fail("key", "must be %s", or(source.form, "the key of a row"))
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("rows", r.who.Client, table, key)
		after, err := cursor.after(scope)
		if err != nil {
			return err
		}
		if err := s.readLog(r); err != nil {
			return err
		}
		found, err := trace(r.Context(), r.who.Client, after, limit)
		if err == nil {
			err = s.recordRead(r, found.events...)
		}
		if err != nil {
			return err
		}
		page := list[eventView]{Items: eventViews(found.events)}
		if found.next > 0 {
			next := encodeCursor(scope, found.next)
			page.NextCursor = &next
		}
		return writeJSON(w, r, http.StatusOK, page)
	}, nil
}

func noRow() error { return notFound("there never was a row with this key") }

// rowsOfStreams is the source of a read model with one row for each stream, whose key is the stream's id.
func rowsOfStreams(aggregateType string) rowSource {
	return rowSource{form: "a UUID", trace: func(s *server, key string) (rowTrace, bool) {
		id, err := domain.ParseID(key)
		return func(ctx context.Context, client string, after int64, limit int) (rowEvents, error) {
			page, err := s.config.Events.Stream(ctx, client, aggregateType, id, after, limit)
			found := rowEvents{events: page.Events}
			if page.More {
				found.next = page.Events[len(page.Events)-1].AggregateVersion
			}
			return found, err
		}, err == nil
	}}
}

// traceEntry finds the event of an entry of the audit log.
func (s *server) traceEntry(key string) (rowTrace, bool) {
	position, err := parsePosition(key)
	return func(ctx context.Context, client string, _ int64, _ int) (rowEvents, error) {
		e, err := s.config.Events.Event(ctx, client, position)
		return rowEvents{events: []eventstore.Envelope{e}}, err
	}, err == nil
}

// traceAlert finds the violation that an alert is called after, and the recovery or removal that ended it.
func (s *server) traceAlert(key string) (rowTrace, bool) {
	id, err := domain.ParseID(key)
	return func(ctx context.Context, client string, _ int64, _ int) (rowEvents, error) {
		start, err := s.config.Events.ByEventID(ctx, client, id)
		if err != nil {
			return rowEvents{}, err
		}
		if start.EventType != (kpi.ThresholdViolated{}).EventType() {
			return rowEvents{}, noRow()
		}
		end, err := s.config.Events.Page(ctx, eventstore.EventFilter{
			Client: client, AggregateType: start.AggregateType, AggregateID: &start.AggregateID,
			EventTypes: []string{kpi.ThresholdRecovered{}.EventType(), kpi.ThresholdRemoved{}.EventType()},
		}, start.Position, 1)
		return rowEvents{events: append([]eventstore.Envelope{start}, end.Events...)}, err
	}, err == nil
}

// parseCell reads the key of a cell of the key figures: the day, the line, the shift and the work order, as one record of
// CSV. Line and shift are empty where inspections and deliveries count.
func parseCell(key string) (cell kpi.Cell, ok bool) {
	records := csv.NewReader(strings.NewReader(key))
	records.FieldsPerRecord = 4
	fields, err := records.Read()
	if err != nil {
		return cell, false
	}
	if _, err := records.Read(); err != io.EOF {
		return cell, false
	}
	day, dayErr := domain.ParseDate(fields[0])
	order, orderErr := domain.ParseID(fields[3])
	return kpi.Cell{Day: day, Line: fields[1], Shift: fields[2], WorkOrder: order}, dayErr == nil && orderErr == nil
}

// cellPages is how many pages of the log an answer looks at for the events of a cell.
const cellPages = 40

// traceCell finds the events that count in a cell of the key figures. Nothing leads from a cell to its events, so that they
// are looked for among those recorded since its work order was created, some pages at a time.
func (s *server) traceCell(key string) (rowTrace, bool) {
	cell, ok := parseCell(key)
	return func(ctx context.Context, client string, after int64, limit int) (found rowEvents, err error) {
		first := after == 0
		if first {
			order, err := s.config.Events.Stream(ctx, client, "work_order", cell.WorkOrder, 0, 1)
			if err != nil {
				return rowEvents{}, err
			}
			after = order.Events[0].Position
		}
		filter := eventstore.EventFilter{Client: client, EventTypes: []string{
			production.Created{}.EventType(), production.Corrected{}.EventType(), inspection.Recorded{}.EventType(),
			workorder.StatusChanged{}.EventType(),
		}}
		for range cellPages {
			page, err := s.config.Events.Page(ctx, filter, after, maxLimit)
			if err != nil {
				return rowEvents{}, err
			}
			for _, e := range page.Events {
				if !s.countsIn(e, cell) {
					continue
				}
				if found.events = append(found.events, e); len(found.events) == limit && e.Position < page.Head {
					found.next = e.Position
					return found, nil
				}
			}
			if after = page.NextAfter; after >= page.Head {
				if first && len(found.events) == 0 {
					return found, noRow()
				}
				return found, nil
			}
		}
		found.next = after
		return found, nil
	}, ok
}

// countsIn reports whether an event counts in a cell. One that can't be decoded made no row.
func (s *server) countsIn(e eventstore.Envelope, cell kpi.Cell) bool {
	payload, err := s.config.Registry.Decode(e.EventType, e.SchemaVersion, e.Data)
	if err != nil {
		return false
	}
	for _, c := range manufacturing.Contributions(e.AggregateID, payload) {
		if c.Cell == cell {
			return true
		}
	}
	return false
}
