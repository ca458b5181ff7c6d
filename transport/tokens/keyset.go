package tokens

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

// When keys are fetched, and what that may cost.
const (
	refreshAfter = 5 * time.Minute // known keys, in the background
	retryAfter   = 5 * time.Second // at the least between two fetches, whoever asks and however the last one ended
	fetchTimeout = 5 * time.Second
	maxAnswer    = 1 << 20
	maxKeys      = 100
	minRSABits   = 2048
)

// keySet holds an issuer's keys. Keys that were fetched once are used until newer ones can be fetched: an issuer that is
// down stops nobody who has a token.
type keySet struct {
	config Config

	mu       sync.Mutex
	keys     []publicKey
	tried    time.Time     // when the last fetch began
	fetching chan struct{} // closed when the fetch under way has ended; nil: none is
	failure  error         // of the last fetch
}

type publicKey struct {
	id, algorithm string // algorithm "": any that fits the key
	key           any
}

func newKeySet(config Config) *keySet { return &keySet{config: config} }

// find gives the key with an id that can have made a signature of an algorithm. Without an id it is the only key there is.
// An id that isn't known may be of a new key: then the keys are fetched again, but not more often than retryAfter allows.
func (s *keySet) find(ctx context.Context, id, algorithm string) (any, error) {
	s.mu.Lock()
	key, known := s.lookup(id, algorithm)
	now := s.config.Clock()
	due := s.tried.IsZero() || now.Sub(s.tried) >= retryAfter
	if s.fetching == nil && due && (!known || now.Sub(s.tried) >= refreshAfter) {
		s.tried, s.fetching = now, make(chan struct{})
		go s.refresh()
	}
	fetching, failure := s.fetching, s.failure
	s.mu.Unlock()
	if known {
		return key, nil
	}
	if fetching != nil {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		s.mu.Lock()
		key, known = s.lookup(id, algorithm)
		failure = s.failure
		s.mu.Unlock()
	}
	switch {
	case known:
		return key, nil
	case failure != nil:
		return nil, failure
	default:
		return nil, &InvalidError{"the token's key isn't one of the issuer's"}
	}
}

// lookup finds a key among those that are known. mu is held.
func (s *keySet) lookup(id, algorithm string) (any, bool) {
	for _, k := range s.keys {
		if (k.id == id || id == "" && len(s.keys) == 1) && k.fits(algorithm) {
			return k.key, true
		}
	}
	return nil, false
}

// fits reports whether the key can have made a signature of an algorithm.
func (k publicKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// refresh fetches the keys. It outlives the request that asked for it: others may wait for it too.
func (s *keySet) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)
	if err != nil {
		s.config.Logger.Warn("the token issuer's keys can't be fetched; those that are known go on being used", "error", err)
		err = unavailable("%w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = err; err == nil {
		s.keys = keys
	}
	close(s.fetching)
	s.fetching = nil
}

// fetch gets the issuer's keys, and before that, where nobody said it, finds out where they are.
func (s *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	at := s.config.KeysURL
	if at == "" {
		var found struct {
			Issuer  string `json:"issuer"`
			KeysURL string `json:"jwks_uri"`
		}
		err := s.get(ctx, strings.TrimRight(s.config.Issuer, "/")+"/.well-known/openid-configuration", &found)
		if err != nil {
			return nil, fmt.Errorf("the OpenID configuration: %w", err)
		}
		if found.Issuer != s.config.Issuer {
			return nil, errors.New("the OpenID configuration is of another issuer")
		}
		if at = found.KeysURL; checkURL(at) != nil {
			return nil, errors.New("the OpenID configuration names no https address of keys")
		}
	}
	var set jwkset.JWKSMarshal
	if err := s.get(ctx, at, &set); err != nil {
		return nil, fmt.Errorf("the key set: %w", err)
	}
	keys := usable(set)
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key that can verify signatures")
	}
	return keys, nil
}

func (s *keySet) get(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.config.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(body) > maxAnswer {
		return errors.New("the answer is too long")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the answer isn't the JSON that is expected")
	}
	return nil
}

// usable gives the keys of a set that verify signatures. Others, such as keys for encryption or shared secrets, are left
// out.
func usable(set jwkset.JWKSMarshal) []publicKey {
	var keys []publicKey
	for _, m := range set.Keys[:min(len(set.Keys), maxKeys)] {
		if m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", "" // certificates add nothing: the set came over TLS
		parsed, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		key := publicKey{id: m.KID, algorithm: string(m.ALG), key: parsed.Key()}
		switch k := key.key.(type) {
		case *rsa.PublicKey:
			if k.N.BitLen() < minRSABits {
				continue
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			continue
		}
		keys = append(keys, key)
	}
	return keys
}
