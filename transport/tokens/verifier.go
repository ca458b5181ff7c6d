// Package tokens checks JSON Web Tokens (RFC 7519) against the keys that their issuer publishes (RFC 7517).
package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Config says whose tokens are taken. Issuer and Audience are required.
type Config struct {
	Issuer   string // the iss claim, exactly
	Audience string // one of the values of the aud claim
	// KeysURL is where the issuer's keys are; empty: where its OpenID configuration says.
	KeysURL string
	// Claims in which actor, client and roles are found; a dot leads into an object. Empty: sub, client_id and roles.
	ActorClaim, ClientClaim, RolesClaim string

	Logger *slog.Logger     // default: none
	HTTP   *http.Client     // default: one with a timeout that follows no redirects
	Clock  func() time.Time // default time.Now
}

// Identity is whom a token speaks for, as its claims say; a missing claim is empty.
type Identity struct {
	Actor  string
	Client string
	Roles  []string
}

// ErrUnavailable says that the issuer's keys can't be had, so that nothing can be said about a token.
var ErrUnavailable = errors.New("the token issuer's keys can't be had")

// InvalidError is a token that isn't taken. Detail says why, and nothing of the token.
type InvalidError struct{ Detail string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Detail }

// clockLeeway is how far the issuer's clock may be ahead of ours.
const clockLeeway = time.Minute

// maxToken is how many bytes a token may have.
const maxToken = 16 << 10

// algorithms are those that are taken: signatures that only the issuer can make. None that share a secret, and not none.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	config Config
	keys   *keySet
	parser *jwt.Parser
}

// New makes a verifier. It asks the issuer for its keys when the first token comes. It fails without issuer or audience, and
// on addresses that are neither https nor of this machine.
func New(config Config) (*Verifier, error) {
	if config.Issuer == "" || config.Audience == "" {
		return nil, errors.New("a token issuer needs an audience, and an audience an issuer")
	}
	at := config.KeysURL
	if at == "" {
		at = config.Issuer
	}
	if err := checkURL(at); err != nil {
		return nil, err
	}
	for _, d := range []struct {
		value    *string
		fallback string
	}{{&config.ActorClaim, "sub"}, {&config.ClientClaim, "client_id"}, {&config.RolesClaim, "roles"}} {
		if *d.value == "" {
			*d.value = d.fallback
		}
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.HTTP == nil {
		config.HTTP = &http.Client{Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	return &Verifier{
		config: config,
		keys:   newKeySet(config),
		parser: jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithIssuer(config.Issuer), jwt.WithAudience(config.Audience),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockLeeway), jwt.WithTimeFunc(config.Clock)),
	}, nil
}

// checkURL wants keys to come over TLS, or from this machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("the token issuer, or the address of its keys, must be an https URL")
	}
	host := u.Hostname()
	local := host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return errors.New("the token issuer, or the address of its keys, must be an https URL; http is for loopback only")
	}
	return nil
}

// Verify checks a token's signature and claims and gives whom it speaks for. It fails with *InvalidError, with
// ErrUnavailable, or with ctx's error.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, &InvalidError{"the token is too long"}
	}
	claims := jwt.MapClaims{}
	var lookup error
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		var key any
		key, lookup = v.keys.find(ctx, kid, t.Method.Alg())
		return key, lookup
	})
	var invalid *InvalidError
	switch {
	case lookup != nil && !errors.As(lookup, &invalid):
		return Identity{}, lookup
	case lookup != nil:
		return Identity{}, invalid
	case err != nil:
		return Identity{}, &InvalidError{reason(err)}
	}
	// The leeway is for clocks that are behind the issuer's: it doesn't lengthen the life of a token.
	if expires, err := claims.GetExpirationTime(); err != nil || !v.config.Clock().Before(expires.Time) {
		return Identity{}, &InvalidError{"the token has expired"}
	}
	return Identity{
		Actor: text(claims, v.config.ActorClaim), Client: text(claims, v.config.ClientClaim), Roles: list(claims, v.config.RolesClaim),
	}, nil
}

// reason says why a token isn't taken, in words of ours: the library's may quote it.
func reason(err error) string {
	for _, known := range []struct {
		err    error
		detail string
	}{
		{jwt.ErrTokenMalformed, "the credential is neither an API key nor a token"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature isn't valid"},
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token isn't valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "the token isn't valid yet"},
		{jwt.ErrTokenInvalidIssuer, "the token is of another issuer"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks one of the claims iss, aud and exp"},
	} {
		if errors.Is(err, known.err) {
			return known.detail
		}
	}
	return "the token isn't valid"
}

// claim finds a claim by its name, or else by a path of names with dots between them.
func claim(claims map[string]any, name string) any {
	if value, ok := claims[name]; ok {
		return value
	}
	first, rest, nested := strings.Cut(name, ".")
	object, ok := claims[first].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return claim(object, rest)
}

func text(claims jwt.MapClaims, name string) string {
	s, _ := claim(claims, name).(string)
	return s
}

// list reads a list of texts, or a text with spaces between its words.
func list(claims jwt.MapClaims, name string) []string {
	switch value := claim(claims, name).(type) {
	case string:
		return strings.Fields(value)
	case []any:
		var texts []string
		for _, v := range value {
			if s, ok := v.(string); ok {
				texts = append(texts, s)
			}
		}
		return texts
	}
	return nil
}

func unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, fmt.Errorf(format, args...))
}
