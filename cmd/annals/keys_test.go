//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"annals/eventstore/pgtest"
)

// withKey gives a caller that sends an API key and names no client.
func (p *program) withKey(key string) *caller {
	c := p.caller("")
	c.key = strings.TrimSpace(key)
	return c
}

// Keys are made beside a running server, which asks for them from then on, and goes on doing so without any.
func TestKeysFromTheCommandLine(t *testing.T) {
	t.Parallel()
	database := []string{"--database-url", pgtest.New(t).DSN}
	tool := func(line string, more ...string) *program {
		t.Helper()
		return annals(t, append(append(strings.Fields(line), more...), database...)...)
	}
	annals(t, append([]string{"serve", "--addr", "0.0.0.0:0"}, database...)...).exits(exitMisuse).says("loopback only", "annals keys create")
	server := serveHere(t, database...)
	server.says("runs open")
	product := server.caller("acme").product("K-1", 5)

	made := tool("keys create --client acme --role operator --actor ada --expires-in 90d", "--label", "the till").exits(exitDone)
	key := made.stdout.String()
	id := strings.Split(key, "_")[1]
	for t.Context().Err() == nil && server.caller("acme").get("/v1/products/"+product, 0).status != http.StatusUnauthorized {
	}
	server.withKey(key).send("POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`).is(http.StatusOK)
	tool("keys").exits(exitDone).prints(id, "acme", "operator", "ada", "the till", "active")
	var listed []map[string]any
	text := tool("keys list --output json").exits(exitDone).stdout.String()
	if err := json.Unmarshal([]byte(text), &listed); err != nil || len(listed) != 1 || listed[0]["id"] != id || listed[0]["status"] != "active" {
		t.Errorf("%v: %s", err, text)
	}
	rotated := tool("keys rotate "+id, "--grace", "0s").exits(exitDone).stdout.String()
	for t.Context().Err() == nil && server.withKey(key).get("/v1/products/"+product, 0).status != http.StatusUnauthorized {
	}
	server.withKey(rotated).get("/v1/products/"+product, 0).is(http.StatusOK)
	tool("keys revoke "+id, "--reason", "left the company").exits(exitDone).prints("is revoked")
	for t.Context().Err() == nil && server.withKey(rotated).get("/v1/products/"+product, 0).status != http.StatusUnauthorized {
	}
	server.caller("acme").get("/v1/products/"+product, 0).is(http.StatusUnauthorized)
	log := tool("events export").exits(exitDone).prints("api_key.created", "api_key.rotated", "api_key.revoked", "left the company").stdout.String()
	for _, secret := range []string{key, rotated} {
		secret = strings.TrimSpace(strings.Split(secret, "_")[2])
		if len(secret) != 52 || strings.Contains(log+text+made.stderr.String()+server.stderr.String(), secret) {
			t.Errorf("the secret %q is shown", secret)
		}
	}
	tool("keys revoke aaaaaaaaaaaa").exits(exitFailed).says("no API key")
	tool("keys rotate " + id).exits(exitFailed).says("revoked")

	// Any address will do now, and a tool's own server asks nobody for a key.
	everywhere := runHere(t, append([]string{"serve", "--addr", "0.0.0.0:0"}, database...)...).listening()
	everywhere.says("requests need a credential")
	tool("demo --scale 0.1").exits(exitDone)
	demo := tool("keys create --client acme --role operator --actor demo").exits(exitDone).stdout.String()
	annals(t, "demo", "--scale", "0.1", "--url", server.url, "--client", "acme").exits(exitFailed).says("unauthorized")
	for t.Context().Err() == nil && server.withKey(demo).get("/v1/products/"+product, 0).status != http.StatusOK {
	}
	runChild(t, []string{"ANNALS_API_KEY=" + strings.TrimSpace(demo)}, "demo", "--scale", "0.1", "--url", server.url).exits(exitDone)
}
