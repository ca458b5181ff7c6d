package rest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/apikeys"
	"annals/transport/rest"
)

// guarded makes a server ask for API keys, once there is one.
func guarded(b *bench) {
	b.keys = apikeys.NewManager(b.db.DB, func(ctx context.Context, c operations.APIKeyCommand) error {
		command := eventstore.Command{Client: eventstore.SystemClient, Actor: "cli:test"}
		_, err := b.store.Runner.Run(ctx, command, func(ctx context.Context, u *domain.UnitOfWork) error {
			return operations.ChangeAPIKey(ctx, u, c)
		})
		return err
	})
	directory := apikeys.NewDirectory(pool(b.t, b.db.DSN, eventstore.RoleApp, 2), b.logger)
	b.t.Cleanup(directory.Close)
	b.config.Authenticator = rest.Identity{Keys: directory}
}

// key makes an API key and gives the header that carries it.
func (b *bench) key(client, role, actor string) string {
	b.t.Helper()
	_, secret, err := b.keys.Create(b.t.Context(), apikeys.NewKey{Client: client, Role: role, Actor: actor, CreatedBy: "test"})
	check(b.t, err)
	return "Authorization: Bearer " + secret
}

// closed waits until the server asks for credentials.
func (b *bench) closed() {
	b.t.Helper()
	for b.t.Context().Err() == nil && b.send("GET", "/v1/products", "").status != http.StatusUnauthorized {
	}
}

func TestOpenUntilThereIsAKey(t *testing.T) {
	t.Parallel()
	b := newServer(t, guarded)
	product := b.send("POST", "/v1/products", `{"sku":"A","name":"A","price":"1"}`, "Annals-Client: acme", "Annals-Actor: eve").is(201)
	k, secret, err := b.keys.Create(t.Context(), apikeys.NewKey{Client: "acme", Role: "operator", Actor: "ada", CreatedBy: "test"})
	check(t, err)
	b.closed()
	key := "Authorization: Bearer " + secret
	r := b.send("GET", "/v1/products", "", "Annals-Client: acme")
	r.problem(401, "unauthorized")
	if got := r.header.Get("WWW-Authenticate"); got != `Bearer realm="annals"` {
		t.Errorf("WWW-Authenticate: %s", got)
	}
	id := product.text("id")
	b.send("GET", "/v1/products/"+id, "", key, b.at()).is(200)
	b.send("POST", "/v1/products/"+id+"/stock-receipts", `{"quantity":1}`, key, "Annals-Actor: eve").is(200)
	var actors string
	check(t, b.db.Get(&actors, `SELECT string_agg(actor_id, ' ' ORDER BY position) FROM annals.events WHERE client_id = 'acme'`))
	if actors != "eve ada" {
		t.Errorf("the actors are %s: the header counts for nothing once there is a credential", actors)
	}
	// The last key goes, and the server stays closed.
	_, err = b.keys.Revoke(t.Context(), k.ID, "r")
	check(t, err)
	for t.Context().Err() == nil && b.send("GET", "/v1/products", "", key).status == http.StatusOK {
	}
	r = b.send("GET", "/v1/products", "", key)
	r.problem(401, "unauthorized")
	if got := r.header.Get("WWW-Authenticate"); got != `Bearer realm="annals", error="invalid_token"` {
		t.Errorf("WWW-Authenticate: %s", got)
	}
	b.send("POST", "/v1/carts", `{}`).problem(401, "unauthorized")
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml", "/docs", "/problems/unauthorized"} {
		b.send("GET", path, "").is(200)
	}
}

func TestWhatAKeyAllows(t *testing.T) {
	t.Parallel()
	b := newServer(t, guarded)
	keys := map[string]string{"none": "X-None: 1"}
	for _, k := range []string{"acme viewer", "acme operator", "acme auditor", "acme admin", "* auditor", "* admin", "annals auditor"} {
		client, role, _ := strings.Cut(k, " ")
		keys[k] = b.key(client, role, role)
	}
	keys["basic"] = "Authorization: Basic " + strings.TrimPrefix(keys["acme admin"], "Authorization: Bearer ")
	keys["bare"] = "Authorization: " + strings.TrimPrefix(keys["acme admin"], "Authorization: Bearer ")
	keys["lower case"] = strings.Replace(keys["acme viewer"], "Bearer", "bearer", 1)
	keys["empty"] = "Authorization: Bearer "
	keys["a token"] = "Authorization: Bearer a.b.c"
	const query, command, events, projections = "GET /v1/products", "POST /v1/carts", "GET /v1/events", "GET /v1/projections"
	for _, c := range []struct {
		key, client, route string
		status             int
	}{
		{"none", "", query, 401}, {"basic", "", query, 401}, {"bare", "", query, 401}, {"empty", "", query, 401},
		{"a token", "", query, 401}, {"lower case", "", query, 200}, {"none", "acme", command, 401},
		{"acme viewer", "", query, 200}, {"acme viewer", "", command, 403}, {"acme viewer", "", events, 403},
		{"acme operator", "", query, 200}, {"acme operator", "", command, 201}, {"acme operator", "", events, 403},
		{"acme auditor", "", query, 200}, {"acme auditor", "", command, 403}, {"acme auditor", "", events, 200},
		{"acme auditor", "", projections, 403}, {"acme admin", "", projections, 200}, {"acme admin", "", command, 201},
		// The header can name the credential's client, and no other.
		{"acme admin", "acme", command, 201}, {"acme admin", "other", command, 403}, {"acme admin", "other", query, 403},
		{"acme admin", "*", events, 403}, {"acme admin", "annals", events, 403},
		// A credential for every client looks at all or at one, and commands nothing.
		{"* auditor", "", events, 200}, {"* auditor", "*", events, 200}, {"* auditor", "", query, 403},
		{"* auditor", "acme", query, 200}, {"* auditor", "acme", events, 200}, {"* auditor", "annals", events, 200},
		{"* admin", "", command, 403}, {"* admin", "acme", command, 403}, {"* admin", "acme", query, 200},
		{"* admin", "", projections, 200}, {"* admin", "acme", projections, 200},
		{"annals auditor", "", events, 200}, {"annals auditor", "", command, 403}, {"annals auditor", "acme", events, 403},
	} {
		t.Run(c.key+" "+c.client+" "+c.route, func(t *testing.T) {
			headers := []string{keys[c.key]}
			if c.client != "" {
				headers = append(headers, "Annals-Client: "+c.client)
			}
			method, path, _ := strings.Cut(c.route, " ")
			body := ""
			if method == "POST" {
				body = `{}`
			}
			if r := b.send(method, path, body, headers...); r.status != c.status {
				t.Errorf("status %d, want %d: %s", r.status, c.status, r.body)
			}
		})
	}
}

// A page of another site, whose name was made to resolve to this machine, gets nothing of a server that runs open.
func TestOpenServerAnswersToLoopbackOnly(t *testing.T) {
	t.Parallel()
	b := newServer(t, guarded)
	get := func(host string, headers ...string) *reply {
		r, err := http.NewRequest("GET", b.url+"/v1/products", nil)
		check(t, err)
		r.Host = host
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		return b.do(r)
	}
	for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080", "127.1.2.3", "[::1]", "[::1]:8080"} {
		get(host).is(200)
	}
	foreign := []string{
		"attacker.example", "attacker.example:8080", "192.0.2.1", "localhost.attacker.example", "127.0.0.1.attacker.example",
		"[2001:db8::1]:80", "0.0.0.0",
	}
	for _, host := range foreign {
		get(host).problem(403, "forbidden")
	}
	key := b.key("acme", "viewer", "ada")
	b.closed()
	for _, host := range foreign { // with credentials the name doesn't matter
		get(host, key).is(200)
		get(host).problem(401, "unauthorized")
	}
}

// Without a database nobody is taken for anybody.
func TestKeysWithoutDatabase(t *testing.T) {
	t.Parallel()
	b := newServer(t, func(b *bench) {
		unreachable, err := eventstore.OpenDB("postgres:///x?host=/nonexistent", eventstore.RoleApp, 1, "test")
		check(t, err)
		directory := apikeys.NewDirectory(unreachable, b.logger)
		t.Cleanup(directory.Close)
		b.config.Authenticator = rest.Identity{Keys: directory}
	})
	for _, headers := range [][]string{nil, {"Authorization: Bearer " + apikeys.Prefix + "x"}} {
		r := b.send("GET", "/v1/products", "", headers...)
		r.problem(503, "unavailable")
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%v", r.header)
		}
	}
}

// A stream of events ends when the credential that it was opened with isn't valid any more.
func TestStreamsEndWithTheirCredential(t *testing.T) {
	t.Parallel()
	b := newServer(t, guarded)
	k, secret, err := b.keys.Create(t.Context(), apikeys.NewKey{Client: "acme", Role: "auditor", Actor: "eve", CreatedBy: "test"})
	check(t, err)
	operator := b.key("acme", "operator", "ada")
	b.closed()
	r, err := http.NewRequestWithContext(t.Context(), "GET", b.url+"/v1/events", nil)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+secret)
	r.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultTransport.RoundTrip(r)
	check(t, err)
	defer response.Body.Close()
	ended := make(chan error, 1)
	go func() {
		for decoder := make([]byte, 4096); ; {
			if _, err := response.Body.Read(decoder); err != nil {
				ended <- err
				return
			}
		}
	}()
	_, err = b.keys.Revoke(t.Context(), k.ID, "r")
	check(t, err)
	for open := true; open; { // each command is news to the stream
		select {
		case err := <-ended:
			open = false
			if response.StatusCode != 200 || err == nil {
				t.Errorf("status %d, %v", response.StatusCode, err)
			}
		case <-t.Context().Done():
			t.Fatal("the stream goes on")
		default:
			b.send("POST", "/v1/carts", `{}`, operator).is(201)
		}
	}
}
