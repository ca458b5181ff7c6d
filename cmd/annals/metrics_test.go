package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"annals/eventstore/pgtest"
)

func TestMetricsTellOfLogSubscribersAndCommands(t *testing.T) {
	t.Parallel()
	server := serveHere(t, "--database-url", pgtest.New(t).DSN)
	for _, body := range []string{`{"sku":"M-1","name":"Meter","price":"1.00"}`, `{"sku":"M-1","name":"Other","price":"1.00"}`} {
		res, err := http.Post(server.url+"/v1/products", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	res, err := http.Get(server.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{ // the signing key's event is the first
		"annals_log_head_position 2", `annals_subscriber_position{subscriber="audit_log"} 2`,
		`annals_subscriber_status{status="running",subscriber="products"} 1`, `annals_commands_total{outcome="appended"} 2`,
		`annals_commands_total{outcome="refused"} 1`, `annals_pool_connections{pool="queries",`, `annals_state_loads_total{from="cache"}`,
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}
