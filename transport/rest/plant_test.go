package rest_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// newPlant is newServer with the policies of the shop floor.
func newPlant(t *testing.T, change ...func(*bench)) *bench {
	t.Helper()
	return newServerWith(t, readModels(), plantPolicies, change...)
}

// workOrder creates a work order, takes it through states and gives its id.
func (b *bench) workOrder(number string, to ...string) string {
	b.t.Helper()
	id := b.send("POST", "/v1/work-orders", fmt.Sprintf(
		`{"number":%q,"product_code":"P-7","quantity_ordered":500,"received_on":"2026-01-05","due_on":"2026-01-30"}`, number)).is(201).text("id")
	for _, status := range to {
		b.transition(id, status)
	}
	return id
}

func (b *bench) transition(order, to string) *reply {
	b.t.Helper()
	return b.send("POST", "/v1/work-orders/"+order+"/transitions", fmt.Sprintf(`{"to":%q}`, to)).is(200)
}

// entryBody is a production entry of a line on a day: 8 hours scheduled and run, 5 people, an hour a piece.
func entryBody(order, line, day string, units, defects int) string {
	return fmt.Sprintf(`{"work_order_id":%q,"line":%q,"shift":"A","production_date":%q,"units_produced":%d,"defect_count":%d,`+
		`"run_time_hours":"8","scheduled_hours":"8","employees_assigned":5,"ideal_cycle_time_hours":"0.1"}`,
		order, line, day, units, defects)
}

// entry records a production entry and gives its id.
func (b *bench) entry(order, line, day string, units, defects int) string {
	b.t.Helper()
	return b.send("POST", "/v1/production-entries", entryBody(order, line, day, units, defects)).is(201).text("id")
}

// inspection records a final inspection and gives its id.
func (b *bench) inspection(order, day string, passed, defective int) string {
	b.t.Helper()
	return b.send("POST", "/v1/quality-inspections", fmt.Sprintf(
		`{"work_order_id":%q,"stage":"final","inspected_on":%q,"units_inspected":%d,"units_passed":%d,"units_defective":%d}`,
		order, day, passed+defective, passed, defective)).is(201).text("id")
}

// hold puts a work order on hold over 25 pieces and gives the hold's id.
func (b *bench) hold(order string) string {
	b.t.Helper()
	return b.send("POST", "/v1/holds", fmt.Sprintf(
		`{"work_order_id":%q,"category":"material","reason":"awaiting resin","quantity":25}`, order)).is(201).text("id")
}

// watched waits until the watch over key figures has handled the log as it is now. What it states comes after.
func (b *bench) watched() {
	b.t.Helper()
	check(b.t, b.group.WaitFor(b.t.Context(), "kpi_watch", b.head()))
}

// ofPlant gives the parameters with which an operation of manufacturing succeeds; nil for any other.
func (w *world) ofPlant(o operation) map[string]string {
	w.t.Helper()
	number := "FIX-" + strconv.Itoa(w.n)
	switch {
	case strings.HasSuffix(o.path, "/transitions"):
		return map[string]string{"id": w.workOrder(number, "released")}
	case strings.HasPrefix(o.path, "/v1/work-orders"):
		order := w.workOrder(number)
		return map[string]string{"id": order, "body_id": w.inspection(order, "2026-01-07", 9, 1)}
	case strings.HasPrefix(o.path, "/v1/production-entries"), strings.HasPrefix(o.path, "/v1/kpis"):
		order := w.workOrder(number, "released", "in_progress")
		w.inspection(order, "2026-01-07", 9, 1)
		return map[string]string{"body_id": order, "id": w.entry(order, "L1", "2026-01-06", 200, 3)}
	case strings.HasPrefix(o.path, "/v1/quality-inspections"):
		order := w.workOrder(number)
		return map[string]string{"body_id": order, "id": w.inspection(order, "2026-01-07", 9, 1)}
	case strings.HasPrefix(o.path, "/v1/holds"):
		order := w.workOrder(number)
		return map[string]string{"body_id": order, "id": w.hold(order)}
	case strings.HasPrefix(o.path, "/v1/kpi-"):
		for _, line := range []string{"", "?line=L1"} {
			w.send("PUT", "/v1/kpi-thresholds/oee"+line, `{"direction":"min","limit":"99.99","period":"day"}`).is(200)
		}
		order := w.workOrder(number, "released", "in_progress")
		w.entry(order, "L1", "2026-01-06", 100, 50)
		if o.id == "listAlerts" {
			w.watched()
		}
		return map[string]string{"kpi": "oee"}
	default:
		return nil
	}
}
