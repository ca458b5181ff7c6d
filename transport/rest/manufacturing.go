package rest

import (
	"net/http"
	"slices"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/transport/rest/jsonbody"
)

// Paths of the resources of manufacturing.
const (
	workOrdersPath  = "/v1/work-orders"
	entriesPath     = "/v1/production-entries"
	inspectionsPath = "/v1/quality-inspections"
	holdsPath       = "/v1/holds"
)

// manufacturingCommands are the routes that change work orders, production entries, inspections and holds.
func (s *server) manufacturingCommands() []*endpoint {
	var endpoints []*endpoint
	for _, c := range []command{
		{path: workOrdersPath, name: "createWorkOrder", location: workOrdersPath + "/", decode: createWorkOrder},
		{path: workOrdersPath + "/{id}/transitions", name: "transitionWorkOrder", decode: transitionWorkOrder},
		{path: workOrdersPath + "/{id}/qc-approval", name: "approveQC", decode: approveQC},
		{path: entriesPath, name: "recordProduction", location: entriesPath + "/", decode: recordProduction},
		{path: entriesPath + "/{id}/corrections", name: "correctProduction", decode: correctProduction},
		{path: inspectionsPath, name: "recordInspection", location: inspectionsPath + "/", decode: recordInspection},
		{path: holdsPath, name: "createHold", location: holdsPath + "/", decode: createHold},
		{path: holdsPath + "/{id}/resume", name: "resumeHold", decode: resumeHold},
	} {
		c.method, c.body = http.MethodPost, bodyRequired
		endpoints = append(endpoints, s.command(c))
	}
	return endpoints
}

func createWorkOrder(_ *request, f *jsonbody.Fields) (useCase, error) {
	cmd := manufacturing.CreateWorkOrderCommand{
		Number: f.String("number"), ProductCode: f.String("product_code"), CustomerName: f.OptionalString("customer_name"),
		QuantityOrdered: f.OptionalInteger("quantity_ordered"), ReceivedOn: f.String("received_on"), DueOn: f.String("due_on"),
		IdealCycleTimeHours: f.OptionalString("ideal_cycle_time_hours"), Workflow: f.OptionalString("workflow"),
	}
	if closes := f.OptionalBool("close_on_ship"); closes != nil {
		cmd.CloseOnShip = *closes
	}
	return uses(f, cmd, manufacturing.CreateWorkOrder), nil
}

func transitionWorkOrder(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "work order")
	cmd := manufacturing.TransitionWorkOrderCommand{WorkOrderID: id, To: f.String("to"), Notes: f.OptionalString("notes")}
	return uses(f, cmd, manufacturing.TransitionWorkOrder), missing
}

func approveQC(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "work order")
	cmd := manufacturing.ApproveQCCommand{
		WorkOrderID: id, InspectionID: f.OptionalString("inspection_id"), Notes: f.OptionalString("notes"),
	}
	return uses(f, cmd, manufacturing.ApproveQC), missing
}

// count is an optional count, 0 without one.
func count(f *jsonbody.Fields, name string) int64 {
	if n := f.OptionalInteger(name); n != nil {
		return *n
	}
	return 0
}

func recordProduction(_ *request, f *jsonbody.Fields) (useCase, error) {
	cmd := manufacturing.RecordProductionCommand{
		WorkOrderID: f.String("work_order_id"), Line: f.String("line"), Shift: f.String("shift"),
		ProductionDate: f.String("production_date"), UnitsProduced: f.OptionalInteger("units_produced"),
		DefectCount: count(f, "defect_count"), ScrapCount: count(f, "scrap_count"), ReworkCount: count(f, "rework_count"),
		RunTimeHours: f.String("run_time_hours"), ScheduledHours: f.String("scheduled_hours"),
		DowntimeHours:       f.OptionalString("downtime_hours"),
		EmployeesAssigned:   f.OptionalInteger("employees_assigned"),
		IdealCycleTimeHours: f.OptionalString("ideal_cycle_time_hours"),
	}
	return uses(f, cmd, manufacturing.RecordProduction), nil
}

// correctable are the members of a correction beside its reason.
var correctable = []string{
	"line", "shift", "production_date", "units_produced", "defect_count", "scrap_count", "rework_count", "run_time_hours",
	"scheduled_hours", "downtime_hours", "employees_assigned", "ideal_cycle_time_hours",
}

func correctProduction(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "production entry")
	cmd := manufacturing.CorrectProductionCommand{
		EntryID: id, Line: f.OptionalString("line"), Shift: f.OptionalString("shift"),
		ProductionDate: f.OptionalString("production_date"), UnitsProduced: f.OptionalInteger("units_produced"),
		DefectCount: f.OptionalInteger("defect_count"), ScrapCount: f.OptionalInteger("scrap_count"),
		ReworkCount: f.OptionalInteger("rework_count"), RunTimeHours: f.OptionalString("run_time_hours"),
		ScheduledHours: f.OptionalString("scheduled_hours"), DowntimeHours: f.OptionalString("downtime_hours"),
		EmployeesAssigned:   f.OptionalInteger("employees_assigned"),
		IdealCycleTimeHours: f.OptionalString("ideal_cycle_time_hours"),
		Reason:              f.String("reason"),
	}
	findings := cmd.Validate()
	if slices.ContainsFunc(correctable, f.Has) { // one that couldn't be read isn't one that is missing
		findings = slices.DeleteFunc(findings, func(e domain.FieldError) bool { return e.Pointer == "" })
	}
	f.Judge(findings)
	return runs(cmd, manufacturing.CorrectProduction), missing
}

func recordInspection(_ *request, f *jsonbody.Fields) (useCase, error) {
	cmd := manufacturing.RecordInspectionCommand{
		WorkOrderID: f.String("work_order_id"), Stage: f.String("stage"), InspectedOn: f.OptionalString("inspected_on"),
		UnitsInspected: f.OptionalInteger("units_inspected"), UnitsPassed: f.OptionalInteger("units_passed"),
		UnitsDefective: f.OptionalInteger("units_defective"),
		UnitsReworked:  count(f, "units_reworked"), UnitsScrapped: count(f, "units_scrapped"),
		DefectCount: count(f, "defect_count"), OpportunitiesPerUnit: f.OptionalInteger("opportunities_per_unit"),
		Inspector: f.OptionalString("inspector"),
	}
	return uses(f, cmd, manufacturing.RecordInspection), nil
}

func createHold(_ *request, f *jsonbody.Fields) (useCase, error) {
	cmd := manufacturing.CreateHoldCommand{
		WorkOrderID: f.String("work_order_id"), Category: f.String("category"), Reason: f.String("reason"),
		Quantity: f.OptionalInteger("quantity"),
	}
	return uses(f, cmd, manufacturing.CreateHold), nil
}

func resumeHold(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "hold")
	cmd := manufacturing.ResumeHoldCommand{
		HoldID: id, QuantityReleased: count(f, "quantity_released"), QuantityScrapped: count(f, "quantity_scrapped"),
		Resolution: f.OptionalString("resolution"),
	}
	return uses(f, cmd, manufacturing.ResumeHold), missing
}
