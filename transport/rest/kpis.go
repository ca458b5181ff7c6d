package rest

import (
	"context"
	"net/http"

	"annals/domain/manufacturing/kpi"
	"annals/projections"
	"annals/projections/kpialerts"
	"annals/projections/kpis"
)

// KPIs reads the key figures.
type KPIs interface {
	// Groups gives at most limit groups of a client, ascending by key, whose keys come after one; "" begins.
	Groups(ctx context.Context, client string, by kpi.GroupBy, f kpis.Filter, after string, limit int) (kpis.Groups, error)
}

// Alerts reads the alerts, as Products does.
type Alerts interface {
	List(ctx context.Context, client string, f kpialerts.Filter, after int64, limit int) (projections.List[kpialerts.Alert], error)
}

// kpiQueries are the routes that show key figures and alerts.
func (s *server) kpiQueries() []*endpoint {
	return []*endpoint{
		getOfClient("/v1/kpis", "listKPIs", s.listKPIs),
		getOfClient("/v1/kpi-alerts", "listAlerts", s.listAlerts),
	}
}

// kpiView holds the key figures of a group as the API shows them.
type kpiView struct {
	Group string `json:"group"`
	kpi.Figures
}

// listKPIs serves groups in the order of their keys, which also lead from page to page.
func (s *server) listKPIs(r *request) (answer, error) {
	q := &r.query
	var filter kpis.Filter
	filter.From, filter.To = q.span()
	by := or(kpi.GroupBy(q.enum("group_by", texts(kpi.GroupBys())...)), kpi.ByDay)
	filter.Line, filter.Shift, filter.WorkOrderID = q.text("line"), q.text("shift"), q.id("work_order_id")
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("kpis", r.who.Client, string(by), string(filter.From), string(filter.To), filter.Line,
			filter.Shift, optionalID(filter.WorkOrderID))
		after, err := cursor.afterText(scope)
		if err != nil {
			return err
		}
		var found kpis.Groups
		err = s.read(w, r, kpis.Spec().Name, func(ctx context.Context) (int64, error) {
			found, err = s.config.KPIs.Groups(ctx, r.who.Client, by, filter, after, limit)
			return found.Position, err
		})
		if err != nil {
			return err
		}
		page := list[kpiView]{Items: make([]kpiView, len(found.Items))}
		for i, group := range found.Items {
			page.Items[i] = kpiView{Group: group.Key, Figures: group.Figures}
		}
		if found.Next != "" {
			next := encodeTextCursor(scope, found.Next)
			page.NextCursor = &next
		}
		return writeJSON(w, r, http.StatusOK, page)
	}, nil
}

// alertView is an alert as the API shows it.
type alertView struct {
	ID          string        `json:"id"`
	KPI         kpi.Name      `json:"kpi"`
	Value       string        `json:"value"`
	Limit       string        `json:"limit"`
	Direction   kpi.Direction `json:"direction"`
	Period      string        `json:"period"`
	Line        *string       `json:"line"`
	ViolatedAt  timestamp     `json:"violated_at"`
	RecoveredAt *timestamp    `json:"recovered_at"`
	Position    int64         `json:"position"`
}

func alertRow(a kpialerts.Alert) alertView {
	view := alertView{
		ID: a.ID.String(), KPI: a.KPI, Value: a.ValueText(), Limit: a.Limit.String(), Direction: a.Direction,
		Period: a.Period, Line: a.Line, ViolatedAt: timestamp(a.ViolatedAt), Position: a.Position,
	}
	if a.RecoveredAt != nil {
		recovered := timestamp(*a.RecoveredAt)
		view.RecoveredAt = &recovered
	}
	return view
}

func (s *server) listAlerts(r *request) (answer, error) {
	q := &r.query
	filter := kpialerts.Filter{
		KPI: kpi.Name(q.enum("kpi", texts(kpi.Names())...)), Line: q.text("line"), From: q.date("from"), To: q.date("to"),
	}
	status := q.enum("status", "open", "recovered")
	if status != "" {
		open := status == "open"
		filter.Open = &open
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("kpi-alerts", r.who.Client, string(filter.KPI), filter.Line, status, string(filter.From),
			string(filter.To))
		return serveList(s, w, r, kpialerts.Spec().Name, scope, cursor, alertRow,
			func(ctx context.Context, after int64) (projections.List[kpialerts.Alert], error) {
				return s.config.Alerts.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}
