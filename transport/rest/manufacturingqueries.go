package rest

import (
	"context"
	"net/http"
	"time"

	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/projections"
	"annals/projections/holds"
	"annals/projections/inspections"
	"annals/projections/productionentries"
	"annals/projections/workorders"
)

// WorkOrders reads the work orders, as Products does.
type WorkOrders interface {
	Get(ctx context.Context, client string, id domain.ID) (workorders.WorkOrder, int64, error)
	List(ctx context.Context, client string, f workorders.Filter, after int64, limit int) (projections.List[workorders.WorkOrder], error)
}

// ProductionEntries reads the production entries, as Products does.
type ProductionEntries interface {
	Get(ctx context.Context, client string, id domain.ID) (productionentries.Entry, int64, error)
	List(ctx context.Context, client string, f productionentries.Filter, after int64, limit int) (projections.List[productionentries.Entry], error)
}

// Inspections reads the quality inspections, as Products does.
type Inspections interface {
	Get(ctx context.Context, client string, id domain.ID) (inspections.Inspection, int64, error)
	List(ctx context.Context, client string, f inspections.Filter, after int64, limit int) (projections.List[inspections.Inspection], error)
}

// Holds reads the holds, as Products does.
type Holds interface {
	Get(ctx context.Context, client string, id domain.ID) (holds.Hold, int64, error)
	List(ctx context.Context, client string, f holds.Filter, after int64, limit int) (projections.List[holds.Hold], error)
}

// manufacturingQueries are the routes that show work orders, production entries, inspections and holds.
func (s *server) manufacturingQueries() []*endpoint {
	return []*endpoint{
		getOfClient(workOrdersPath, "listWorkOrders", s.listWorkOrders),
		getOfClient(workOrdersPath+"/{id}", "getWorkOrder", s.getWorkOrder),
		getOfClient(workOrdersPath+"/{id}/transitions", "getTransitions", s.getTransitions),
		getOfClient(entriesPath, "listProductionEntries", s.listProductionEntries),
		getOfClient(entriesPath+"/{id}", "getProductionEntry", s.getProductionEntry),
		getOfClient(inspectionsPath, "listInspections", s.listInspections),
		getOfClient(inspectionsPath+"/{id}", "getInspection", s.getInspection),
		getOfClient(holdsPath, "listHolds", s.listHolds),
		getOfClient(holdsPath+"/{id}", "getHold", s.getHold),
	}
}

// getOfClient is a route that shows data of one client.
func getOfClient(path, name string, prepare prepare) *endpoint {
	return &endpoint{
		method: http.MethodGet, path: path, name: name, may: mayQuery, tenancy: oneClient, produces: []string{mediaJSON},
		prepare: prepare,
	}
}

func (s *server) listWorkOrders(r *request) (answer, error) {
	q := &r.query
	filter := workorders.Filter{
		Status: q.enum("status", texts(workorder.Statuses())...), Number: q.text("number"),
		From: q.date("from"), To: q.date("to"),
	}
	overdue := q.enum("overdue", "true", "false")
	if overdue != "" {
		yes := overdue == "true"
		filter.Overdue = &yes
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		filter.Today = domain.DateOf(time.Now())
		scope := cursorScope("work-orders", r.who.Client, filter.Status, filter.Number, overdue, string(filter.From),
			string(filter.To))
		return serveList(s, w, r, workorders.Spec().Name, scope, cursor, workOrderRow,
			func(ctx context.Context, after int64) (projections.List[workorders.WorkOrder], error) {
				return s.config.WorkOrders.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getWorkOrder(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, workorders.Spec().Name, "work order", workOrderRow, s.config.WorkOrders.Get)
	}, nil
}

func (s *server) getTransitions(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, workorders.Spec().Name, "work order", transitionsRow, s.config.WorkOrders.Get)
	}, nil
}

func (s *server) listProductionEntries(r *request) (answer, error) {
	q := &r.query
	filter := productionentries.Filter{
		WorkOrderID: q.id("work_order_id"), Line: q.text("line"), Shift: q.text("shift"),
		From: q.date("from"), To: q.date("to"),
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("production-entries", r.who.Client, optionalID(filter.WorkOrderID), filter.Line, filter.Shift,
			string(filter.From), string(filter.To))
		return serveList(s, w, r, productionentries.Spec().Name, scope, cursor, entryRow,
			func(ctx context.Context, after int64) (projections.List[productionentries.Entry], error) {
				return s.config.ProductionEntries.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getProductionEntry(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, productionentries.Spec().Name, "production entry", entryRow, s.config.ProductionEntries.Get)
	}, nil
}

func (s *server) listInspections(r *request) (answer, error) {
	q := &r.query
	filter := inspections.Filter{
		WorkOrderID: q.id("work_order_id"), Stage: q.enum("stage", texts(inspection.Stages())...),
		From: q.date("from"), To: q.date("to"),
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("quality-inspections", r.who.Client, optionalID(filter.WorkOrderID), filter.Stage,
			string(filter.From), string(filter.To))
		return serveList(s, w, r, inspections.Spec().Name, scope, cursor, inspectionRow,
			func(ctx context.Context, after int64) (projections.List[inspections.Inspection], error) {
				return s.config.Inspections.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getInspection(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, inspections.Spec().Name, "quality inspection", inspectionRow, s.config.Inspections.Get)
	}, nil
}

func (s *server) listHolds(r *request) (answer, error) {
	q := &r.query
	filter := holds.Filter{
		Status: q.enum("status", string(hold.StatusOpen), string(hold.StatusResumed)), WorkOrderID: q.id("work_order_id"),
		Category: q.text("category"), From: q.date("from"), To: q.date("to"),
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("holds", r.who.Client, filter.Status, optionalID(filter.WorkOrderID), filter.Category,
			string(filter.From), string(filter.To))
		return serveList(s, w, r, holds.Spec().Name, scope, cursor, holdRow,
			func(ctx context.Context, after int64) (projections.List[holds.Hold], error) {
				return s.config.Holds.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getHold(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, holds.Spec().Name, "hold", holdRow, s.config.Holds.Get)
	}, nil
}

// texts gives the text of names.
func texts[T ~string](names []T) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = string(name)
	}
	return list
}

func workOrderRow(row workorders.WorkOrder) workOrderView {
	state := workorder.State{
		Number: row.Number, ProductCode: row.ProductCode, CustomerName: row.CustomerName,
		QuantityOrdered: row.QuantityOrdered, ReceivedOn: row.ReceivedOn, DueOn: row.DueOn,
		IdealCycleTimeHours: row.IdealCycleTimeHours, Workflow: row.Workflow, CloseOnShip: row.CloseOnShip,
		Status: row.Status, QCApproved: row.QCApproved, OpenHolds: row.OpenHolds.Value, TimeOnHold: row.TimeOnHold,
		Output: workorder.Output{UnitsProduced: row.UnitsProduced, Defects: row.Defects, Scrap: row.Scrap},
	}
	if row.OnHoldSince != nil {
		state.OnHoldSince = *row.OnHoldSince
	}
	if row.ShippedAt != nil {
		state.ShippedAt = *row.ShippedAt
	}
	return workOrderOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), state, time.Now())
}

func transitionsRow(row workorders.WorkOrder) transitionsView {
	return transitionsView{
		Status: string(row.Status), Allowed: workorder.Allowed(row.Workflow, row.Status), orderVersion: row.Version,
	}
}

func entryRow(row productionentries.Entry) entryView {
	return entryOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), production.Entry{
		WorkOrderID: row.WorkOrderID, Line: row.Line, Shift: row.Shift, ProductionDate: row.ProductionDate,
		UnitsProduced: row.UnitsProduced, DefectCount: row.DefectCount, ScrapCount: row.ScrapCount,
		ReworkCount: row.ReworkCount, RunTimeHours: row.RunTimeHours, ScheduledHours: row.ScheduledHours,
		DowntimeHours: row.DowntimeHours, EmployeesAssigned: row.EmployeesAssigned,
		IdealCycleTimeHours: row.IdealCycleTimeHours, Estimated: row.Estimated,
	})
}

func inspectionRow(row inspections.Inspection) inspectionView {
	return inspectionOf(rowAt(row.ID, row.Version, row.CreatedAt, row.CreatedAt), inspection.Inspection{
		WorkOrderID: row.WorkOrderID, Stage: row.Stage, InspectedOn: row.InspectedOn,
		UnitsInspected: row.UnitsInspected, UnitsPassed: row.UnitsPassed, UnitsDefective: row.UnitsDefective,
		UnitsReworked: row.UnitsReworked, UnitsScrapped: row.UnitsScrapped, DefectCount: row.DefectCount,
		OpportunitiesPerUnit: row.OpportunitiesPerUnit, Inspector: row.Inspector,
	})
}

func holdRow(row holds.Hold) holdView {
	state := hold.State{
		WorkOrderID: row.WorkOrderID, Category: row.Category, Reason: row.Reason, Quantity: row.Quantity,
		Status: row.Status, Resolution: row.Resolution,
	}
	if row.Status == hold.StatusResumed {
		state.QuantityReleased, state.QuantityScrapped, state.HeldFor = *row.QuantityReleased, *row.QuantityScrapped, *row.HeldFor
	}
	return holdOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), state, time.Now())
}
