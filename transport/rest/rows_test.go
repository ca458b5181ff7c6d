package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shown gives "position type" of events.
func shown(events []any) []string {
	all := []string{}
	for _, e := range events {
		event := e.(map[string]any)
		all = append(all, fmt.Sprint(event["position"], " ", event["event_type"]))
	}
	return all
}

func TestLineage(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	for range 4 {
		b.send("POST", "/v1/carts", `{}`).is(201)
	}
	b.send("POST", "/v1/carts", `{}`, "Annals-Client: other").is(201)
	lineage := b.send("GET", "/v1/events/4/lineage", "").is(200)
	wantMembers(t, lineage.json(), "event", "causes", "effects", "searched_to", "head")
	if p := lineage.json(); len(p["causes"].([]any)) != 0 || len(p["effects"].([]any)) != 0 || p["head"] != 5.0 || p["searched_to"] != 5.0 ||
		p["event"].(map[string]any)["position"] != 4.0 {
		t.Errorf("%s", lineage.body)
	}
	b.send("GET", "/v1/events/5/lineage", "").problem(404, "not-found")
	b.send("GET", "/v1/events/5/lineage", "", "Annals-Client: *").is(200)
	b.send("GET", "/v1/events/99/lineage", "").problem(404, "not-found")
	b.send("GET", "/v1/events/x/lineage", "").problem(404, "not-found")
	b.send("GET", "/v1/events/99/lineage", "", "Annals-Min-Position: 99", "Prefer: wait=0").problem(503, "read-model-behind")
}

// What a policy does is shown as the effect of the event that made it.
func TestLineageOfAPolicy(t *testing.T) {
	t.Parallel()
	b := newPlant(t)
	order := b.send("POST", "/v1/work-orders", `{"number":"WO-1","product_code":"P-7","quantity_ordered":5,
		"received_on":"2026-01-05","due_on":"2125-12-31","close_on_ship":true}`).is(201).text("id")
	b.transition(order, "released")
	b.transition(order, "in_progress")
	b.entry(order, "L1", "2026-01-06", 5, 0)
	b.transition(order, "completed")
	b.send("POST", "/v1/work-orders/"+order+"/qc-approval", `{}`).is(200)
	shipped := b.transition(order, "shipped").number("position")
	check(t, b.group.WaitFor(t.Context(), "close_on_ship", shipped))
	closed := b.head()
	cause := b.send("GET", fmt.Sprintf("/v1/events/%d/lineage", shipped), "").is(200)
	effect := b.send("GET", fmt.Sprintf("/v1/events/%d/lineage", closed), "").is(200)
	if diff := cmp.Diff([]string{fmt.Sprint(closed, " work_order.status_changed")}, shown(cause.json()["effects"].([]any))); diff != "" {
		t.Errorf("effects: %s", diff)
	}
	if diff := cmp.Diff([]string{fmt.Sprint(shipped, " work_order.status_changed")}, shown(effect.json()["causes"].([]any))); diff != "" {
		t.Errorf("causes: %s", diff)
	}
}

// rows gives the events that made a row, read one at a time.
func (b *bench) rows(table, key string) []string {
	b.t.Helper()
	found := []string{}
	path := "/v1/audit-log/rows?limit=1&table=" + table + "&key=" + url.QueryEscape(key)
	for next := ""; ; {
		page := b.send("GET", path+next, "").is(200)
		found = append(found, shown(page.json()["items"].([]any))...)
		cursor, more := page.json()["next_cursor"].(string)
		if !more {
			return found
		}
		next = "&cursor=" + cursor
	}
}

// only gives the position of the one event of a type.
func (b *bench) only(eventType string) int64 {
	b.t.Helper()
	found := items(b.send("GET", "/v1/events?event_type="+eventType, "").is(200))
	if len(found) != 1 {
		b.t.Fatalf("%d events %s", len(found), eventType)
	}
	return int64(found[0]["position"].(float64))
}

func TestRowsAndTheirEvents(t *testing.T) {
	t.Parallel()
	b := newPlant(t)
	product := b.product("A", 5)                                                                         // 1
	b.send("POST", "/v1/products", `{"sku":"A","name":"A","price":"1"}`, "Annals-Client: other").is(201) // 2
	order := b.order(product, 1)                                                                         // 3 - 6 and on
	b.send("PATCH", "/v1/products/"+product, `{"name":"B"}`).is(200)
	renamed := b.head()
	b.send("PUT", "/v1/kpi-thresholds/quality_rate", `{"direction":"min","limit":"90","period":"day"}`).is(200)
	set := b.head()
	work := b.workOrder("WO-1", "released", "in_progress")
	other := b.workOrder("WO-2", "released", "in_progress")
	entry := b.entry(work, "L,1", "2026-01-06", 100, 50)
	recorded := b.only("production_entry.created") // the policy may have gone on from it already
	b.entry(other, "L,1", "2026-01-06", 100, 50)
	b.watched()
	violated := b.only("kpi.threshold_violated")
	b.send("POST", "/v1/production-entries/"+entry+"/corrections", `{"line":"L2","defect_count":0,"reason":"recount"}`).is(200)
	corrected := b.head() - 1
	inspection := b.inspection(work, "2026-01-07", 9, 1)
	inspected := b.head()
	alert := b.send("GET", fmt.Sprintf("/v1/events/%d", violated), "").text("event_id")
	for _, c := range []struct {
		table, key string
		want       []string
	}{
		{"kpis", `2026-01-06,"L,1",A,` + work, []string{
			fmt.Sprint(recorded, " production_entry.created"), fmt.Sprint(corrected, " production_entry.corrected")}},
		{"kpis", "2026-01-06,L2,A," + work, []string{fmt.Sprint(corrected, " production_entry.corrected")}},
		{"kpis", "2026-01-07,,," + work, []string{fmt.Sprint(inspected, " quality_inspection.recorded")}},
		{"production_entries", entry, []string{
			fmt.Sprint(recorded, " production_entry.created"), fmt.Sprint(corrected, " production_entry.corrected")}},
		{"quality_inspections", inspection, []string{fmt.Sprint(inspected, " quality_inspection.recorded")}},
		{"audit_log", fmt.Sprint(renamed), []string{fmt.Sprint(renamed, " product.renamed")}},
		{"kpi_alerts", alert, []string{fmt.Sprint(violated, " kpi.threshold_violated")}},
	} {
		if diff := cmp.Diff(c.want, b.rows(c.table, c.key)); diff != "" {
			t.Errorf("%s %s: %s", c.table, c.key, diff)
		}
	}
	for table, key := range map[string]string{"products": product, "orders": order, "work_orders": work} {
		stream := b.send("GET", "/v1/streams/"+strings.TrimSuffix(table, "s")+"/"+key, "")
		if diff := cmp.Diff(shown(stream.json()["items"].([]any)), b.rows(table, key)); diff != "" {
			t.Errorf("%s: %s", table, diff)
		}
	}
	b.send("DELETE", "/v1/kpi-thresholds/quality_rate", "").is(200)
	removed := b.head()
	if diff := cmp.Diff([]string{
		fmt.Sprint(violated, " kpi.threshold_violated"), fmt.Sprint(removed, " kpi.threshold_removed"),
	}, b.rows("kpi_alerts", alert)); diff != "" {
		t.Error(diff)
	}
	for what, want := range map[string]int{
		"table=products&key=" + exampleID: 404, "table=orders&key=" + product: 404, "table=kpi_alerts&key=" + exampleID: 404,
		"table=kpis&key=2026-01-09,L2,A," + work: 404, "table=kpis&key=2026-01-06,L2,A," + exampleID: 404, "table=audit_log&key=2": 404,
		"table=audit_log&key=0": 404, "table=products&key=x": 400, "table=products": 400, "key=x": 400, "table=events&key=" + product: 400,
		"table=kpis&key=" + work: 400, "table=kpis&key=2026-01-06,L2,A,x": 400, "table=kpis&key=06.01.2026,L2,A," + work: 400,
		"table=audit_log&key=-1": 400, "table=products&key=" + product + "&x=1": 400, "table=products&key=&limit=1": 400,
		"table=products&key=" + product + "&cursor=x": 400, "table=kpi_alerts&key=" + fmt.Sprint(set): 400,
	} {
		if got := b.send("GET", "/v1/audit-log/rows?"+what, "").status; got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	b.send("GET", "/v1/audit-log/rows?table=audit_log&key=2", "", "Annals-Client: *").is(200)
}

// A new read model must be added to those whose rows can be asked for, and to the document.
func TestRowsOfEveryReadModel(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	document, _ := readContract(t).at("paths", "/v1/audit-log/rows", "get", "parameters")
	text, err := json.Marshal(document)
	check(t, err)
	for _, p := range readModels() {
		name := p.Spec().Name
		detail := b.send("GET", "/v1/audit-log/rows?table="+name+"&key=!", "").problem(400, "malformed-request")["detail"].(string)
		if !strings.Contains(detail, "parameter key") || !bytes.Contains(text, []byte(`"`+name+`"`)) {
			t.Errorf("%s: %s", name, detail)
		}
	}
}
