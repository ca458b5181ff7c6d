package eventstore

import (
	"net/url"
	"regexp"
	"strings"
)

var keyValuePassword = regexp.MustCompile(`(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)`)

const notAURL = "(not a valid URL)"

// MaskSecrets gives a connection string, or another URL, as it may be shown: without passwords.
func MaskSecrets(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		if strings.Contains(dsn, "://") {
			return notAURL
		}
		return keyValuePassword.ReplaceAllString(dsn, "${1}xxxxx")
	}
	// An @ behind the user's part, or a fragment: a password holds a character that should have been escaped, so that the
	// URL's parts aren't what they seem.
	users := 0
	if u.User != nil {
		users = 1
	}
	if strings.Count(dsn, "@") > users || strings.Contains(dsn, "#") {
		return notAURL
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
		}
	}
	u.RawQuery = q.Encode()
	return u.Redacted()
}
