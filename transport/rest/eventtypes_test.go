package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"annals/domain"
	"annals/domain/commerce/order"
	"annals/transport/rest"
)

// Every event that the server shows fits the schema that it gives for the event's type and version.
func TestEventsFitTheirSchemas(t *testing.T) {
	t.Parallel()
	b := newServerWith(t, readModels(), allPolicies)
	f := fill(b)
	b.send("POST", "/v1/orders/"+f.order+"/ship", `{}`).is(200)
	order := b.workOrder("WO-1", "released", "in_progress")
	b.entry(order, "L1", "2026-01-06", 100, 1)
	b.inspection(order, "2026-01-07", 9, 1)
	b.hold(order)
	schemas := make(map[string]*jsonschema.Schema)
	for _, item := range items(b.send("GET", "/v1/event-types", "")) {
		for _, v := range item["versions"].([]any) {
			version := v.(map[string]any)
			key := fmt.Sprint(item["event_type"], version["schema_version"])
			c := jsonschema.NewCompiler()
			check(t, c.AddResource("s.json", version["schema"]))
			compiled, err := c.Compile("s.json")
			check(t, err)
			schemas[key] = compiled
		}
	}
	seen := 0
	for line := range bytes.Lines(b.send("GET", "/v1/events", "", asNDJSON).is(200).body) {
		var e struct {
			Type    string `json:"event_type"`
			Version int    `json:"schema_version"`
			Data    json.RawMessage
		}
		check(t, json.Unmarshal(line, &e))
		data, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data))
		check(t, err)
		if err := schemas[fmt.Sprint(e.Type, e.Version)].Validate(data); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		seen++
	}
	if seen < 10 {
		t.Errorf("%d events", seen)
	}
}

func TestEventTypesAndWhoHandlesThem(t *testing.T) {
	t.Parallel()
	b := newServerWith(t, readModels(), plantPolicies)
	types := make(map[string]map[string]any)
	for _, item := range items(b.send("GET", "/v1/event-types", "")) {
		wantMembers(t, item, "event_type", "aggregate_type", "schema_version", "versions", "projections")
		types[item["event_type"].(string)] = item
		if n := len(item["versions"].([]any)); float64(n) != item["schema_version"] {
			t.Errorf("%v: %d versions", item, n)
		}
	}
	if len(types) != len(b.registry.EventTypes()) {
		t.Errorf("%d types", len(types))
	}
	for eventType, want := range map[string][]any{
		"product.registered":        {"audit_log", "products"},
		"work_order.status_changed": {"audit_log", "work_orders", "kpis", "close_on_ship", "kpi_watch"},
		"projection.paused":         {"audit_log"},
	} {
		if got := types[eventType]["projections"].([]any); !slices.Equal(got, want) {
			t.Errorf("%s is handled by %v, want %v", eventType, got, want)
		}
	}
	received := types["product.stock_received"]["versions"].([]any)
	if first := received[0].(map[string]any)["schema"].(map[string]any)["properties"].(map[string]any); first["reason"] != nil {
		t.Errorf("version 1 had no reason: %v", first)
	}
	if b.send("HEAD", "/v1/event-types", "").is(200); b.send("GET", "/v1/event-types?limit=1", "").status != 400 {
		t.Error("takes a limit")
	}
}

// A program that can't describe one of its events doesn't start.
func TestUndescribedEventType(t *testing.T) {
	t.Parallel()
	b := newServer(t)
	definition := order.Definition()
	definition.Events[1] = domain.DefineEvent[order.Cancelled](domain.AddMember("reason", "null"))
	var err error
	b.config.Registry, err = domain.NewRegistry(definition)
	check(t, err)
	b.config.Metrics = prometheus.NewRegistry()
	if _, err := rest.New(t.Context(), b.config); err == nil || !strings.Contains(err.Error(), "order.cancelled") {
		t.Errorf("it started: %v", err)
	}
}
