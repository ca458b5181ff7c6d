//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/pgtest"
	"annals/migrations"
)

// Beside a newer program that only expanded the schema an older one goes on. Below the schema's min_binary it stops, and
// says so.
func TestOlderProgram(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	running := serveHere(t, database...)
	id := running.caller(shop).product("p", 1)
	for _, step := range []string{ // each by itself: the server's pages hold both tables
		`INSERT INTO public.annals_migrations (version_id, is_applied) VALUES (99999, true)`,
		`ALTER TABLE annals.subscribers ADD COLUMN of_a_later_release text`,
		`ALTER TABLE annals.events ADD COLUMN of_a_later_release text`,
	} {
		db.MustExec(step)
	}
	second := serveHere(t, database...)
	second.caller(shop).get("/v1/products/"+id, running.caller(shop).head()).is(http.StatusOK)
	running.caller(shop).send("POST", "/v1/carts", `{}`).is(http.StatusCreated)
	second.stop()

	db.MustExec(`UPDATE annals.compatibility SET min_binary = $1`, migrations.Generation+1)
	says := fmt.Sprintf("of generation %d, and the database needs %d or later", migrations.Generation, migrations.Generation+1)
	running.exits(exitFailed).says(says)
	for _, command := range [][]string{
		{"serve", "--addr", "127.0.0.1:0"}, {"migrate"}, {"projections", "pause", "products"}, {"replay", "--all"},
	} {
		annals(t, append(command, database...)...).exits(exitFailed).says(says)
	}
	annals(t, append([]string{"doctor"}, database...)...).exits(exitFailed).prints(says)
	var paused int
	if err := db.Get(&paused, `SELECT count(*) FROM annals.subscribers WHERE status = 'paused'`); err != nil || paused != 0 {
		t.Errorf("%d subscribers are paused, %v", paused, err)
	}
}

// A dump that is restored where its roles are missing is refused at the start, with what to do about it.
func TestRestoreWithoutRoles(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN)
	id := server.caller(shop).product("p", 1)
	position := server.caller(shop).head()
	server.stop()
	target := pgtest.Cluster(t).DSN()
	admin := sqlx.MustConnect("postgres", target)
	defer admin.Close()
	admin.MustExec(`CREATE ROLE keeper LOGIN`)
	restore := func(name string) (dsn string) {
		admin.MustExec(`CREATE DATABASE ` + name + ` OWNER keeper`)
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + name
		restoreAs(t, db, u.String(), "keeper")
		u.User = url.User("keeper")
		return u.String()
	}
	annals(t, "serve", "--addr", "127.0.0.1:0", "--database-url", restore("without")).exits(exitFailed).
		says("lacks the roles annals_app and annals_query", "CREATE ROLE annals_app NOLOGIN; CREATE ROLE annals_query NOLOGIN;",
			`GRANT annals_app, annals_query TO "keeper"`)
	admin.MustExec(`CREATE ROLE annals_app; CREATE ROLE annals_query`)
	ungranted := restore("ungranted")
	annals(t, "serve", "--addr", "127.0.0.1:0", "--database-url", ungranted).exits(exitFailed).
		says("keeper isn't a member of annals_app and annals_query", `GRANT annals_app, annals_query TO "keeper"`)
	admin.MustExec(`GRANT annals_app, annals_query TO keeper`)
	restored := serveHere(t, "--database-url", ungranted)
	restored.caller(shop).get("/v1/products/"+id, position).is(http.StatusOK)
	restored.caller(shop).send("POST", "/v1/carts", `{}`).is(http.StatusCreated)
}

// restoreAs copies a database with the tools of its server, with another owner, and whatever errors that leads to.
func restoreAs(t *testing.T, from *pgtest.DB, to, owner string) {
	t.Helper()
	var bin, user string
	if err := from.QueryRow(`SELECT setting, current_user FROM pg_config() WHERE name = 'BINDIR'`).Scan(&bin, &user); err != nil {
		t.Fatal(err)
	}
	dump, err := exec.Command(filepath.Join(bin, "pg_dump"), libpqURL(t, from.DSN)).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	psql := exec.Command(filepath.Join(bin, "psql"), "-X", "-q", libpqURL(t, to))
	psql.Stdin = bytes.NewReader(bytes.ReplaceAll(dump, []byte("OWNER TO "+user+";"), []byte("OWNER TO "+owner+";")))
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
}
