package pgtest

import (
	"strings"
	"testing"
)

func TestNewIsMigratedAndAlone(t *testing.T) {
	t.Parallel()
	a, b := New(t), New(t)
	a.MustExec(`CREATE TABLE mine (n int)`)
	for _, c := range []struct {
		db    *DB
		table string
		want  bool
	}{
		{a, "annals.events", true}, {b, "annals.events", true}, {a, "mine", true}, {b, "mine", false},
	} {
		var have bool
		if err := c.db.Get(&have, `SELECT to_regclass($1::text) IS NOT NULL`, c.table); err != nil {
			t.Fatal(err)
		}
		if have != c.want {
			t.Errorf("table %s in %s: %v, want %v", c.table, c.db.DSN, have, c.want)
		}
	}
	if !strings.Contains(a.DSN, "binary_parameters=yes") {
		t.Errorf("DSN %s lacks binary_parameters", a.DSN)
	}
}

func TestNewEmptyHasNoTables(t *testing.T) {
	t.Parallel()
	var n int
	if err := NewEmpty(t).Get(&n, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Errorf("%d tables in an empty database", n)
	}
}
