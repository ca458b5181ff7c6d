//go:build !race

// One request after another, fifteen times over each operation: the race detector would only make it slow.

package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"annals/eventstore/apikeys"
)

// Credentials are in no answer, log line, metric or statement, whether they are valid or not.
func TestCredentialsDontLeak(t *testing.T) {
	t.Parallel()
	b := newServer(t, guarded)
	valid := strings.TrimPrefix(b.key("acme", "admin", "ada"), "Authorization: Bearer ")
	b.closed()
	unknown := apikeys.Prefix + strings.Repeat("a", 12) + "_" + strings.Repeat("b", 52)
	secrets := []string{valid, unknown, valid[:len(valid)-3] + "aaa", "not-even-a-key-4711", "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0NzExIn0.c2ln"}
	c := readContract(t)
	var seen strings.Builder
	for _, o := range c.operations() {
		body := o.bodies()[0]
		for _, secret := range secrets {
			for _, scheme := range []string{"Bearer ", "Basic ", ""} {
				r := o.send(b, nil, "", body, "Authorization: "+scheme+secret, "Annals-Min-Position: 0")
				headers, err := json.Marshal(r.header)
				check(t, err)
				seen.Write(append(r.body, headers...))
			}
		}
	}
	seen.Write(b.send("GET", "/metrics", "").body)
	seen.WriteString(b.log.String())
	var statements string
	check(t, b.db.Get(&statements, `SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_activity WHERE datname = current_database()`))
	var stored string
	check(t, b.db.Get(&stored, `SELECT string_agg(e::text, ' ') FROM annals.events e`))
	all := seen.String() + statements + stored
	for _, secret := range secrets {
		if where := strings.Index(all, secret[len(secret)-15:]); where >= 0 {
			t.Errorf("%s is shown: %s", secret, all[max(0, where-200):where+15])
		}
	}
}
