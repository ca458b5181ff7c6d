package rest

import (
	"context"
	"net/http"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/kpithresholds"
	"annals/transport/rest/jsonbody"
)

// Thresholds reads the thresholds of key figures.
type Thresholds interface {
	// Get gives the threshold of a figure and a line, nil for the whole production, or a not-found refusal, and the position
	// that the read model had applied.
	Get(ctx context.Context, client string, name kpi.Name, line *string) (kpithresholds.Threshold, int64, error)
	// List gives at most limit thresholds that are set, ascending by the position that created them.
	List(ctx context.Context, client string, f kpithresholds.Filter, after int64, limit int) (projections.List[kpithresholds.Threshold], error)
}

const thresholdsPath = "/v1/kpi-thresholds"

// thresholdEndpoints are the routes of thresholds. One has no id in its path: the figure and the line name it.
func (s *server) thresholdEndpoints() []*endpoint {
	return []*endpoint{
		getOfClient(thresholdsPath, "listThresholds", s.listThresholds),
		getOfClient(thresholdsPath+"/{kpi}", "getThreshold", s.getThreshold),
		s.thresholdCommand(command{method: http.MethodPut, name: "setThreshold", body: bodyRequired}, setThreshold),
		s.thresholdCommand(command{method: http.MethodDelete, name: "removeThreshold", body: bodyOptional}, removeThreshold),
	}
}

// thresholdView is a threshold as the API shows it. One that was removed and set again is the same one.
type thresholdView struct {
	ID        domain.ID       `json:"id"`
	KPI       kpi.Name        `json:"kpi"`
	Direction kpi.Direction   `json:"direction"`
	Limit     decimal.Decimal `json:"limit"`
	Period    kpi.Period      `json:"period"`
	Line      *string         `json:"line"`
	Status    string          `json:"status"`
	Violated  bool            `json:"violated"`
	Version   int64           `json:"version"`
	UpdatedAt timestamp       `json:"updated_at"`
}

func (v thresholdView) version() int64 { return v.Version }

func thresholdOf(at eventstore.StateAt, state kpi.State) thresholdView {
	view := thresholdView{
		ID: at.ID, KPI: state.KPI, Direction: state.Direction, Limit: state.Limit, Period: state.Period,
		Line: state.Scope.Line, Status: "removed", Violated: state.Violated, Version: at.Version,
		UpdatedAt: timestamp(at.UpdatedAt),
	}
	if state.Active {
		view.Status = "active"
	}
	return view
}

func thresholdRow(row kpithresholds.Threshold) thresholdView {
	return thresholdOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), kpi.State{
		Active: row.Active, KPI: row.KPI, Direction: row.Direction, Limit: row.Limit, Period: row.Period,
		Scope: kpi.Scope{Line: row.Line}, Violated: row.Violated,
	})
}

func (s *server) listThresholds(r *request) (answer, error) {
	q := &r.query
	filter := kpithresholds.Filter{KPI: kpi.Name(q.enum("kpi", texts(kpi.Names())...)), Line: q.text("line")}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("kpi-thresholds", r.who.Client, string(filter.KPI), filter.Line)
		return serveList(s, w, r, kpithresholds.Spec().Name, scope, cursor, thresholdRow,
			func(ctx context.Context, after int64) (projections.List[kpithresholds.Threshold], error) {
				return s.config.Thresholds.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getThreshold(r *request) (answer, error) {
	line := r.query.optionalText("line")
	return func(w http.ResponseWriter) error {
		name := kpi.Name(r.vars["kpi"])
		if !name.Known() {
			return notFound("there is no such key figure")
		}
		return serveFound(s, w, r, kpithresholds.Spec().Name, thresholdRow,
			func(ctx context.Context) (kpithresholds.Threshold, int64, error) {
				return s.config.Thresholds.Get(ctx, r.who.Client, name, line)
			})
	}, nil
}

// thresholdCommand makes the route of a command on the threshold of a figure and, where the query string names one, a
// line.
func (s *server) thresholdCommand(
	c command, decode func(r *request, f *jsonbody.Fields, line *string) (useCase, error),
) *endpoint {
	c.path = thresholdsPath + "/{kpi}"
	endpoint := s.command(c)
	endpoint.prepare = func(r *request) (answer, error) {
		line := r.query.optionalText("line")
		c := c
		c.decode = func(r *request, f *jsonbody.Fields) (useCase, error) { return decode(r, f, line) }
		return func(w http.ResponseWriter) error { return s.execute(w, r, c) }, nil
	}
	return endpoint
}

// setThreshold takes the line from the body or the query string.
func setThreshold(r *request, f *jsonbody.Fields, line *string) (useCase, error) {
	cmd := manufacturing.SetThresholdCommand{
		KPI: r.vars["kpi"], Direction: f.String("direction"), Limit: f.String("limit"), Period: f.String("period"),
		Line: f.OptionalString("line"),
	}
	switch {
	case line == nil:
	case cmd.Line != nil && *cmd.Line != *line:
		f.Fault("line", "must be the line of the query string, or left out")
	default:
		cmd.Line = line
	}
	return uses(f, cmd, manufacturing.SetThreshold), nil
}

func removeThreshold(r *request, _ *jsonbody.Fields, line *string) (useCase, error) {
	return runs(manufacturing.RemoveThresholdCommand{KPI: r.vars["kpi"], Line: line}, manufacturing.RemoveThreshold), nil
}

// optionalText is text that may be left out; nil when it isn't sent.
func (q *query) optionalText(name string) *string {
	value := q.text(name) // not empty when it is sent and right
	if value == "" {
		return nil
	}
	return &value
}
