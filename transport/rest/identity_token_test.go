package rest_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"annals/transport/rest"
	"annals/transport/tokens"
)

// A token says who asks, as far as its claims are names that an event can carry; keys go on working beside it.
func TestTokensSayWhoAsks(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	check(t, err)
	var down atomic.Bool
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(issuer.Close)
	down.Store(true)
	b := newServer(t, guarded, func(b *bench) {
		identity := b.config.Authenticator.(rest.Identity)
		identity.Tokens, err = tokens.New(tokens.Config{Issuer: issuer.URL, Audience: "annals", KeysURL: issuer.URL})
		check(t, err)
		b.config.Authenticator = identity
	})
	token := func(actor, client, roles any) string {
		claims := jwt.MapClaims{"iss": issuer.URL, "aud": "annals", "exp": time.Now().Add(time.Hour).Unix(), "sub": actor,
			"client_id": client, "roles": roles}
		unsigned := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		unsigned.Header["kid"] = "k"
		signed, err := unsigned.SignedString(private)
		check(t, err)
		return "Authorization: Bearer " + signed
	}
	command := func(headers ...string) *reply { return b.send("POST", "/v1/carts", `{}`, headers...) }
	command("Annals-Client: acme").problem(401, "unauthorized") // an issuer alone closes the server
	command(token("ada", "acme", "operator")).problem(503, "unavailable")
	down.Store(false)
	for t.Context().Err() == nil && command(token("ada", "acme", "viewer")).status == http.StatusServiceUnavailable {
	}
	for _, c := range []struct {
		name                 string
		actor, client, roles any
		status               int
	}{
		{"an operator", "ada@x.example", "acme", []string{"operator"}, 201}, {"several roles", "eve", "acme", "viewer admin", 201},
		{"a viewer", "ada", "acme", "viewer", 403}, {"no role", "ada", "acme", nil, 403}, {"an unknown role", "ada", "acme", "root", 403},
		{"no actor", nil, "acme", "operator", 401}, {"no client", "ada", nil, "operator", 401},
		{"a long actor", strings.Repeat("a", 256), "acme", "operator", 401}, {"an actor with a line feed", "a\nb", "acme", "operator", 401},
		{"a client with a space", "ada", "a b", "operator", 401}, {"an empty client", "ada", "", "operator", 401},
		{"the system's client", "ada", "annals", "admin", 403}, {"every client", "ada", "*", "admin", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := command(token(c.actor, c.client, c.roles)); r.status != c.status {
				t.Errorf("status %d, want %d: %s", r.status, c.status, r.body)
			}
		})
	}
	command(token("ada", "*", "operator"), "Annals-Client: acme").problem(403, "forbidden")
	b.send("GET", "/v1/products", "", token("ada", "*", "viewer"), "Annals-Client: acme").problem(403, "forbidden")
	b.send("GET", "/v1/products", "", token("ada", "*", "auditor"), "Annals-Client: acme").is(200)
	var actors string
	check(t, b.db.Get(&actors, `SELECT string_agg(actor_id, ' ' ORDER BY position) FROM annals.events WHERE client_id = 'acme'`))
	if actors != "ada@x.example eve" {
		t.Errorf("the actors are %s", actors)
	}
	key := b.key("acme", "viewer", "ada")
	for t.Context().Err() == nil && b.send("GET", "/v1/products", "", key).status != http.StatusOK {
	}
}
