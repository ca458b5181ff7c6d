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
	c := server.caller("acme")
	c.send("POST", "/v1/products", `{"sku":"M-1","name":"Meter","price":"1.00"}`, "Idempotency-Key: k").is(http.StatusCreated)
	c.send("POST", "/v1/products", `{"sku":"M-1","name":"Meter","price":"1.00"}`, "Idempotency-Key: k").is(http.StatusCreated)
	c.send("POST", "/v1/products", `{"sku":"M-1","name":"Other","price":"1.00"}`).is(http.StatusConflict)
	c.send("POST", "/v1/projections/products/pause", "").is(http.StatusOK)
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
		"annals_log_head_position 3", "go_gc_gogc_percent 400", `annals_subscriber_status{status="paused",subscriber="products"} 1`,
		`annals_subscriber_info{kind="policy",subscriber="cart_expiry",version="1"} 1`,
		`annals_subscriber_failure_attempts{subscriber="audit_log"} 0`,
		`annals_commands_total{outcome="appended"} 3`, `annals_commands_total{outcome="refused"} 1`,
		`annals_command_duration_seconds_count{command="registerProduct",outcome="appended"} 1`,
		`annals_command_duration_seconds_count{command="registerProduct",outcome="replayed"} 1`,
		`annals_command_duration_seconds_count{command="registerProduct",outcome="refused"} 1`,
		`annals_command_duration_seconds_count{command="operation",outcome="appended"} 2`,
		`annals_append_batch_requests_bucket{le="1"} `, `annals_append_wait_seconds_count `, `annals_append_failures_total{kind="unknown"} 0`,
		`annals_pool_connections{pool="queries",`, `annals_pool_connections_max{pool="projections"} 8`,
		`annals_state_loads_total{from="cache"}`, `annals_state_cache_entries `,
		"annals_database_bytes ", "annals_replication_standbys 0", "annals_database_disk_free_bytes ",
		`annals_notification_attempts_total{outcome="dead",receiver="webhook"} 0`, "annals_command_synchronous_pending_total ",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	for _, foreign := range []string{"acme", "M-1"} {
		if strings.Contains(string(text), foreign) {
			t.Errorf("/metrics shows %q, which a caller sent", foreign)
		}
	}
}
