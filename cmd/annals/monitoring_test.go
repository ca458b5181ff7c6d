package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"annals/eventstore/pgtest"
)

const monitoringDir = "../../docs/monitoring"

// elsewhere are labels and metrics that Prometheus itself adds.
var elsewhere = []string{"instance", "job", "le", "up"}

// scrape is what a server shows at /metrics: the values of each label of each metric.
type scrape map[string]map[string][]string

// scraped asks a server for its metrics.
func scraped(t *testing.T, url string) scrape {
	t.Helper()
	res, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text := expfmt.NewTextParser(model.UTF8Validation)
	families, err := text.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := make(scrape)
	for name, family := range families {
		names := []string{name}
		if family.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, n := range names {
			found[n] = make(map[string][]string)
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					found[n][l.GetName()] = append(found[n][l.GetName()], l.GetValue())
				}
			}
		}
	}
	return found
}

// judge reports what an expression names that a server doesn't show.
func (s scrape) judge(t *testing.T, where, expression string) {
	t.Helper()
	q, err := readPromQL(expression)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	known := slices.Clone(elsewhere)
	for _, selector := range q.selectors {
		metric, ok := s[selector.metric]
		if !ok && !slices.Contains(elsewhere, selector.metric) {
			t.Errorf("%s: no server shows %s", where, selector.metric)
			continue
		}
		known = slices.AppendSeq(known, maps.Keys(metric))
		for _, m := range selector.matchers {
			values, ok := metric[m.label]
			switch {
			case slices.Contains(elsewhere, m.label):
			case !ok:
				t.Errorf("%s: %s has no label %s", where, selector.metric, m.label)
			case m.operator == "=" && !slices.Contains(values, m.value):
				t.Errorf("%s: %s has no %s=%q", where, selector.metric, m.label, m.value)
			}
		}
	}
	for _, label := range q.labels {
		if !slices.Contains(known, label) {
			t.Errorf("%s: nothing in it has the label %s", where, label)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// dashboardExpressions are the queries of the dashboard, by panel.
func dashboardExpressions(t *testing.T) map[string][]string {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Type, Query string }
		}
	}
	if err := json.Unmarshal(readFile(t, filepath.Join(monitoringDir, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]string)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			found[p.Title] = append(found[p.Title], strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
		}
	}
	for _, v := range dashboard.Templating.List {
		if metric, ok := strings.CutPrefix(v.Query, "label_values("); ok && v.Type == "query" {
			metric, _, _ = strings.Cut(metric, ",")
			found["variables"] = append(found["variables"], metric)
		}
	}
	return found
}

// alert is a rule as Prometheus reads it.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// alerts reads the rules. Prometheus takes no member that it doesn't know.
func alerts(t *testing.T) []alert {
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(readFile(t, filepath.Join(monitoringDir, "alerts.yaml"))))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("the file has the groups %+v", file.Groups)
	}
	return file.Groups[0].Rules
}

// headings gives the anchors of a document's headings as they are linked to.
func headings(document []byte) (anchors []string) {
	other := regexp.MustCompile(`[^a-z0-9 -]`)
	for line := range strings.Lines(string(document)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			anchor := other.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	return anchors
}

func TestDashboardAndAlertsNameWhatServersShow(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN)
	c := server.caller("acme")
	c.product("A-1", 5)
	// A rebuild can't switch while somebody reads the table, so that it is certainly there to be seen.
	reader, err := db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	if _, err := reader.Exec(`SELECT FROM ` + liveProducts); err != nil {
		t.Fatal(err)
	}
	c.send("POST", "/v1/projections/products/rebuild", "").is(http.StatusAccepted)
	shown := scraped(t, server.url)
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}

	panels := dashboardExpressions(t)
	if len(panels) < 20 {
		t.Errorf("the dashboard has only %d panels", len(panels))
	}
	for title, expressions := range panels {
		for _, expression := range expressions {
			shown.judge(t, "panel "+title, expression)
		}
	}
	anchors := headings(readFile(t, "../../docs/operations.md"))
	for _, a := range alerts(t) {
		shown.judge(t, "alert "+a.Alert, a.Expr)
		anchor, ok := strings.CutPrefix(a.Annotations["runbook"], "../operations.md#")
		if !ok || !slices.Contains(anchors, anchor) {
			t.Errorf("alert %s: the runbook %q isn't a heading of docs/operations.md", a.Alert, a.Annotations["runbook"])
		}
		if a.Annotations["summary"] == "" || a.Labels["severity"] == "" {
			t.Errorf("alert %s has no summary or no severity", a.Alert)
		}
	}
}
