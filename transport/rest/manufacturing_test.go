package rest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/eventstore"
)

// eventTypes are those of a command's answer.
func eventTypes(r *reply) string {
	r.t.Helper()
	var types []string
	for _, e := range r.json()["events"].([]any) {
		types = append(types, e.(map[string]any)["event_type"].(string))
	}
	return strings.Join(types, " ")
}

// id, version and ETag of a command's answer belong to the resource that the path names or that was created, whichever
// streams it wrote to.
func TestManufacturingCommandAnswers(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	var order, entry, inspection, hold, second string
	for _, step := range []struct {
		name, path, body string
		created          *string // receives the id
		of               *string // whose id is answered
		version          int64
		events           string
	}{
		{"create", "/v1/work-orders", goodOrder, &order, nil, 1, "work_order.created"},
		{"release", "/v1/work-orders/{order}/transitions", `{"to":"released"}`, nil, &order, 2, "work_order.status_changed"},
		{"start", "/v1/work-orders/{order}/transitions", `{"to":"in_progress","notes":"shift A"}`, nil, &order, 3, "work_order.status_changed"},
		{"entry", "/v1/production-entries", goodEntry, &entry, nil, 1, "production_entry.created work_order.output_recorded"},
		{"correction", "/v1/production-entries/{entry}/corrections", `{"units_produced":2,"reason":"r"}`, nil, &entry, 2, "production_entry.corrected work_order.output_recorded"},
		{"correction of nothing", "/v1/production-entries/{entry}/corrections", `{"units_produced":2,"reason":"r"}`, nil, &entry, 2, ""},
		{"correction of the line", "/v1/production-entries/{entry}/corrections", `{"line":"L9","reason":"r"}`, nil, &entry, 3, "production_entry.corrected"},
		{"inspection", "/v1/quality-inspections", goodInspection, &inspection, nil, 1, "quality_inspection.recorded"},
		{"hold", "/v1/holds", goodHold, &hold, nil, 1, "hold.created work_order.status_changed"},
		{"further hold", "/v1/holds", goodHold, &second, nil, 1, "hold.created work_order.hold_added"},
		{"resume", "/v1/holds/{hold}/resume", `{"quantity_released":1}`, nil, &hold, 2, "hold.resumed work_order.hold_removed"},
		{"last resume", "/v1/holds/{second}/resume", `{"quantity_scrapped":1,"resolution":"r"}`, nil, &second, 2, "hold.resumed work_order.status_changed"},
		{"approval", "/v1/work-orders/{order}/qc-approval", `{"inspection_id":"{inspection}"}`, nil, &order, 10, "work_order.qc_approved"},
		{"approval again", "/v1/work-orders/{order}/qc-approval", `{}`, nil, &order, 10, ""},
	} {
		in := strings.NewReplacer("{order}", order, "{entry}", entry, "{hold}", hold, "{second}", second, "{inspection}", inspection).Replace
		status := 200
		if step.created != nil {
			status = 201
		}
		r := b.send("POST", in(step.path), in(step.body), "Idempotency-Key: "+step.name).is(status)
		wantMembers(t, r.json(), "id", "version", "position", "events")
		if step.created != nil {
			*step.created, step.of = r.text("id"), step.created
		}
		location := ""
		if step.created != nil {
			location = step.path + "/" + r.text("id")
		}
		if r.text("id") != *step.of || r.number("version") != step.version || r.header.Get("Location") != location ||
			r.header.Get("ETag") != fmt.Sprintf(`"%d"`, step.version) || r.header.Get("Annals-Position") != fmt.Sprint(r.number("position")) {
			t.Errorf("%s: %s %v", step.name, r.body, r.header)
		}
		if got := eventTypes(r); got != step.events {
			t.Errorf("%s: %s, want %s", step.name, got, step.events)
		}
		head := b.head()
		again := b.send("POST", in(step.path), in(step.body), "Idempotency-Key: "+step.name, `If-Match: "77"`).is(status)
		if string(again.body) != string(r.body) || again.header.Get("Idempotency-Replayed") != "true" || b.head() != head ||
			again.header.Get("Location") != location {
			t.Errorf("%s repeated: %s", step.name, again.body)
		}
	}
	b.send("POST", "/v1/holds/"+hold+"/resume", `{}`, `If-Match: "2"`).problem(409, "hold-closed")
	b.send("POST", "/v1/work-orders/"+order+"/transitions", `{"to":"completed"}`, `If-Match: "10"`).is(200)
}

func TestManufacturingIsShownAlikeEverywhere(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fillFloor(b)
	full := b.send("POST", "/v1/work-orders", `{"number":"WO-7","product_code":"P-7","customer_name":"Acme","quantity_ordered":5,
		"received_on":"2026-01-05","due_on":"2026-01-30","ideal_cycle_time_hours":"0.0500","workflow":"express","close_on_ship":true}`).is(201).text("id")
	entry := b.send("POST", "/v1/production-entries", f.in(with(goodEntry, `"1","scheduled_hours":"1"`, `"1.50","scheduled_hours":"10"`))).is(201).text("id")
	b.send("POST", "/v1/production-entries/"+entry+"/corrections", `{"downtime_hours":"0.2500","reason":"r"}`).is(200)
	times := []string{"version", "created_at", "updated_at"}
	members := map[string][]string{
		"work_order": append(times, "id", "number", "product_code", "customer_name", "received_on", "due_on", "ideal_cycle_time_hours",
			"workflow", "close_on_ship", "status", "quantity", "qc_approved", "open_holds", "overdue", "wip_age_days", "shipped_at"),
		"production_entry": append(times, "id", "work_order_id", "line", "shift", "production_date", "units_produced", "defect_count",
			"scrap_count", "rework_count", "run_time_hours", "scheduled_hours", "downtime_hours", "employees_assigned",
			"ideal_cycle_time_hours", "estimated", "corrections"),
		"quality_inspection": append(times, "id", "work_order_id", "stage", "inspected_on", "units_inspected", "units_passed",
			"units_defective", "units_reworked", "units_scrapped", "defect_count", "opportunities_per_unit", "inspector"),
		"hold": append(times, "id", "work_order_id", "category", "reason", "quantity", "status", "quantity_released",
			"quantity_scrapped", "resolution", "held_for", "resumed_at", "hold_age_days"),
	}
	for _, resource := range []struct{ kind, path, id, want string }{
		{"work_order", "/v1/work-orders/", f.order, `{"status":"in_progress","customer_name":null,"ideal_cycle_time_hours":null,"workflow":"standard","close_on_ship":false,"open_holds":0,"shipped_at":null}`},
		{"work_order", "/v1/work-orders/", f.onHold, `{"status":"on_hold","open_holds":1,"qc_approved":false,"quantity":{"ordered":500,"produced":0,"defects":0,"scrap":0}}`},
		{"work_order", "/v1/work-orders/", full, `{"number":"WO-7","customer_name":"Acme","received_on":"2026-01-05","due_on":"2026-01-30","ideal_cycle_time_hours":"0.05","workflow":"express","close_on_ship":true}`},
		{"production_entry", "/v1/production-entries/", entry, `{"line":"L","production_date":"2026-01-06","run_time_hours":"1.5","scheduled_hours":"10","downtime_hours":"0.25","ideal_cycle_time_hours":"0.25","estimated":true,"corrections":1,"version":2,"defect_count":0}`},
		{"quality_inspection", "/v1/quality-inspections/", f.inspection, `{"stage":"final","inspected_on":"2026-01-07","units_inspected":10,"opportunities_per_unit":10,"inspector":null}`},
		{"hold", "/v1/holds/", f.hold, `{"status":"open","category":"material","quantity":25,"quantity_released":null,"quantity_scrapped":null,"resolution":null,"held_for":null,"resumed_at":null,"hold_age_days":"0.00"}`},
		{"hold", "/v1/holds/", f.resumed, `{"status":"resumed","quantity_released":25,"quantity_scrapped":0,"resolution":null,"hold_age_days":null}`},
	} {
		shown := b.send("GET", resource.path+resource.id, "", b.at()).is(200)
		wantMembers(t, shown.json(), members[resource.kind]...)
		for member, want := range (&reply{t: t, body: []byte(resource.want)}).json() {
			if diff := cmp.Diff(want, shown.json()[member]); diff != "" {
				t.Errorf("%s %s: %s", resource.kind, member, diff)
			}
		}
		if got := shown.header.Get("ETag"); got != fmt.Sprintf(`"%d"`, shown.number("version")) {
			t.Errorf("ETag %s", got)
		}
		b.send("GET", resource.path+resource.id, "", b.at(), "If-None-Match: "+shown.header.Get("ETag")).is(304)
		state := b.send("GET", "/v1/streams/"+resource.kind+"/"+resource.id+"/state", "").is(200)
		if diff := cmp.Diff(shown.json(), state.json()["state"]); diff != "" {
			t.Errorf("%s as a state: %s", resource.kind, diff)
		}
	}
	resumed := b.send("GET", "/v1/holds/"+f.resumed, "", b.at()).json()
	if resumed["held_for"] == nil || resumed["resumed_at"] != resumed["updated_at"] {
		t.Errorf("%v", resumed)
	}
}

// A command's representation is the resource's, and its repeat shows the same, ages included.
func TestManufacturingRepresentations(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	f := fillFloor(b)
	for _, step := range []struct{ path, body, resource string }{
		{"/v1/work-orders", goodOrder, "/v1/work-orders/"},
		{"/v1/work-orders/{order}/qc-approval", `{}`, "/v1/work-orders/"},
		{"/v1/production-entries", goodEntry, "/v1/production-entries/"},
		{"/v1/production-entries/{entry}/corrections", `{"shift":"B","reason":"r"}`, "/v1/production-entries/"},
		{"/v1/quality-inspections", goodInspection, "/v1/quality-inspections/"},
		{"/v1/holds", goodHold, "/v1/holds/"},
		{"/v1/holds/{hold}/resume", `{"quantity_released":25}`, "/v1/holds/"},
	} {
		send := func() *reply {
			return b.send("POST", f.in(step.path), f.in(step.body), "Prefer: return=representation", "Idempotency-Key: "+step.path)
		}
		first := send()
		shown := b.send("GET", step.resource+first.text("id"), "", b.at()).is(200)
		if diff := cmp.Diff(shown.json(), first.json()); diff != "" || first.header.Get("Preference-Applied") != "return=representation" {
			t.Errorf("%s: %s", step.path, diff)
		}
		if again := send(); string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s repeated: %s", step.path, again.body)
		}
	}
}

func TestTransitionsAllowed(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	for name, test := range map[string]struct {
		workflow string
		to       []string
		hold     bool
		want     string
	}{
		"received":         {"standard", nil, false, "received: released cancelled"},
		"released":         {"standard", []string{"released"}, false, "released: in_progress demoted cancelled"},
		"demoted":          {"standard", []string{"released", "demoted"}, false, "demoted: released cancelled"},
		"without output":   {"standard", []string{"released", "in_progress"}, false, "in_progress: completed rejected cancelled"},
		"on hold":          {"standard", nil, true, "on_hold: cancelled"},
		"terminal":         {"standard", []string{"cancelled"}, false, "cancelled:"},
		"express":          {"express", []string{"in_progress"}, false, "in_progress: completed rejected cancelled"},
		"minimal":          {"minimal", nil, false, "received: completed cancelled"},
		"minimal complete": {"minimal", []string{"completed"}, false, "completed: closed rejected"},
		"with QC":          {"with_qc", []string{"released", "in_progress"}, false, "in_progress: completed rejected cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			id := b.send("POST", "/v1/work-orders", with(with(goodOrder, "WO-9", name), "{", `{"workflow":"`+test.workflow+`",`)).is(201).text("id")
			for _, status := range test.to {
				b.transition(id, status)
			}
			if test.hold {
				b.hold(id)
			}
			r := b.send("GET", "/v1/work-orders/"+id+"/transitions", "", b.at()).is(200)
			wantMembers(t, r.json(), "status", "allowed")
			got := r.text("status") + ":"
			for _, status := range r.json()["allowed"].([]any) {
				got += " " + status.(string)
			}
			if got != test.want || r.header.Get("ETag") == "" {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestManufacturingLists(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	order := func(number, received, due string, to ...string) string {
		id := b.send("POST", "/v1/work-orders", fmt.Sprintf(
			`{"number":%q,"product_code":"P","quantity_ordered":1,"received_on":%q,"due_on":%q}`, number, received, due)).is(201).text("id")
		for _, status := range to {
			b.transition(id, status)
		}
		return id
	}
	today, tomorrow := time.Now().UTC().Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	late := order("WO-1", "2020-01-05", "2020-01-30", "released", "in_progress")
	early := order("WO-2", "2020-02-05", "2125-12-31", "released", "in_progress")
	gone := order("WO-3", "2020-03-05", "2020-03-30", "cancelled")
	due := order("WO-4", "2020-04-05", tomorrow)
	b.send("POST", "/v1/work-orders", goodOrder, "Annals-Client: other").is(201)
	e1, e2 := b.entry(late, "L1", "2026-01-06", 1, 0), b.entry(late, "L2", "2026-01-07", 1, 0)
	e3 := b.entry(early, "L1", "2026-01-08", 1, 0)
	b.send("POST", "/v1/production-entries/"+e3+"/corrections", `{"shift":"B","reason":"r"}`).is(200)
	i1, i2 := b.inspection(late, "2026-01-06", 1, 0), b.inspection(early, "2026-01-07", 1, 0)
	i3 := b.send("POST", "/v1/quality-inspections", fmt.Sprintf(`{"work_order_id":%q,"stage":"incoming","units_inspected":0,"units_passed":0,"units_defective":0}`, gone)).is(201).text("id")
	h1, h2, h3 := b.hold(late), b.hold(early), b.hold(due)
	b.send("POST", "/v1/holds/"+h2+"/resume", `{"quantity_released":25}`).is(200)
	const orders, entries, inspections, holds = "/v1/work-orders?", "/v1/production-entries?", "/v1/quality-inspections?", "/v1/holds?"
	for name, test := range map[string]struct {
		path string
		want []string
	}{
		"orders":              {orders, []string{late, early, gone, due}},
		"status":              {orders + "status=on_hold&", []string{late, due}},
		"overdue":             {orders + "overdue=true&", []string{late}},
		"not overdue":         {orders + "overdue=false&", []string{early, gone, due}},
		"number":              {orders + "number=WO-3&", []string{gone}},
		"number, other case":  {orders + "number=wo-3&", nil},
		"received":            {orders + "from=2020-02-05&to=2020-03-05&", []string{early, gone}},
		"entries":             {entries, []string{e1, e2, e3}},
		"entries of an order": {entries + "work_order_id=" + late + "&", []string{e1, e2}},
		"entries of none":     {entries + "work_order_id=" + e1 + "&", nil},
		"line":                {entries + "line=L1&", []string{e1, e3}},
		"shift":               {entries + "shift=B&", []string{e3}},
		"production date":     {entries + "from=2026-01-07&to=2026-01-07&", []string{e2}},
		"inspections":         {inspections, []string{i1, i2, i3}},
		"of an order":         {inspections + "work_order_id=" + early + "&", []string{i2}},
		"stage":               {inspections + "stage=final&", []string{i1, i2}},
		"inspected":           {inspections + "from=2026-01-07&to=2026-01-07&", []string{i2}},
		"inspected today":     {inspections + "stage=incoming&from=" + today + "&", []string{i3}},
		"holds":               {holds, []string{h1, h2, h3}},
		"open":                {holds + "status=open&", []string{h1, h3}},
		"resumed":             {holds + "status=resumed&", []string{h2}},
		"holds of an order":   {holds + "work_order_id=" + late + "&", []string{h1}},
		"category":            {holds + "category=quality&", nil},
		"created":             {holds + "from=" + today + "&category=material&", []string{h1, h2, h3}},
		"created before":      {holds + "to=2020-01-01&", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			next := ""
			for limit := 1; ; limit++ {
				page := b.send("GET", fmt.Sprintf("%slimit=%d%s", test.path, limit, next), "", b.at())
				for _, item := range items(page) {
					got = append(got, item["id"].(string))
				}
				cursor, more := page.json()["next_cursor"].(string)
				if !more {
					break
				}
				next = "&cursor=" + cursor
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for path, others := range map[string][]string{
		orders:      {"status=on_hold&", "number=WO-1&", "overdue=true&", "overdue=false&", "from=2020-01-01&", "to=2020-01-01&"},
		entries:     {"line=L1&", "shift=A&", "work_order_id=" + late + "&", "from=2020-01-01&", "to=2020-01-01&"},
		inspections: {"stage=final&", "work_order_id=" + late + "&", "from=2020-01-01&", "to=2020-01-01&"},
		holds:       {"status=open&", "category=material&", "work_order_id=" + late + "&", "from=2020-01-01&", "to=2020-01-01&"},
	} {
		cursor := "limit=5&cursor=" + b.send("GET", path+"limit=1", "", b.at()).text("next_cursor")
		b.send("GET", path+cursor, "").is(200)
		for _, filter := range others {
			b.send("GET", path+filter+cursor, "").problem(400, "malformed-request")
		}
		b.send("GET", path+cursor, "", "Annals-Client: other").problem(400, "malformed-request")
		b.send("GET", "/v1/products?"+cursor, "").problem(400, "malformed-request")
	}
}

// Ages are computed when they are asked for: as of the moment that is asked about.
func TestAges(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	now := time.Now().UTC()
	received := now.AddDate(0, 0, -10).Format(time.DateOnly)
	id := b.send("POST", "/v1/work-orders", with(goodOrder, "2026-01-05", received)).is(201).text("id")
	age := func(query string) string {
		t.Helper()
		path := "/v1/work-orders/" + id
		if query == "" {
			return b.send("GET", path, "", b.at()).text("wip_age_days")
		}
		state := b.send("GET", "/v1/streams/work_order/"+id+"/state?"+query, "").is(200).json()["state"]
		return state.(map[string]any)["wip_age_days"].(string)
	}
	day, err := time.Parse(time.DateOnly, received)
	check(t, err)
	days := func(at time.Time) float64 { return at.Sub(day).Hours() / 24 }
	for _, query := range []string{"", "at_version=1", "at=2126-01-01T00:00:00Z"} {
		var got float64
		text := age(query)
		_, err := fmt.Sscan(text, &got)
		check(t, err)
		if got < days(now)-0.01 || got > days(time.Now())+0.01 || len(text) != len("10.00") {
			t.Errorf("%q: an age of %s days, want %f", query, text, days(now))
		}
	}
	b.transition(id, "cancelled")
	if got := b.send("GET", "/v1/work-orders/"+id, "", b.at()).json()["wip_age_days"]; got != nil {
		t.Errorf("a cancelled order has an age of %v days", got)
	}
}

// longAgo is a reader of states that gives an open hold, created at the beginning of 2026 and changed a day later.
type longAgo struct{ eventstore.StateReader }

func (longAgo) state(id domain.ID) (eventstore.StateAt, error) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return eventstore.StateAt{AggregateType: "hold", ID: id, Loaded: domain.Loaded{
		State: hold.State{Status: hold.StatusOpen}, Version: 1, Position: 1, CreatedAt: created, UpdatedAt: created.AddDate(0, 0, 1),
	}}, nil
}

func (l longAgo) AtTime(_ context.Context, _, _ string, id domain.ID, _ time.Time) (eventstore.StateAt, error) {
	return l.state(id)
}

func (l longAgo) AtVersion(_ context.Context, _, _ string, id domain.ID, _ int64) (eventstore.StateAt, error) {
	return l.state(id)
}

// A state as it was shows the ages of then, and the repeat of a command those of the command.
func TestAgesOfThen(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) { b.config.States = longAgo{b.config.States} })
	order := b.workOrder("WO-1")
	then := b.send("GET", "/v1/streams/hold/"+order+"/state?at=2026-01-03T12:00:00Z", "").is(200).json()["state"].(map[string]any)
	if then["hold_age_days"] != "2.50" {
		t.Errorf("%v", then)
	}
	body := fmt.Sprintf(`{"work_order_id":%q,"category":"c","reason":"r","quantity":1}`, order)
	b.send("POST", "/v1/holds", body, "Idempotency-Key: k").is(201)
	if again := b.send("POST", "/v1/holds", body, "Idempotency-Key: k", "Prefer: return=representation").is(201); again.text("hold_age_days") != "1.00" {
		t.Errorf("%s", again.body)
	}
}

// Resumes at the same instant, each of one of the holds of an order, leave it where it was.
func TestConcurrentResumes(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	order := b.workOrder("WO-1", "released")
	var group sync.WaitGroup
	for range 8 {
		hold := b.hold(order)
		group.Go(func() { b.send("POST", "/v1/holds/"+hold+"/resume", `{"quantity_scrapped":25}`).is(200) })
	}
	group.Wait()
	if got := b.send("GET", "/v1/work-orders/"+order, "", b.at()).json(); got["status"] != "released" || got["open_holds"] != 0.0 {
		t.Errorf("%v", got)
	}
}
