package apikeys

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
)

// The program can't make or change keys, and queries can't see them.
func TestRights(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create(ada)
	for role, statements := range map[eventstore.Role][]string{
		eventstore.RoleApp: {
			`UPDATE annals.api_keys SET role = 'admin'`, `UPDATE annals.api_keys SET secret_hash = decode(repeat('00', 32), 'hex')`,
			`DELETE FROM annals.api_keys`, `UPDATE annals.api_key_revision SET revision = 0`,
			`INSERT INTO annals.api_keys SELECT * FROM annals.api_keys`,
		},
		eventstore.RoleQuery: {`SELECT * FROM annals.api_keys`, `SELECT * FROM annals.api_key_revision`},
	} {
		pool, err := eventstore.OpenDB(b.db.DSN, role, 1, "test")
		check(t, err)
		defer pool.Close()
		for _, statement := range statements {
			if _, err := pool.Exec(statement); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("%s: %s: %v", role, statement, err)
			}
		}
	}
}

func TestRefusedKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, n := range []NewKey{
		{Client: "*", Role: "operator", Actor: "a"}, {Client: "annals", Role: "admin", Actor: "a"}, {Client: "acme", Role: "root", Actor: "a"},
	} {
		if _, _, err := b.Create(t.Context(), n); domain.CodeOf(err) != domain.CodeValidation {
			t.Errorf("%+v: %v", n, err)
		}
	}
	if exist, err := Exist(t.Context(), b.db.DB.DB); exist || err != nil {
		t.Errorf("refused keys exist: %v, %v", exist, err)
	}
	b.db.MustExec(`INSERT INTO annals.api_keys (key_id, secret_hash, client_id, role, actor_id, created_by, revision)
		SELECT 'k' || n, decode(repeat('00', 32), 'hex'), 'acme', 'viewer', 'a', 'test', n FROM generate_series(1, $1::int) n`, MaxKeys)
	if _, _, err := b.Create(t.Context(), ada); !errors.Is(err, ErrTooManyKeys) {
		t.Errorf("one key too many: %v", err)
	}
	empty := pgtest.NewEmpty(t)
	if exist, err := Exist(t.Context(), empty.DB.DB); exist || err != nil {
		t.Errorf("an empty database has keys: %v, %v", exist, err)
	}
}

// Neither the tables nor the log hold a secret, and the log no hash of one.
func TestSecretsAreNotStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made, first := b.create(ada)
	_, second, err := b.Rotate(t.Context(), made.ID, time.Hour)
	check(t, err)
	_, err = b.Revoke(t.Context(), made.ID, "r")
	check(t, err)
	var keys, events string
	check(t, b.db.Get(&keys, `SELECT string_agg(k::text, ' ') FROM annals.api_keys k`))
	check(t, b.db.Get(&events, `SELECT string_agg(e::text, ' ') FROM annals.events e`))
	if strings.Count(events, made.ID) != 3 {
		t.Errorf("the log lacks an event of the key: %s", events)
	}
	for _, presented := range []string{first, second} {
		_, secret, _ := parse(presented)
		sum := hash(secret)
		if strings.Contains(keys+events, secret) || strings.Contains(events, hex.EncodeToString(sum[:])) {
			t.Errorf("the secret is stored: %s %s", keys, events)
		}
		if !strings.Contains(keys, hex.EncodeToString(sum[:])) {
			t.Errorf("the hash isn't stored: %s", keys)
		}
	}
}
