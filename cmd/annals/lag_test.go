//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/embedded"
	"annals/eventstore/pgtest"
)

// A server that is led to a database that lacks the end of the log, an older backup or a standby that was behind, says so and
// writes nothing there. One that is started on it says on which server or timeline it goes on, where that differs.
func TestDatabaseThatIsBehind(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, primary *embedded.Server) (lose func() string){
		"an older backup": olderBackup, "a standby": laggingStandby,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary := pgtest.Cluster(t, pgtest.WithSettings(map[string]string{"wal_level": "replica", "max_wal_senders": "2"}))
			p := newProxy(t, primary.DSN())
			server := serveHere(t, "--database-url", p.dsn())
			caller := server.caller(shop)
			product := caller.product("p", 0)
			receive := func() *reply {
				return caller.send("POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`)
			}
			last := receive().is(http.StatusOK).done().Position
			caller.get("/v1/products/"+product, last).is(http.StatusOK)
			lose := prepare(t, primary)
			for range 5 {
				last = receive().is(http.StatusOK).done().Position
			}
			caller.get("/v1/products/"+product, last).is(http.StatusOK)
			behind := lose()
			db := sqlx.MustOpen("postgres", behind)
			defer db.Close()
			head := headOf(t, db)
			if head >= last {
				t.Fatalf("the other database isn't behind: %d, and %d was acknowledged", head, last)
			}
			p.retarget(behind)
			for range 2 {
				awaitAnswer(t, receive, http.StatusServiceUnavailable, "lost events that were acknowledged")
			}
			if now := headOf(t, db); now != head {
				t.Errorf("the log that is behind grew from %d to %d", head, now)
			}
			server.stop()
			again := serveHere(t, "--database-url", behind)
			again.caller(shop).send("POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`).is(http.StatusOK)
			var told int
			if err := db.Get(&told, `SELECT count(*) FROM annals.events WHERE event_type = 'log.incarnation_changed'`); err != nil || told != 1 {
				t.Errorf("%d events tell of the change, %v", told, err)
			}
			verifySeal(t, headOf(t, db), "--database-url", behind)
			again.stop()
			annals(t, "replay", "--all", "--dry-run", "--database-url", behind).exits(exitDone)
		})
	}
}

func headOf(t *testing.T, db *sqlx.DB) (head int64) {
	t.Helper()
	if err := db.Get(&head, `SELECT max(position) FROM annals.events`); err != nil {
		t.Fatal(err)
	}
	return head
}

// awaitAnswer repeats a request until it is answered so. Meanwhile it may be told that the database can't be reached.
func awaitAnswer(t *testing.T, send func() *reply, status int, says string) {
	t.Helper()
	var r *reply
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if r = send(); r.status == status && bytes.Contains(r.body, []byte(says)) {
			return
		}
		if r.status != http.StatusServiceUnavailable {
			break
		}
	}
	t.Fatalf("status %d, %s; want %d and %q", r.status, r.body, status, says)
}

// olderBackup takes a dump, which lose restores into another server.
func olderBackup(t *testing.T, primary *embedded.Server) (lose func() string) {
	t.Helper()
	bin := programs(t, primary)
	dump, err := exec.Command(filepath.Join(bin, "pg_dump"), libpqURL(t, primary.DSN())).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	return func() string {
		dsn := pgtest.Cluster(t).DSN()
		db := sqlx.MustConnect("postgres", dsn)
		defer db.Close()
		db.MustExec(`CREATE ROLE annals_app; CREATE ROLE annals_query`)
		psql := exec.Command(filepath.Join(bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", libpqURL(t, dsn))
		psql.Stdin = bytes.NewReader(dump)
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("psql: %v\n%s", err, out)
		}
		return dsn
	}
}

// laggingStandby makes a standby that stops following at once. lose ends the primary and promotes the standby.
func laggingStandby(t *testing.T, primary *embedded.Server) (lose func() string) {
	t.Helper()
	dir := pgtest.DataDir(t)
	data := filepath.Join(dir, "pgdata")
	backup := exec.Command(filepath.Join(programs(t, primary), "pg_basebackup"), "-d", libpqURL(t, primary.DSN()), "-D", data,
		"-X", "stream", "-c", "fast", "-R")
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	if os.Getuid() == 0 {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("chown", "-R", "postgres", data).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v\n%s", err, out)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	standby, err := embedded.Start(ctx, embedded.Config{
		DataDir: dir, Throwaway: true, Logger: slog.New(slog.DiscardHandler),
		Settings: map[string]string{"wal_level": "replica", "max_wal_senders": "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	db := sqlx.MustConnect("postgres", standby.DSN())
	db.MustExec(`ALTER SYSTEM SET primary_conninfo = ''`)
	db.MustExec(`SELECT pg_reload_conf()`)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var following int
		if err := db.Get(&following, `SELECT count(*) FROM pg_stat_wal_receiver`); err != nil || time.Now().After(deadline) {
			t.Fatalf("the standby follows on: %v", err)
		}
		if following == 0 {
			break
		}
	}
	return func() string {
		defer db.Close()
		if err := primary.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		var promoted bool
		if err := db.Get(&promoted, `SELECT pg_promote()`); err != nil || !promoted {
			t.Fatalf("promote the standby: %v, %v", promoted, err)
		}
		return standby.DSN()
	}
}

// programs is the directory of the server's own tools.
func programs(t *testing.T, server *embedded.Server) (dir string) {
	t.Helper()
	db := sqlx.MustConnect("postgres", server.DSN())
	defer db.Close()
	if err := db.Get(&dir, `SELECT setting FROM pg_config() WHERE name = 'BINDIR'`); err != nil {
		t.Fatal(err)
	}
	return dir
}

// retarget leads new connections to another database, and ends the old ones.
func (p *proxy) retarget(dsn string) {
	p.t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.reset()
}
