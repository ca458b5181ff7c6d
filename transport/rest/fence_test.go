package rest_test

import (
	"fmt"
	"strings"

	"annals/eventstore"
)

// unfenced are the tables that queries may read whole, each with a reason.
var unfenced = map[string]string{
	"annals.subscribers": "where subscribers are; it holds nothing of a client",
}

// fence looks at the second fence, behind the queries themselves: of every table that the query role may read, and there
// are tables that hold something of the victim, it sees the rows of the client that the transaction names, and none
// without. Whatever table there is, in whatever schema, is looked at.
func (w *walk) fence() {
	w.t.Helper()
	var tables []struct {
		Name     string `db:"name"`
		Secured  bool   `db:"secured"`
		Readable bool   `db:"readable"`
		Writable bool   `db:"writable"`
		Tenant   bool   `db:"tenant"`
	}
	db := w.victim.db
	check(w.t, db.Select(&tables, `
		SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relrowsecurity AS secured,
			has_table_privilege('annals_query', c.oid, 'SELECT') OR has_any_column_privilege('annals_query', c.oid, 'SELECT') AS readable,
			has_table_privilege('annals_query', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writable,
			EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'client_id') AS tenant
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')`))
	held := 0
	for _, table := range tables {
		if table.Writable {
			w.t.Errorf("the query role may write to %s", table.Name)
		}
		if strings.HasPrefix(table.Name, "rm_") && !table.Readable {
			w.t.Errorf("the query role can't read the read model %s", table.Name)
		}
		if !table.Readable || unfenced[table.Name] != "" {
			continue
		}
		if !table.Secured || !table.Tenant {
			w.t.Errorf("%s is readable without row-level security by client", table.Name)
			continue
		}
		held += w.fenced(table.Name)
	}
	if len(tables) < 20 || held < 12 {
		w.t.Errorf("only %d of %d tables hold something of the other client", held, len(tables))
	}
}

// fenced counts a table's rows as the query role, and gives 1 when it holds some of the victim.
func (w *walk) fenced(table string) int {
	w.t.Helper()
	db := w.victim.db
	var all, theirs int
	check(w.t, db.Get(&all, fmt.Sprintf(`SELECT count(*) FROM %s`, table)))
	check(w.t, db.Get(&theirs, fmt.Sprintf(`SELECT count(*) FROM %s WHERE client_id = 'alpha'`, table)))
	for client, want := range map[string]int{"": 0, "gamma": 0, "alpha": theirs, eventstore.AllClients: all} {
		tx, err := db.Beginx()
		check(w.t, err)
		_, err = tx.Exec(`SET LOCAL ROLE annals_query`)
		check(w.t, err)
		if client != "" {
			_, err = tx.Exec(`SELECT set_config('annals.client', $1, true)`, client)
			check(w.t, err)
		}
		var seen int
		check(w.t, tx.Get(&seen, fmt.Sprintf(`SELECT count(*) FROM %s`, table)))
		check(w.t, tx.Rollback())
		if seen != want {
			w.t.Errorf("%s shows %d rows of %d to the client %q, want %d", table, seen, all, client, want)
		}
	}
	return min(theirs, 1)
}
