package rest_test

import (
	"strings"
	"testing"
)

// floor fills the paths and bodies of the tables below: an order in progress with an entry, one on hold, a hold that is
// open and one that is resumed, and an inspection.
type floor struct{ order, onHold, entry, inspection, hold, resumed string }

func (f floor) in(s string) string {
	return strings.NewReplacer("{order}", f.order, "{onhold}", f.onHold, "{entry}", f.entry, "{inspection}", f.inspection,
		"{hold}", f.hold, "{resumed}", f.resumed, "{none}", "018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f").Replace(s)
}

func fillFloor(b *bench) floor {
	f := floor{order: b.workOrder("WO-1", "released", "in_progress"), onHold: b.workOrder("WO-2")}
	f.entry, f.inspection = b.entry(f.order, "L1", "2026-01-06", 10, 0), b.inspection(f.order, "2026-01-07", 9, 1)
	f.resumed, f.hold = b.hold(f.onHold), b.hold(f.onHold)
	b.send("POST", "/v1/holds/"+f.resumed+"/resume", `{"quantity_released":25}`).is(200)
	return f
}

const (
	goodOrder      = `{"number":"WO-9","product_code":"P","quantity_ordered":1,"received_on":"2026-01-05","due_on":"2026-01-30"}`
	goodEntry      = `{"work_order_id":"{order}","line":"L","shift":"A","production_date":"2026-01-06","units_produced":1,"run_time_hours":"1","scheduled_hours":"1","employees_assigned":1}`
	goodInspection = `{"work_order_id":"{order}","stage":"final","units_inspected":2,"units_passed":1,"units_defective":1}`
	goodHold       = `{"work_order_id":"{order}","category":"c","reason":"r","quantity":1}`
)

// with replaces a part of a good body.
func with(body, old, other string) string {
	if !strings.Contains(body, old) {
		panic(body + " has no " + old)
	}
	return strings.Replace(body, old, other, 1)
}

func TestMalformedManufacturingRequests(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fillFloor(b)
	tests := map[string]struct{ method, path, body string }{
		"no body":                  {"POST", "/v1/work-orders", ""},
		"array":                    {"POST", "/v1/production-entries", `[]`},
		"duplicate":                {"POST", "/v1/holds", `{"quantity":1,"quantity":2}`},
		"trailing":                 {"POST", "/v1/quality-inspections", `{}x`},
		"no body of an approval":   {"POST", "/v1/work-orders/{order}/qc-approval", ""},
		"no body of a resume":      {"POST", "/v1/holds/{hold}/resume", ""},
		"syntax before existence":  {"POST", "/v1/holds/{none}/resume", `[]`},
		"query of a command":       {"POST", "/v1/work-orders?line=L1", goodOrder},
		"status":                   {"GET", "/v1/work-orders?status=lost", ""},
		"overdue":                  {"GET", "/v1/work-orders?overdue=yes", ""},
		"empty overdue":            {"GET", "/v1/work-orders?overdue=", ""},
		"empty number":             {"GET", "/v1/work-orders?number=", ""},
		"line of orders":           {"GET", "/v1/work-orders?line=L1", ""},
		"from":                     {"GET", "/v1/work-orders?from=2026-1-1", ""},
		"from as a time":           {"GET", "/v1/production-entries?from=2026-01-01T00:00:00Z", ""},
		"no such day":              {"GET", "/v1/production-entries?to=2026-02-30", ""},
		"work order id":            {"GET", "/v1/production-entries?work_order_id=7", ""},
		"stage":                    {"GET", "/v1/quality-inspections?stage=first", ""},
		"line of inspections":      {"GET", "/v1/quality-inspections?line=L1", ""},
		"hold status":              {"GET", "/v1/holds?status=closed", ""},
		"limit":                    {"GET", "/v1/holds?limit=501", ""},
		"cursor":                   {"GET", "/v1/quality-inspections?cursor=AAAA", ""},
		"unknown for one":          {"GET", "/v1/work-orders/{order}?at=now", ""},
		"unknown parameter of 404": {"GET", "/v1/work-orders/{none}/transitions?x=1", ""},
		"escape":                   {"GET", "/v1/holds?%%%", ""},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b.send(test.method, f.in(test.path), test.body).problem(400, "malformed-request")
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

func TestInvalidManufacturingValues(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fillFloor(b)
	const (
		orders, entries, inspections, holds = "/v1/work-orders", "/v1/production-entries", "/v1/quality-inspections", "/v1/holds"
		correct                             = "/v1/production-entries/{entry}/corrections"
	)
	long := strings.Repeat("x", 2001)
	tests := map[string]struct{ path, body, pointers string }{
		"order of nothing":      {orders, `{}`, "/due_on /number /product_code /quantity_ordered /received_on"},
		"order of nulls":        {orders, `{"number":null,"product_code":null,"quantity_ordered":null,"received_on":null,"due_on":null}`, "/due_on /number /product_code /quantity_ordered /received_on"},
		"order's types":         {orders, `{"number":1,"product_code":[],"customer_name":{},"quantity_ordered":"5","received_on":20260105,"due_on":true,"ideal_cycle_time_hours":0.05,"workflow":1,"close_on_ship":"yes","x":1}`, "/close_on_ship /customer_name /due_on /ideal_cycle_time_hours /number /product_code /quantity_ordered /received_on /workflow /x"},
		"order's values":        {orders, `{"number":"","product_code":"a\u0000","customer_name":"","quantity_ordered":-1,"received_on":"2026-02-30","due_on":"30.1.2026","ideal_cycle_time_hours":"0.00001","workflow":"fast"}`, "/customer_name /due_on /ideal_cycle_time_hours /number /product_code /quantity_ordered /received_on /workflow"},
		"number of 65":          {orders, with(goodOrder, "WO-9", strings.Repeat("n", 65)), "/number"},
		"too many pieces":       {orders, with(goodOrder, `"quantity_ordered":1`, `"quantity_ordered":1000000001`), "/quantity_ordered"},
		"fraction of a piece":   {orders, with(goodOrder, `"quantity_ordered":1`, `"quantity_ordered":1.0`), "/quantity_ordered"},
		"order's status":        {orders, with(goodOrder, `{`, `{"status":"closed",`), "/status"},
		"transition":            {orders + "/{order}/transitions", `{}`, "/to"},
		"transition of null":    {orders + "/{order}/transitions", `{"to":null,"notes":""}`, "/notes /to"},
		"unknown status":        {orders + "/{order}/transitions", `{"to":"finished"}`, "/to"},
		"status before 404":     {orders + "/{none}/transitions", `{"to":"finished"}`, "/to"},
		"status before a bad":   {orders + "/x/transitions", `{"to":"finished"}`, "/to"},
		"approval":              {orders + "/{order}/qc-approval", `{"inspection_id":"7","notes":"` + long + `","by":"q"}`, "/by /inspection_id /notes"},
		"inspection of another": {orders + "/{onhold}/qc-approval", `{"inspection_id":"{inspection}"}`, "/inspection_id"},

		"entry of nothing":  {entries, `{}`, "/employees_assigned /line /production_date /run_time_hours /scheduled_hours /shift /units_produced /work_order_id"},
		"entry's hours":     {entries, `{"work_order_id":"{order}","line":"L","shift":"A","production_date":"2026-01-06","units_produced":1,"run_time_hours":1,"scheduled_hours":"-1","downtime_hours":"1e3","employees_assigned":1,"ideal_cycle_time_hours":""}`, "/downtime_hours /ideal_cycle_time_hours /run_time_hours /scheduled_hours"},
		"hours too fine":    {entries, with(goodEntry, `"run_time_hours":"1"`, `"run_time_hours":"1.00001"`), "/run_time_hours"},
		"too many hours":    {entries, with(goodEntry, `"scheduled_hours":"1"`, `"scheduled_hours":"1000000.0001"`), "/scheduled_hours"},
		"entry's counts":    {entries, with(goodEntry, `"units_produced":1`, `"units_produced":-1,"defect_count":"1","scrap_count":1000000001,"rework_count":1e2`), "/defect_count /rework_count /scrap_count /units_produced"},
		"entry's order":     {entries, with(goodEntry, "{order}", "WO-1"), "/work_order_id"},
		"entry's date":      {entries, with(goodEntry, "2026-01-06", "2026-01-06T00:00:00Z"), "/production_date"},
		"line of 65":        {entries, with(goodEntry, `"L"`, `"`+strings.Repeat("l", 65)+`"`), "/line"},
		"empty shift":       {entries, with(goodEntry, `"A"`, `""`), "/shift"},
		"values before 404": {entries, with(with(goodEntry, "{order}", "{none}"), `"L"`, `""`), "/line"},

		"correction of nothing":  {correct, `{}`, " /reason"},
		"correction by a reason": {correct, `{"reason":"r"}`, ""},
		"correction by nulls":    {correct, `{"reason":"r","line":null}`, ""},
		"correction's type":      {correct, `{"reason":"r","units_produced":"5"}`, "/units_produced"},
		"without a reason":       {correct, `{"units_produced":5}`, "/reason"},
		"empty reason":           {correct, `{"units_produced":5,"reason":""}`, "/reason"},
		"correction of an order": {correct, `{"work_order_id":"{onhold}","line":"L2","reason":"r"}`, "/work_order_id"},
		"correction's values":    {correct, `{"line":"","shift":"\u0007","production_date":"x","units_produced":-1,"defect_count":-1,"scrap_count":-1,"rework_count":-1,"run_time_hours":"x","scheduled_hours":"x","downtime_hours":"x","employees_assigned":-1,"ideal_cycle_time_hours":"x","reason":"r"}`, "/defect_count /downtime_hours /employees_assigned /ideal_cycle_time_hours /line /production_date /rework_count /run_time_hours /scheduled_hours /scrap_count /shift /units_produced"},
		"values before entry":    {"/v1/production-entries/{none}/corrections", `{"line":"","reason":"r"}`, "/line"},

		"inspection of nothing": {inspections, `{}`, "/stage /units_defective /units_inspected /units_passed /work_order_id"},
		"stage":                 {inspections, with(goodInspection, "final", "last"), "/stage"},
		"sum":                   {inspections, with(goodInspection, `"units_passed":1`, `"units_passed":2`), "/units_inspected"},
		"reworked and scrapped": {inspections, with(goodInspection, `{`, `{"units_reworked":1,"units_scrapped":1,`), "/units_defective"},
		"both sums":             {inspections, with(with(goodInspection, `{`, `{"units_scrapped":2,`), `"units_inspected":2`, `"units_inspected":3`), "/units_defective /units_inspected"},
		"no sum of wrong parts": {inspections, with(goodInspection, `"units_passed":1`, `"units_passed":"1"`), "/units_passed"},
		"inspection's values":   {inspections, with(goodInspection, `{`, `{"inspected_on":"","defect_count":-1,"opportunities_per_unit":-1,"inspector":"",`), "/defect_count /inspected_on /inspector /opportunities_per_unit"},

		"hold of nothing":      {holds, `{}`, "/category /quantity /reason /work_order_id"},
		"hold's values":        {holds, `{"work_order_id":"","category":"","reason":"` + long + `","quantity":-1}`, "/category /quantity /reason /work_order_id"},
		"hold's order first":   {holds, with(goodHold, `{order}"`, `{none}","x":1`), "/x"},
		"resume's values":      {holds + "/{hold}/resume", `{"quantity_released":-1,"quantity_scrapped":"5","resolution":""}`, "/quantity_released /quantity_scrapped /resolution"},
		"resume of too few":    {holds + "/{hold}/resume", `{"quantity_released":20,"quantity_scrapped":4}`, "/quantity_released"},
		"resume of none":       {holds + "/{hold}/resume", `{}`, "/quantity_released"},
		"values before closed": {holds + "/{resumed}/resume", `{"quantity_released":-1}`, "/quantity_released"},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := b.send("POST", f.in(test.path), f.in(test.body)).problem(422, "validation-failed")
			if got := pointersOf(p); got != test.pointers {
				t.Errorf("pointers %q, want %q", got, test.pointers)
			}
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

func TestManufacturingRefusals(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fillFloor(b)
	qc := b.send("POST", "/v1/work-orders", with(goodOrder, "{", `{"workflow":"with_qc",`)).is(201).text("id")
	b.transition(qc, "released")
	b.transition(qc, "in_progress")
	cancelled := b.workOrder("WO-3", "cancelled")
	const move, approve, resume = "/transitions", "/qc-approval", "/resume"
	orders, holds := "/v1/work-orders/", "/v1/holds/"
	tests := map[string]struct {
		method, path, body string
		status             int
		slug               string
		headers            []string
	}{
		"number":                    {"POST", "/v1/work-orders", with(goodOrder, "WO-9", "WO-1"), 409, "duplicate-number", nil},
		"received isn't asked for":  {"POST", orders + f.order + move, `{"to":"received"}`, 409, "invalid-transition", nil},
		"nor is on hold":            {"POST", orders + f.order + move, `{"to":"on_hold"}`, 409, "invalid-transition", nil},
		"status skipped":            {"POST", orders + f.order + move, `{"to":"shipped"}`, 409, "invalid-transition", nil},
		"status before output":      {"POST", orders + f.onHold + move, `{"to":"completed"}`, 409, "invalid-transition", nil},
		"output":                    {"POST", orders + qc + move, `{"to":"completed"}`, 409, "output-required", nil},
		"terminal":                  {"POST", orders + cancelled + move, `{"to":"released"}`, 409, "invalid-transition", nil},
		"approval of a terminal":    {"POST", orders + cancelled + approve, `{}`, 409, "invalid-transition", nil},
		"no order to move":          {"POST", orders + "{none}" + move, `{"to":"released"}`, 404, "not-found", nil},
		"no UUID to move":           {"POST", orders + "x" + move, `{"to":"released"}`, 404, "not-found", nil},
		"no order to approve":       {"POST", orders + "{none}" + approve, `{}`, 404, "not-found", nil},
		"no inspection":             {"POST", orders + "{order}" + approve, `{"inspection_id":"{none}"}`, 404, "not-found", nil},
		"entry on hold":             {"POST", "/v1/production-entries", with(goodEntry, "{order}", "{onhold}"), 409, "invalid-transition", nil},
		"entry without an order":    {"POST", "/v1/production-entries", with(goodEntry, "{order}", "{none}"), 404, "not-found", nil},
		"no entry to correct":       {"POST", "/v1/production-entries/{none}/corrections", `{"line":"L2","reason":"r"}`, 404, "not-found", nil},
		"an order isn't an entry":   {"POST", "/v1/production-entries/{order}/corrections", `{"line":"L2","reason":"r"}`, 404, "not-found", nil},
		"inspection without order":  {"POST", "/v1/quality-inspections", with(goodInspection, "{order}", "{none}"), 404, "not-found", nil},
		"hold without an order":     {"POST", "/v1/holds", with(goodHold, "{order}", "{none}"), 404, "not-found", nil},
		"hold on a terminal":        {"POST", "/v1/holds", with(goodHold, "{order}", cancelled), 409, "invalid-transition", nil},
		"no hold to resume":         {"POST", holds + "{none}" + resume, `{}`, 404, "not-found", nil},
		"resumed":                   {"POST", holds + "{resumed}" + resume, `{"quantity_released":25}`, 409, "hold-closed", nil},
		"closed before quantities":  {"POST", holds + "{resumed}" + resume, `{"quantity_released":1}`, 409, "hold-closed", nil},
		"If-Match of an order":      {"POST", orders + f.order + move, `{"to":"completed"}`, 412, "version-mismatch", []string{`If-Match: "1"`}},
		"If-Match before status":    {"POST", orders + f.order + move, `{"to":"received"}`, 412, "version-mismatch", []string{`If-Match: "1"`}},
		"If-Match of an entry":      {"POST", "/v1/production-entries/{entry}/corrections", `{"line":"L2","reason":"r"}`, 412, "version-mismatch", []string{`If-Match: "4"`}},
		"If-Match of a hold":        {"POST", holds + "{hold}" + resume, `{"quantity_released":25}`, 412, "version-mismatch", []string{`If-Match: "2"`}},
		"If-Match before closed":    {"POST", holds + "{resumed}" + resume, `{"quantity_released":25}`, 412, "version-mismatch", []string{`If-Match: "1"`}},
		"existence before If-Match": {"POST", holds + "{none}" + resume, `{}`, 404, "not-found", []string{`If-Match: "9"`}},
		"inspection before version": {"POST", orders + "{order}" + approve, `{"inspection_id":"{none}"}`, 404, "not-found", []string{`If-Match: "9"`}},
		"get no order":              {"GET", orders + "{none}", "", 404, "not-found", nil},
		"transitions of none":       {"GET", orders + "{none}" + move, "", 404, "not-found", nil},
		"transitions of x":          {"GET", orders + "x" + move, "", 404, "not-found", nil},
		"get no entry":              {"GET", "/v1/production-entries/{order}", "", 404, "not-found", nil},
		"get no inspection":         {"GET", "/v1/quality-inspections/{none}", "", 404, "not-found", nil},
		"get no hold":               {"GET", holds + "{none}", "", 404, "not-found", nil},
		"another client's order":    {"POST", orders + f.order + move, `{"to":"completed"}`, 404, "not-found", []string{"Annals-Client: other"}},
		"another client's hold":     {"POST", holds + "{hold}" + resume, `{"quantity_released":25}`, 404, "not-found", []string{"Annals-Client: other"}},
		"another client's in body":  {"POST", "/v1/holds", goodHold, 404, "not-found", []string{"Annals-Client: other"}},
		"get another client's":      {"GET", holds + "{hold}", "", 404, "not-found", []string{"Annals-Client: other"}},
		"all clients command":       {"POST", "/v1/work-orders", goodOrder, 403, "forbidden", []string{"Annals-Client: *"}},
		"all clients query":         {"GET", "/v1/work-orders", "", 403, "forbidden", []string{"Annals-Client: *"}},
		"entries aren't deleted":    {"DELETE", "/v1/production-entries/{entry}", "", 405, "method-not-allowed", nil},
		"nor edited":                {"PATCH", "/v1/production-entries/{entry}", `{}`, 405, "method-not-allowed", nil},
		"media type":                {"POST", "/v1/holds", goodHold, 415, "unsupported-media-type", []string{"Content-Type: text/plain"}},
		"no path":                   {"GET", "/v1/kpis/oee", "", 404, "not-found", nil},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b.send(test.method, f.in(test.path), f.in(test.body), test.headers...).problem(test.status, test.slug)
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
	b.send("POST", "/v1/work-orders", with(goodOrder, "WO-9", "WO-1"), "Annals-Client: other").is(201) // per client
	b.entry(qc, "L1", "2026-01-06", 1, 0)
	b.send("POST", orders+qc+move, `{"to":"completed"}`).problem(409, "qc-approval-required")
}
