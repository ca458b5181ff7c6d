package eventstore

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/lib/pq"
)

// NormalizeDSN turns a connection string, a postgres:// URL or key=value pairs, into key=value pairs that lib/pq reads.
// It accepts a percent-encoded socket directory as the URL's host, as libpq does; TLS is used where the server offers it
// unless the string or PGSSLMODE says otherwise, also as libpq does; and binary_parameters is always on, without which
// every parameterised statement takes two round trips.
func NormalizeDSN(dsn string) (string, error) {
	pairs := strings.TrimSpace(dsn)
	if rest, scheme := cutScheme(pairs); scheme {
		u, err := socketHost(rest)
		if err != nil {
			return "", err
		}
		//lint:ignore SA1019 it is the only converter that lib/pq has
		if pairs, err = pq.ParseURL(u); err != nil {
			return "", fmt.Errorf("read the database URL: %w", redact(err))
		}
	}
	cfg, err := pq.NewConfig(pairs)
	if err != nil {
		return "", fmt.Errorf("read the connection string: %w", redact(err))
	}
	if cfg.SSLMode == "" {
		pairs += " sslmode=prefer"
	}
	if !cfg.BinaryParameters {
		// Of two mentions the later one counts.
		pairs += " binary_parameters=yes"
	}
	return strings.TrimSpace(pairs), nil
}

func cutScheme(s string) (rest string, found bool) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if strings.HasPrefix(s, scheme) {
			return s[len(scheme):], true
		}
	}
	return s, false
}

// socketHost moves a host such as %2Fvar%2Frun%2Fpostgresql, which net/url refuses, into the query.
func socketHost(rest string) (string, error) {
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, host := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, host = authority[:i+1], authority[i+1:]
	}
	if !strings.HasPrefix(strings.ToLower(host), "%2f") {
		return "postgres://" + rest, nil
	}
	port := ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host, port = host[:i], host[i+1:]
	}
	dir, err := url.PathUnescape(host)
	if err != nil {
		return "", fmt.Errorf("read the database URL: the socket directory: %w", err)
	}
	path, query, _ := strings.Cut(tail, "?")
	values := "host=" + url.QueryEscape(dir)
	if port != "" {
		values += "&port=" + url.QueryEscape(port)
	}
	if query != "" {
		values += "&" + query
	}
	return "postgres://" + user + path + "?" + values, nil
}

// redact drops what net/url quotes: the whole URL with its password.
func redact(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
