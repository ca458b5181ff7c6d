package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"annals/eventstore"
	"annals/eventstore/apikeys"
	"annals/transport/rest"
	"annals/transport/tokens"
)

// keyConns is the size of the pool that looks up API keys: one looks for changes, one notes their use.
const keyConns = 2

// identityFlags say whose tokens the server takes, besides API keys.
type identityFlags struct {
	tokens tokens.Config
}

func (f *identityFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.tokens.Issuer, "jwt-issuer", "", "`url` of the issuer whose tokens are taken: their iss claim")
	flags.StringVar(&f.tokens.Audience, "jwt-audience", "", "`name` that the tokens' aud claim must hold")
	flags.StringVar(&f.tokens.KeysURL, "jwks-url", "", "`url` of the issuer's keys (default: as its OpenID configuration says)")
	flags.StringVar(&f.tokens.ActorClaim, "jwt-actor-claim", "sub", "`claim` with the actor; a.b is b within a")
	flags.StringVar(&f.tokens.ClientClaim, "jwt-client-claim", "client_id", "`claim` with the client")
	flags.StringVar(&f.tokens.RolesClaim, "jwt-roles-claim", "roles", "`claim` with the roles, a list or a text with spaces")
}

func (f *identityFlags) check(cmd *cobra.Command) error {
	if f.tokens.Issuer == "" {
		if f.tokens.Audience != "" || f.tokens.KeysURL != "" {
			return misuse(cmd, "--jwt-audience and --jwks-url need --jwt-issuer")
		}
		return nil
	}
	if _, err := tokens.New(f.tokens); err != nil {
		return misuse(cmd, "--jwt-issuer, --jwt-audience and --jwks-url: %v", err)
	}
	return nil
}

// authenticator makes what tells who sends requests to a node.
func (n *node) authenticator(cfg *serveConfig) (rest.Authenticator, error) {
	if cfg.own != nil {
		return cfg.own, nil
	}
	pool, err := n.pool(eventstore.RoleApp, keyConns, "keys")
	if err != nil {
		return nil, err
	}
	n.keys = apikeys.NewDirectory(pool, n.logger)
	identity := rest.Identity{Keys: n.keys}
	if cfg.identity.tokens.Issuer != "" {
		config := cfg.identity.tokens
		config.Logger = n.logger
		if identity.Tokens, err = tokens.New(config); err != nil {
			return nil, err
		}
	}
	return identity, nil
}

// isLoopback reports whether an address can be reached from this machine alone.
func isLoopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, err
	}
	if host == "localhost" {
		return true, nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback(), nil
}

// checkOpen refuses an address that others can reach where the server would run open: without keys and without an issuer.
func checkOpen(ctx context.Context, cmd *cobra.Command, cfg *serveConfig, dsn string) error {
	if cfg.identity.tokens.Issuer != "" {
		return nil
	}
	db, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, 1, "annals serve")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", eventstore.MaskSecrets(dsn), err)
	}
	exist, err := apikeys.Exist(ctx, db.DB)
	if err != nil || exist {
		return err
	}
	return misuse(cmd, "--addr %s: without API keys or a token issuer the server runs open, and then listens on loopback "+
		"only (such as 127.0.0.1:8080); 'annals keys create' makes a key", cfg.addr)
}

// logMode says whether the server asks for credentials.
func (n *node) logMode(ctx context.Context, cfg *serveConfig, logger *slog.Logger) error {
	closed := cfg.identity.tokens.Issuer != ""
	if !closed {
		var err error
		if closed, err = n.keys.Exist(ctx); err != nil {
			return err
		}
	}
	if closed {
		logger.Info("requests need a credential", "issuer", cfg.identity.tokens.Issuer)
	} else {
		logger.Warn("runs open: there are no API keys and there is no token issuer, so everyone on this machine may do everything")
	}
	return nil
}

// ownCaller is the authenticator of a server that a command runs for itself alone: it takes one credential, which nobody
// else has, and believes what the command says.
type ownCaller struct{ token string }

func newOwnCaller() *ownCaller { return &ownCaller{token: rand.Text()} }

// Authenticate implements rest.Authenticator.
func (o *ownCaller) Authenticate(ctx context.Context, c rest.Credentials) (rest.Principal, error) {
	if subtle.ConstantTimeCompare([]byte(c.Authorization), []byte("Bearer "+o.token)) != 1 {
		return rest.Principal{}, rest.ErrUnauthorized
	}
	return rest.Open{}.Authenticate(ctx, c)
}
