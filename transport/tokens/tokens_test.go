package tokens_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"annals/transport/tokens"
)

// issuer is a server with keys, and a clock that its verifiers go by.
type issuer struct {
	t       *testing.T
	url     string
	fetches atomic.Int64

	mu     sync.Mutex
	keys   map[string]crypto.Signer
	extra  []map[string]any // further members of the set
	broken http.HandlerFunc // nil: the server works
	clock  time.Time
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, keys: map[string]crypto.Signer{}, clock: time.Now()}
	server := httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(server.Close)
	i.url = server.URL
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	modulus, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	i.keys["ed"], i.keys["ec"], i.keys["rsa"] = edwards, curve, modulus
	return i
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.broken != nil {
		i.broken(w, r)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys"}
	case "/keys":
		i.fetches.Add(1)
		set := []any{}
		for id, key := range i.keys {
			marshalled, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id}})
			if err != nil {
				i.t.Error(err)
			}
			set = append(set, marshalled.Marshal())
		}
		for _, e := range i.extra {
			set = append(set, e)
		}
		answer = map[string]any{"keys": set}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock
}

func (i *issuer) pass(d time.Duration) { i.change(func() { i.clock = i.clock.Add(d) }) }

func (i *issuer) verifier(change ...func(*tokens.Config)) *tokens.Verifier {
	i.t.Helper()
	config := tokens.Config{Issuer: i.url, Audience: "annals", KeysURL: i.url + "/keys", Clock: i.now}
	for _, f := range change {
		f(&config)
	}
	v, err := tokens.New(config)
	check(i.t, err)
	return v
}

// claims are those of a good token, with changes; nil removes one.
func (i *issuer) claims(changes map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": i.url, "aud": "annals", "exp": i.now().Add(time.Hour).Unix(), "iat": i.now().Unix(), "sub": "ada", "client_id": "acme",
		"roles": []string{"operator"},
	}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// sign makes a token with a key, by an algorithm, under an id.
func sign(t *testing.T, method jwt.SigningMethod, id string, key any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if id != "" {
		token.Header["kid"] = id
	}
	signed, err := token.SignedString(key)
	check(t, err)
	return signed
}

func (i *issuer) token(changes map[string]any) string {
	return sign(i.t, jwt.SigningMethodEdDSA, "ed", i.keys["ed"], i.claims(changes))
}

func refused(t *testing.T, v *tokens.Verifier, token, detail string) {
	t.Helper()
	who, err := v.Verify(t.Context(), token)
	var invalid *tokens.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(invalid.Detail, detail) {
		t.Errorf("got %+v, %v; want a refusal with %q", who, err, detail)
	}
}

func taken(t *testing.T, v *tokens.Verifier, token string) tokens.Identity {
	t.Helper()
	who, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Errorf("refused: %v", err)
	}
	return who
}

func TestGoodTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	discovering := i.verifier(func(c *tokens.Config) { c.KeysURL = "" })
	for _, v := range []*tokens.Verifier{i.verifier(), discovering} {
		for id, method := range map[string]jwt.SigningMethod{
			"ed": jwt.SigningMethodEdDSA, "ec": jwt.SigningMethodES256, "rsa": jwt.SigningMethodRS256,
		} {
			who := taken(t, v, sign(t, method, id, i.keys[id], i.claims(nil)))
			if want := (tokens.Identity{Actor: "ada", Client: "acme", Roles: []string{"operator"}}); !reflect.DeepEqual(who, want) {
				t.Errorf("%s: %+v", id, who)
			}
		}
		taken(t, v, sign(t, jwt.SigningMethodPS512, "rsa", i.keys["rsa"], i.claims(map[string]any{"aud": []string{"x", "annals"}})))
	}
	if n := i.fetches.Load(); n != 2 {
		t.Errorf("%d fetches for two verifiers", n)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	for _, c := range []struct {
		name           string
		claim          string
		value          any
		wantRoles      []string
		configuredName string
	}{
		{"a list", "roles", []any{"viewer", 7, "auditor"}, []string{"viewer", "auditor"}, ""},
		{"a text", "scope", "viewer  auditor", []string{"viewer", "auditor"}, "scope"},
		{"a path", "realm_access", map[string]any{"roles": []string{"admin"}}, []string{"admin"}, "realm_access.roles"},
		{"a name with dots", "https://x.example/roles", "admin", []string{"admin"}, "https://x.example/roles"},
		{"a number", "roles", 7, nil, ""}, {"nothing", "roles", nil, nil, ""}, {"a path to nowhere", "a", "b", nil, "a.b.c"},
	} {
		v := i.verifier(func(config *tokens.Config) { config.RolesClaim = c.configuredName })
		if who := taken(t, v, i.token(map[string]any{c.claim: c.value})); !reflect.DeepEqual(who.Roles, c.wantRoles) {
			t.Errorf("%s: %q, want %q", c.name, who.Roles, c.wantRoles)
		}
	}
	v := i.verifier(func(c *tokens.Config) { c.ActorClaim, c.ClientClaim = "email", "org.id" })
	who := taken(t, v, i.token(map[string]any{"email": "ada@x.example", "org": map[string]any{"id": "beta"}}))
	if who.Actor != "ada@x.example" || who.Client != "beta" {
		t.Errorf("%+v", who)
	}
	if who := taken(t, i.verifier(), i.token(map[string]any{"sub": nil, "client_id": 5})); who.Actor != "" || who.Client != "" {
		t.Errorf("%+v", who)
	}
}

func TestBadTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier()
	at := func(d time.Duration) int64 { return i.now().Add(d).Unix() }
	for name, c := range map[string]struct {
		changes map[string]any
		detail  string
	}{
		"expired":          {map[string]any{"exp": at(-time.Hour)}, "expired"},
		"just expired":     {map[string]any{"exp": at(-2 * time.Second)}, "expired"},
		"never expires":    {map[string]any{"exp": nil}, "lacks"},
		"not yet":          {map[string]any{"nbf": at(2 * time.Minute)}, "yet"},
		"of the future":    {map[string]any{"iat": at(2 * time.Minute)}, "yet"},
		"another audience": {map[string]any{"aud": "other"}, "audience"},
		"no audience":      {map[string]any{"aud": nil}, "lacks"},
		"another issuer":   {map[string]any{"iss": "https://other.example"}, "issuer"},
		"a longer issuer":  {map[string]any{"iss": i.url + "/"}, "issuer"},
		"no issuer":        {map[string]any{"iss": nil}, "lacks"},
		"exp of text":      {map[string]any{"exp": "tomorrow"}, "isn't valid"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, i.token(c.changes), c.detail) })
	}
	taken(t, v, i.token(map[string]any{"nbf": at(50 * time.Second), "iat": at(50 * time.Second)}))
	for _, text := range []string{"", "a", "a.b", "a.b.c", "....", i.token(nil) + ".x", i.token(nil) + "x"} {
		refused(t, v, text, "")
	}
	refused(t, v, strings.Repeat("a", 16<<10+1), "too long")
}

// A token without an id of its key is taken where the issuer has one key alone, and a key that isn't for signatures verifies
// none. Keys come from nobody but the issuer.
func TestKeysThatCount(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	public, forEncryption, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	i.extra = []map[string]any{{
		"kty": "OKP", "crv": "Ed25519", "kid": "enc", "use": "enc", "x": base64.RawURLEncoding.EncodeToString(public),
	}}
	unnamed := sign(t, jwt.SigningMethodEdDSA, "", i.keys["ed"], i.claims(nil))
	v := i.verifier()
	refused(t, v, unnamed, "key")
	refused(t, v, sign(t, jwt.SigningMethodEdDSA, "enc", forEncryption, i.claims(nil)), "key")
	other := i.verifier(func(c *tokens.Config) { c.KeysURL, c.Issuer = "", i.url+"/" }) // as which the issuer doesn't know itself
	if _, err := other.Verify(t.Context(), i.token(map[string]any{"iss": i.url + "/"})); !errors.Is(err, tokens.ErrUnavailable) {
		t.Errorf("keys of another issuer: %v", err)
	}
	i.change(func() { delete(i.keys, "ec"); delete(i.keys, "rsa") })
	taken(t, i.verifier(), unnamed)
}

// Nobody but the issuer can make a token: not with no signature, not with the public key as a shared secret, not with a
// key of their own under an id of the issuer's, not with one key's id and another's signature, not with parts exchanged.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	secret := []byte("a secret that the issuer shares with somebody")
	i.extra = []map[string]any{
		{"kty": "oct", "kid": "shared", "k": "YSBzZWNyZXQgdGhhdCB0aGUgaXNzdWVyIHNoYXJlcyB3aXRoIHNvbWVib2R5"},
		{"kty": "nonsense", "kid": "x"},
	}
	v := i.verifier()
	taken(t, v, i.token(nil))
	der, err := x509.MarshalPKIXPublicKey(i.keys["rsa"].Public())
	check(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	_, mine, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	claims := i.claims(map[string]any{"roles": "admin"})
	none := sign(t, jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, claims)
	good := strings.Split(i.token(nil), ".")
	for name, token := range map[string]string{
		"none":                       none,
		"none with a signature":      none + good[2],
		"the public key as a secret": sign(t, jwt.SigningMethodHS256, "rsa", public, claims),
		"a shared secret":            sign(t, jwt.SigningMethodHS256, "shared", secret, claims),
		"a key of mine":              sign(t, jwt.SigningMethodEdDSA, "ed", mine, claims),
		"a key of mine, new id":      sign(t, jwt.SigningMethodEdDSA, "mine", mine, claims),
		"a key of mine, no id":       sign(t, jwt.SigningMethodEdDSA, "", mine, claims),
		"another key's id":           sign(t, jwt.SigningMethodES256, "ed", i.keys["ec"], claims),
		"another algorithm's id":     sign(t, jwt.SigningMethodRS256, "ec", i.keys["rsa"], claims),
		"other claims":               good[0] + "." + strings.Split(none, ".")[1] + "." + good[2],
		"no signature":               good[0] + "." + good[1] + ".",
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, token, "") })
	}
}

// A new key is found when its first token comes, but ids that don't exist can't be used to flood the issuer.
func TestRotationOfKeys(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier()
	old := i.token(nil)
	taken(t, v, old)
	_, next, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	i.change(func() { i.keys["next"] = next; delete(i.keys, "ed") })
	newer := sign(t, jwt.SigningMethodEdDSA, "next", next, i.claims(nil))
	refused(t, v, newer, "key") // the last fetch was a moment ago
	i.pass(5 * time.Second)
	taken(t, v, newer)
	refused(t, v, old, "key")
	if n := i.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	var group sync.WaitGroup
	i.pass(5 * time.Second)
	for range 50 {
		group.Go(func() { refused(t, v, sign(t, jwt.SigningMethodEdDSA, rand.Text(), next, i.claims(nil)), "key") })
	}
	group.Wait()
	if n := i.fetches.Load(); n != 3 {
		t.Errorf("%d fetches, want one more for all unknown ids together", n)
	}
}

// An issuer that is down stops nobody whose key is known; about others nothing can be said.
func TestIssuerDown(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.HandlerFunc{
		"error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"not JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for range 40 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			v := i.verifier()
			i.change(func() { i.broken = broken })
			for range 2 {
				if _, err := v.Verify(t.Context(), i.token(nil)); !errors.Is(err, tokens.ErrUnavailable) {
					t.Errorf("no keys: %v, want ErrUnavailable", err)
				}
			}
			i.change(func() { i.broken = nil })
			i.pass(5 * time.Second)
			taken(t, v, i.token(nil))
			i.change(func() { i.broken = broken })
			i.pass(10 * time.Minute)
			taken(t, v, i.token(nil))
			unknown := sign(t, jwt.SigningMethodEdDSA, "new", i.keys["ed"], i.claims(nil))
			i.pass(5 * time.Second)
			if _, err := v.Verify(t.Context(), unknown); !errors.Is(err, tokens.ErrUnavailable) {
				t.Errorf("unknown key: %v, want ErrUnavailable", err)
			}
			taken(t, v, i.token(nil))
		})
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []tokens.Config{
		{}, {Issuer: "https://id.example"}, {Audience: "a"}, {Issuer: "http://id.example", Audience: "a"},
		{Issuer: "https://id.example", Audience: "a", KeysURL: "http://id.example/keys"},
		{Issuer: "https://id.example", Audience: "a", KeysURL: "file:///etc/passwd"},
		{Issuer: "https://id.example", Audience: "a", KeysURL: "https://u:p@id.example/keys"},
		{Issuer: "id.example", Audience: "a"},
	} {
		if _, err := tokens.New(c); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
	if _, err := tokens.New(tokens.Config{Issuer: "https://id.example", Audience: "a"}); err != nil {
		t.Error(err)
	}
}
