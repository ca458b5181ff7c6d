package rest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const atLeast85 = `{"direction":"min","limit":"85","period":"day"}`

func TestThresholds(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	set := b.send("PUT", "/v1/kpi-thresholds/oee", atLeast85).is(200)
	if set.header.Get("Location") != "" || set.header.Get("ETag") != `"1"` || set.number("version") != 1 {
		t.Errorf("%s %v", set.body, set.header)
	}
	id := set.text("id")
	if id[14] != '5' {
		t.Errorf("%s is no UUIDv5", id)
	}
	shown := b.send("GET", "/v1/kpi-thresholds/oee", "", b.at()).is(200)
	want := map[string]any{
		"id": id, "kpi": "oee", "direction": "min", "limit": "85", "period": "day", "line": nil, "status": "active",
		"violated": false, "version": 1.0, "updated_at": shown.json()["updated_at"],
	}
	if diff := cmp.Diff(want, shown.json()); diff != "" || shown.header.Get("ETag") != `"1"` {
		t.Error(diff, shown.header)
	}

	// The line's is another one, however it is named, and of another client too.
	line := b.send("PUT", "/v1/kpi-thresholds/oee", `{"direction":"min","limit":"80","period":"week","line":"L 1"}`).is(200).text("id")
	same := b.send("PUT", "/v1/kpi-thresholds/oee?line=L+1", `{"direction":"min","limit":"80.0","period":"week","line":null}`).is(200)
	if same.text("id") != line || line == id || len(same.json()["events"].([]any)) != 0 {
		t.Errorf("%s, want nothing to change on %s", same.body, line)
	}
	theirs := b.send("PUT", "/v1/kpi-thresholds/oee", atLeast85, "Annals-Client: other").is(200).text("id")
	if theirs == id {
		t.Error("two clients have one threshold")
	}
	if got := b.send("GET", "/v1/kpi-thresholds/oee?line=L+1", "", b.at()).is(200); got.text("id") != line || got.text("limit") != "80" || got.text("line") != "L 1" {
		t.Errorf("%s", got.body)
	}
	b.send("GET", "/v1/kpi-thresholds/oee?line=L2", "", b.at()).problem(404, "not-found")

	// PUT replaces. Values that are there already change nothing.
	replaced := b.send("PUT", "/v1/kpi-thresholds/oee", `{"direction":"max","limit":"90.5000","period":"week"}`,
		`If-Match: "1"`, "Prefer: return=representation").is(200)
	if replaced.text("id") != id || replaced.text("limit") != "90.5" || replaced.number("version") != 2 {
		t.Errorf("%s", replaced.body)
	}
	b.send("PUT", "/v1/kpi-thresholds/oee", atLeast85, `If-Match: "1"`).problem(412, "version-mismatch")
	state := b.send("GET", "/v1/streams/kpi/"+id+"/state", "").is(200)
	shown = b.send("GET", "/v1/kpi-thresholds/oee", "", b.at()).is(200)
	if diff := cmp.Diff(shown.json(), state.json()["state"]); diff != "" {
		t.Error(diff)
	}

	listed := func(query string, want ...string) {
		t.Helper()
		var got []string
		for _, item := range items(b.send("GET", "/v1/kpi-thresholds"+query, "", b.at())) {
			got = append(got, item["id"].(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	listed("", id, line)
	listed("?line=L+1", line)
	listed("?kpi=ppm")
	cursor := "limit=1&cursor=" + b.send("GET", "/v1/kpi-thresholds?limit=1", "", b.at()).text("next_cursor")
	listed("?"+cursor, line)
	for _, filter := range []string{"line=L+1&", "kpi=oee&"} {
		b.send("GET", "/v1/kpi-thresholds?"+filter+cursor, "").problem(400, "malformed-request")
	}

	b.send("DELETE", "/v1/kpi-thresholds/oee?line=L2", "").problem(404, "not-found")
	b.send("DELETE", "/v1/kpi-thresholds/oee", "", `If-Match: "1"`).problem(412, "version-mismatch")
	removed := b.send("DELETE", "/v1/kpi-thresholds/oee", "").is(200)
	if removed.text("id") != id || removed.number("version") != 3 || len(removed.json()["events"].([]any)) != 1 {
		t.Errorf("%s", removed.body)
	}
	b.send("DELETE", "/v1/kpi-thresholds/oee", "").problem(404, "not-found")
	b.send("GET", "/v1/kpi-thresholds/oee", "", b.at()).problem(404, "not-found")
	listed("", line)
	b.send("GET", "/v1/kpi-thresholds/oee", "", b.at(), "Annals-Client: other").is(200)
	if gone := b.send("GET", "/v1/streams/kpi/"+id+"/state", "").json()["state"].(map[string]any); gone["status"] != "removed" {
		t.Errorf("%v", gone)
	}
	again := b.send("PUT", "/v1/kpi-thresholds/oee", atLeast85).is(200)
	if again.text("id") != id || again.number("version") != 4 {
		t.Errorf("%s", again.body)
	}
	listed("", line, id)
}

func TestThresholdRequests(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	tests := map[string]struct {
		method, path, body string
		status             int
		slug, pointers     string
	}{
		"empty line":            {"GET", "/oee?line=", "", 400, "malformed-request", ""},
		"empty line to remove":  {"DELETE", "/oee?line=", "", 400, "malformed-request", ""},
		"empty line to set":     {"PUT", "/oee?line=", atLeast85, 400, "malformed-request", ""},
		"two lines":             {"PUT", "/oee?line=a&line=b", atLeast85, 400, "malformed-request", ""},
		"unknown parameter":     {"PUT", "/oee?period=day", atLeast85, 400, "malformed-request", ""},
		"kpi of a list":         {"GET", "?kpi=speed", "", 400, "malformed-request", ""},
		"query before 404":      {"GET", "/speed?line=", "", 400, "malformed-request", ""},
		"no body":               {"PUT", "/oee", "", 400, "malformed-request", ""},
		"nothing":               {"PUT", "/oee", `{}`, 422, "validation-failed", "/direction /limit /period"},
		"types":                 {"PUT", "/oee", `{"direction":1,"limit":85,"period":[],"line":7,"x":1}`, 422, "validation-failed", "/direction /limit /line /period /x"},
		"values":                {"PUT", "/oee", `{"direction":"up","limit":"-1","period":"month","line":""}`, 422, "validation-failed", "/direction /limit /line /period"},
		"limit too fine":        {"PUT", "/oee", `{"direction":"min","limit":"1.00001","period":"day"}`, 422, "validation-failed", "/limit"},
		"limit too large":       {"PUT", "/oee", `{"direction":"min","limit":"1000000000.1","period":"day"}`, 422, "validation-failed", "/limit"},
		"line of inspections":   {"PUT", "/ppm", `{"direction":"max","limit":"1","period":"day","line":"L1"}`, 422, "validation-failed", "/line"},
		"the same by query":     {"PUT", "/otd?line=L1", `{"direction":"min","limit":"1","period":"day"}`, 422, "validation-failed", "/line"},
		"another line":          {"PUT", "/oee?line=L1", `{"direction":"min","limit":"1","period":"day","line":"L2"}`, 422, "validation-failed", "/line"},
		"long line by query":    {"PUT", "/oee?line=" + strings.Repeat("l", 65), atLeast85, 422, "validation-failed", "/line"},
		"body of a delete":      {"DELETE", "/oee", `{"line":"L1"}`, 422, "validation-failed", "/line"},
		"values before 404":     {"PUT", "/speed", `{}`, 422, "validation-failed", "/direction /limit /period"},
		"unknown figure":        {"PUT", "/speed", atLeast85, 404, "not-found", ""},
		"figure in capitals":    {"PUT", "/OEE", atLeast85, 404, "not-found", ""},
		"show unknown figure":   {"GET", "/speed", "", 404, "not-found", ""},
		"show a NUL":            {"GET", "/%00", "", 404, "not-found", ""},
		"remove unknown figure": {"DELETE", "/speed", "", 404, "not-found", ""},
		"age isn't watched":     {"PUT", "/wip_age", atLeast85, 404, "not-found", ""},
		"none":                  {"GET", "/oee", "", 404, "not-found", ""},
		"none to remove":        {"DELETE", "/ppm?line=L1", "", 404, "not-found", ""},
		"method":                {"POST", "/oee", atLeast85, 405, "method-not-allowed", ""},
	}
	head := b.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := b.send(test.method, "/v1/kpi-thresholds"+test.path, test.body).problem(test.status, test.slug)
			if got := pointersOf(p); got != test.pointers {
				t.Errorf("pointers %q, want %q", got, test.pointers)
			}
		})
	}
	if b.head() != head {
		t.Error("something was written")
	}
}

// pointersOf gives the pointers of a problem's faults.
func pointersOf(p map[string]any) string {
	var pointers []string
	faults, _ := p["errors"].([]any)
	for _, fault := range faults {
		pointers = append(pointers, fault.(map[string]any)["pointer"].(string))
	}
	return strings.Join(pointers, " ")
}

// A key is bound to the threshold that the query string names.
func TestThresholdIdempotency(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	const key = "Idempotency-Key: k"
	for _, line := range []string{"", "?line=L1", "?line=L2"} {
		b.send("PUT", "/v1/kpi-thresholds/oee"+line, atLeast85).is(200)
	}
	first := b.send("DELETE", "/v1/kpi-thresholds/oee?line=L1", "", key).is(200)
	again := b.send("DELETE", "/v1/kpi-thresholds/oee?line=L1", "", key).is(200)
	if string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s", again.body)
	}
	b.send("DELETE", "/v1/kpi-thresholds/oee?line=L2", "", key).problem(422, "idempotency-key-reused")
	b.send("DELETE", "/v1/kpi-thresholds/oee", "", key).problem(422, "idempotency-key-reused")
	if got := len(items(b.send("GET", "/v1/kpi-thresholds", "", b.at()))); got != 2 {
		t.Errorf("%d thresholds are left", got)
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	b := newPlant(t)
	b.send("PUT", "/v1/kpi-thresholds/quality_rate", `{"direction":"min","limit":"95.50","period":"day"}`).is(200)
	b.send("PUT", "/v1/kpi-thresholds/quality_rate?line=L1", `{"direction":"min","limit":"90","period":"week"}`).is(200)
	b.send("PUT", "/v1/kpi-thresholds/ppm", `{"direction":"max","limit":"2000","period":"day"}`).is(200)
	order := b.workOrder("WO-1", "released", "in_progress")
	entry := b.entry(order, "L1", "2026-01-06", 100, 8)
	b.watched()
	alerts := func(query string) []map[string]any {
		t.Helper()
		return items(b.send("GET", "/v1/kpi-alerts"+query, "", b.at()))
	}
	found := alerts("")
	if len(found) != 1 {
		t.Fatalf("%v", found)
	}
	want := map[string]any{
		"id": found[0]["id"], "kpi": "quality_rate", "value": "92.00", "limit": "95.5", "direction": "min",
		"period": "2026-01-06", "line": nil, "violated_at": found[0]["violated_at"], "recovered_at": nil,
		"position": found[0]["position"],
	}
	if diff := cmp.Diff(want, found[0]); diff != "" {
		t.Error(diff)
	}
	if got := b.send("GET", "/v1/kpi-thresholds/quality_rate", "", b.at()).json()["violated"]; got != true {
		t.Error("the threshold isn't violated")
	}

	b.entry(order, "L1", "2026-01-05", 100, 20) // the week falls to 86 %, the latest day stays
	b.watched()
	if found = alerts("?line=L1"); len(found) != 1 || found[0]["value"] != "86.00" || found[0]["period"] != "2026-W02" || found[0]["line"] != "L1" {
		t.Errorf("%v", found)
	}
	b.inspection(order, "2026-01-07", 99, 1)
	b.watched()
	for query, want := range map[string]int{
		"": 3, "?status=open": 3, "?status=recovered": 0, "?kpi=ppm": 1, "?from=2126-01-01": 0, "?to=2126-01-01": 3,
		"?to=2026-01-01": 0, "?limit=2": 2,
	} {
		if got := len(alerts(query)); got != want {
			t.Errorf("%s: %d alerts, want %d", query, got, want)
		}
	}
	first := b.send("GET", "/v1/kpi-alerts?limit=2", "", b.at())
	if rest := alerts("?cursor=" + first.text("next_cursor")); len(rest) != 1 || rest[0]["kpi"] != "ppm" {
		t.Errorf("%v", rest)
	}
	for _, filter := range []string{"status=open", "kpi=ppm", "line=L1", "from=2026-01-01", "to=2126-01-01"} {
		b.send("GET", "/v1/kpi-alerts?"+filter+"&cursor="+first.text("next_cursor"), "").problem(400, "malformed-request")
	}

	// A correction brings the figure back, and so ends both of its alerts; a removal ends the third.
	b.send("POST", "/v1/production-entries/"+entry+"/corrections", `{"defect_count":0,"reason":"recount"}`).is(200)
	b.watched()
	b.send("DELETE", "/v1/kpi-thresholds/ppm", "").is(200)
	if found = alerts("?status=recovered"); len(found) != 3 || found[0]["recovered_at"] == nil || len(alerts("?status=open")) != 0 {
		t.Errorf("%v", found)
	}
	for _, path := range []string{"?status=closed", "?kpi=speed", "?line=", "?from=2026-13-01", "?to=x", "?work_order_id=" + order} {
		b.send("GET", "/v1/kpi-alerts"+path, "").problem(400, "malformed-request")
	}
	if got := len(items(b.send("GET", "/v1/kpi-alerts", "", b.at(), "Annals-Client: other"))); got != 0 {
		t.Errorf("another client sees %d alerts", got)
	}
}
