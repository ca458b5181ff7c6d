package rest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// figures are those of a group in the order of the API's description. "-" is null.
func figures(item map[string]any) string {
	shown := []string{}
	for _, member := range []string{
		"group", "efficiency", "performance", "availability", "quality_rate", "oee", "ppm", "dpmo", "fpy", "rty", "otd",
		"estimated", "fpy_by_stage",
	} {
		switch value := item[member].(type) {
		case nil:
			shown = append(shown, "-")
		case map[string]any:
			shown = append(shown, fmt.Sprint(value["incoming"], "/", value["in_process"], "/", value["final"]))
		default:
			shown = append(shown, fmt.Sprint(value))
		}
	}
	return strings.Join(shown, " ")
}

// kpis gives the figures of every group of a query, read in pages of one.
func (b *bench) kpis(query string) []string {
	b.t.Helper()
	var all []string
	for next := ""; ; {
		page := b.send("GET", "/v1/kpis?limit=1&"+query+next, "", b.at())
		for _, item := range items(page) {
			wantMembers(b.t, item, "group", "efficiency", "performance", "availability", "quality_rate", "oee", "ppm", "dpmo",
				"fpy", "fpy_by_stage", "rty", "otd", "estimated")
			all = append(all, figures(item))
		}
		cursor, more := page.json()["next_cursor"].(string)
		if !more {
			return all
		}
		next = "&cursor=" + cursor
	}
}

func (b *bench) wantKPIs(query string, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.kpis(query)); diff != "" {
		b.t.Errorf("%s:\n%s", query, diff)
	}
}

const always = "from=2026-01-01&to=2125-12-31"

// A work order on its way from receipt to closing, with a hold in between. The figures are computed by hand.
func TestWorkOrderFromReceiptToClosing(t *testing.T) {
	t.Parallel()
	b := newPlant(t)
	id := b.send("POST", "/v1/work-orders", `{"number":"WO-1","product_code":"P-7","quantity_ordered":500,
		"received_on":"2026-01-05","due_on":"2125-12-31","ideal_cycle_time_hours":"0.050","close_on_ship":true}`).is(201).text("id")
	b.transition(id, "released")
	b.transition(id, "in_progress")
	first := b.send("POST", "/v1/production-entries", `{"work_order_id":"`+id+`","line":"L1","shift":"A",
		"production_date":"2026-01-06","units_produced":200,"defect_count":3,"scrap_count":1,"run_time_hours":"8",
		"scheduled_hours":"8.50","downtime_hours":"0.5","employees_assigned":2}`).is(201).text("id")
	hold := b.hold(id)
	b.send("POST", "/v1/production-entries", entryBody(id, "L1", "2026-01-06", 1, 0)).problem(409, "invalid-transition")
	held := b.send("GET", "/v1/work-orders/"+id, "", b.at()).json()
	if held["status"] != "on_hold" || held["open_holds"] != 1.0 {
		t.Errorf("%v", held)
	}
	b.send("POST", "/v1/holds/"+hold+"/resume", `{"quantity_released":20,"quantity_scrapped":5}`).is(200)
	b.send("POST", "/v1/production-entries", `{"work_order_id":"`+id+`","line":"L2","shift":"B",
		"production_date":"2026-01-07","units_produced":100,"run_time_hours":"10","scheduled_hours":"10",
		"employees_assigned":1,"ideal_cycle_time_hours":"0.25"}`).is(201)
	b.send("POST", "/v1/quality-inspections", `{"work_order_id":"`+id+`","stage":"incoming","inspected_on":"2026-01-06",
		"units_inspected":100,"units_passed":95,"units_defective":5,"defect_count":8,"opportunities_per_unit":8}`).is(201)
	final := b.send("POST", "/v1/quality-inspections", `{"work_order_id":"`+id+`","stage":"final","inspected_on":"2026-01-07",
		"units_inspected":50,"units_passed":48,"units_defective":2,"defect_count":3}`).is(201).text("id")
	b.transition(id, "completed")
	b.send("POST", "/v1/work-orders/"+id+"/transitions", `{"to":"shipped"}`).problem(409, "qc-approval-required")
	b.send("POST", "/v1/work-orders/"+id+"/qc-approval", `{"inspection_id":"`+final+`"}`).is(200)
	shipped := b.transition(id, "shipped")
	check(t, b.group.WaitFor(t.Context(), "close_on_ship", shipped.number("position")))
	closed := b.send("GET", "/v1/work-orders/"+id, "", b.at()).is(200).json()
	if closed["status"] != "closed" || closed["wip_age_days"] != nil || closed["shipped_at"] == nil || closed["open_holds"] != 0.0 {
		t.Errorf("%v", closed)
	}
	if diff := cmp.Diff(map[string]any{"ordered": 500.0, "produced": 300.0, "defects": 3.0, "scrap": 1.0}, closed["quantity"]); diff != "" {
		t.Error(diff)
	}

	const day1 = "58.82 125.00 94.12 98.00 115.29"
	const all = " 129.63 150.00 97.30 98.67 144.00 46666.67 8461.54 95.33 91.20 "
	const january = "from=2026-01-01&to=2026-01-31&"
	b.wantKPIs(january+"group_by=day",
		"2026-01-06 "+day1+" 50000.00 10000.00 95.00 95.00 0.00 false 95.00/0.00/0.00",
		"2026-01-07 150.00 150.00 100.00 100.00 150.00 40000.00 6000.00 96.00 96.00 0.00 false 0.00/0.00/96.00")
	b.wantKPIs(january+"group_by=week", "2026-W02"+all+"0.00 false 95.00/0.00/96.00")
	b.wantKPIs(january+"group_by=line", "L1 "+day1+" - - - - - false -", "L2 150.00 150.00 100.00 100.00 150.00 - - - - - false -")
	b.wantKPIs(january+"group_by=shift", "A "+day1+" - - - - - false -", "B 150.00 150.00 100.00 100.00 150.00 - - - - - false -")
	b.wantKPIs(always+"&group_by=work_order", id+all+"100.00 false 95.00/0.00/96.00")
	b.wantKPIs(always+"&group_by=total", "total"+all+"100.00 false 95.00/0.00/96.00")
	b.wantKPIs("from=2026-01-06&to=2026-01-06&group_by=total", "total "+day1+" 50000.00 10000.00 95.00 95.00 0.00 false 95.00/0.00/0.00")
	b.wantKPIs(january+"group_by=total&line=L1", "total "+day1+" - - - - - false -")
	b.wantKPIs(january + "group_by=day&work_order_id=" + hold)
	b.wantKPIs("from=2026-01-08&to=2026-01-31&group_by=total")

	// Corrections change the day's figures, in any status of the order, and a new date moves them to another day.
	correct := func(body string) *reply {
		return b.send("POST", "/v1/production-entries/"+first+"/corrections", body).is(200)
	}
	correct(`{"units_produced":190,"reason":"recount"}`)
	b.wantKPIs("from=2026-01-06&to=2026-01-06&group_by=day",
		"2026-01-06 55.88 118.75 94.12 97.89 109.41 50000.00 10000.00 95.00 95.00 0.00 false 95.00/0.00/0.00")
	correct(`{"production_date":"2026-01-08","reason":"wrong sheet"}`)
	b.wantKPIs("from=2026-01-06&to=2026-01-08&group_by=day",
		"2026-01-06 0.00 0.00 0.00 0.00 0.00 50000.00 10000.00 95.00 95.00 0.00 false 95.00/0.00/0.00",
		"2026-01-07 150.00 150.00 100.00 100.00 150.00 40000.00 6000.00 96.00 96.00 0.00 false 0.00/0.00/96.00",
		"2026-01-08 55.88 118.75 94.12 97.89 109.41 0.00 0.00 0.00 0.00 0.00 false 0.00/0.00/0.00")
	if got := b.send("GET", "/v1/work-orders/"+id, "", b.at()).json()["quantity"].(map[string]any)["produced"]; got != 290.0 {
		t.Errorf("%v pieces after the correction", got)
	}
}

func TestEstimatedCycleTime(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	order := b.workOrder("WO-1", "released", "in_progress")
	body := `{"work_order_id":"` + order + `","line":"L1","shift":"A","production_date":"2026-01-06","units_produced":4,
		"run_time_hours":"2","scheduled_hours":"1","downtime_hours":"1.5","employees_assigned":1}`
	id := b.send("POST", "/v1/production-entries", body).is(201).text("id")
	b.wantKPIs(always+"&group_by=day", "2026-01-06 100.00 50.00 -50.00 100.00 -25.00 0.00 0.00 0.00 0.00 0.00 true 0.00/0.00/0.00")
	b.send("POST", "/v1/production-entries/"+id+"/corrections", `{"ideal_cycle_time_hours":"0.25","reason":"measured"}`).is(200)
	b.wantKPIs(always+"&group_by=day", "2026-01-06 100.00 50.00 -50.00 100.00 -25.00 0.00 0.00 0.00 0.00 0.00 false 0.00/0.00/0.00")
}

func TestKPIQueries(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	for name, test := range map[string]struct {
		query  string
		status int
	}{
		"all":             {"from=2026-01-01&to=2026-01-31&group_by=day", 200},
		"one day":         {"from=2026-01-01&to=2026-01-01&group_by=total", 200},
		"hundred years":   {"from=2026-01-01&to=2126-01-01&group_by=week", 200},
		"a day more":      {"from=2026-01-01&to=2126-01-02&group_by=week", 400},
		"backwards":       {"from=2026-01-02&to=2026-01-01&group_by=day", 400},
		"nothing":         {"", 400},
		"without from":    {"to=2026-01-31&group_by=day", 400},
		"without to":      {"from=2026-01-01&group_by=day", 400},
		"without group":   {"from=2026-01-01&to=2026-01-31", 200},
		"empty from":      {"from=&to=2026-01-31&group_by=day", 400},
		"time":            {"from=2026-01-01T00:00:00Z&to=2026-01-31&group_by=day", 400},
		"short":           {"from=2026-1-1&to=2026-01-31&group_by=day", 400},
		"no such day":     {"from=2026-01-01&to=2026-02-30&group_by=day", 400},
		"year 0":          {"from=0000-01-01&to=0000-02-01&group_by=day", 400},
		"group":           {"from=2026-01-01&to=2026-01-31&group_by=month", 400},
		"empty line":      {"from=2026-01-01&to=2026-01-31&group_by=day&line=", 400},
		"work order":      {"from=2026-01-01&to=2026-01-31&group_by=day&work_order_id=7", 400},
		"limit":           {"from=2026-01-01&to=2026-01-31&group_by=day&limit=0", 400},
		"cursor":          {"from=2026-01-01&to=2026-01-31&group_by=day&cursor=abc", 400},
		"unknown":         {"from=2026-01-01&to=2026-01-31&group_by=day&plant=1", 400},
		"line with space": {"from=2026-01-01&to=2026-01-31&group_by=day&line=L+1", 200},
	} {
		t.Run(name, func(t *testing.T) {
			if r := b.send("GET", "/v1/kpis?"+test.query, "").is(test.status); test.status == 400 {
				r.problem(400, "malformed-request")
			}
		})
	}
	b.send("GET", "/v1/kpis?from=2026-01-01&to=2026-01-31&group_by=day", "", "Annals-Client: *").problem(403, "forbidden")
}

func TestKPIGroupsArePages(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	order := b.workOrder("WO-1", "released", "in_progress")
	lines := []string{"B", "a b", "ä/ö", "日本", strings.Repeat("ß", 64)} // byte by byte
	for i := range lines {
		b.entry(order, lines[len(lines)-1-i], "2026-01-06", 1, 0)
	}
	const path = "/v1/kpis?" + always + "&group_by=line"
	var got []string
	for limit, next := 1, ""; ; limit++ {
		page := b.send("GET", fmt.Sprintf("%s&limit=%d%s", path, limit, next), "", b.at())
		for _, item := range items(page) {
			got = append(got, item["group"].(string))
		}
		cursor, more := page.json()["next_cursor"].(string)
		if !more {
			break
		}
		next = "&cursor=" + cursor
	}
	want := []string{"B", "a b", lines[4], "ä/ö", "日本"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cursor := b.send("GET", path+"&limit=2", "", b.at()).text("next_cursor")
	if cursor != url.QueryEscape(cursor) {
		t.Errorf("%s isn't URL-safe", cursor)
	}
	for _, other := range []string{
		strings.Replace(path, "line", "shift", 1), path + "&shift=A", strings.Replace(path, "2125", "2124", 1), "/v1/kpi-alerts?",
	} {
		b.send("GET", other+"&cursor="+cursor, "").problem(400, "malformed-request")
	}
	b.send("GET", path+"&cursor="+cursor, "", "Annals-Client: other").problem(400, "malformed-request")
	b.workOrder("WO-2")
	listed := b.send("GET", "/v1/work-orders?limit=1", "", b.at()).text("next_cursor")
	b.send("GET", path+"&cursor="+listed, "").problem(400, "malformed-request")
}
