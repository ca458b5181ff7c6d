package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"annals/eventstore/embedded"
	"annals/migrations"
)

// server is the one that a test process's databases are on.
type server struct {
	url   *url.URL
	admin *sql.DB // on the database that url names
	major int

	once     sync.Once // guards the template
	template string
	err      error
}

// sharedServer is this process's server. A process has one, which no test owns
// and the guard of package embedded ends with the process: hence a package variable.
var sharedServer = sync.OnceValues(openServer)

func shared(t testing.TB) *server {
	t.Helper()
	s, err := sharedServer()
	if err != nil {
		t.Fatalf("pgtest: tests need PostgreSQL: %v", err)
	}
	return s
}

func openServer() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dsn := os.Getenv(EnvDatabaseURL)
	if dsn == "" {
		srv, err := embedded.Start(ctx, embedded.Config{Throwaway: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		dsn = srv.DSN()
	}
	return connect(ctx, dsn)
}

func connect(ctx context.Context, dsn string) (*server, error) {
	u, err := url.Parse(dsn)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return nil, fmt.Errorf("%s must be a postgres:// URL", EnvDatabaseURL)
	}
	q := u.Query()
	q.Set("binary_parameters", "yes")
	u.RawQuery = q.Encode()
	s := &server{url: u}
	if s.admin, err = sql.Open("postgres", u.String()); err != nil {
		return nil, err
	}
	s.admin.SetMaxOpenConns(4)
	var version int
	if err := s.admin.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", u.Redacted(), err)
	}
	s.major = version / 10_000
	return s, nil
}

// dsn is the URL of another database on the same server.
func (s *server) dsn(database string) string {
	u := *s.url
	u.Path = "/" + database
	return u.String()
}

// copyDatabase makes a database from a template. Copying files beats logging
// pages, which PostgreSQL 15 and newer do by default.
func (s *server) copyDatabase(ctx context.Context, name, template string) error {
	stmt := `CREATE DATABASE ` + name + ` TEMPLATE ` + template
	if s.major >= 15 {
		stmt += ` STRATEGY FILE_COPY`
	}
	_, err := s.admin.ExecContext(ctx, stmt)
	return err
}

// migrated gives the name of a database with all migrations, made on first use.
func (s *server) migrated(ctx context.Context) (string, error) {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		s.template, s.err = s.buildTemplate(ctx)
	})
	return s.template, s.err
}

// templateLock is the advisory lock under which processes make templates: one at
// a time, also of different migrations, because roles belong to the whole server.
const templateLock = 7_236_114_001

// buildTemplate makes the template unless another process did. It carries a hash
// of the migrations in its name, so that checkouts that share a server don't
// clash, and gets that name only when it is complete.
func (s *server) buildTemplate(ctx context.Context) (name string, err error) {
	hash, err := hashFiles(migrations.FS)
	if err != nil {
		return "", err
	}
	name = "template_" + hash
	conn, err := s.admin.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, templateLock); err != nil {
		return "", err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, templateLock)
	var exists bool
	err = conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	if err != nil || exists {
		return name, err
	}
	building := "building_" + hash
	if _, err := conn.ExecContext(ctx, `DROP DATABASE IF EXISTS `+building+` WITH (FORCE)`); err != nil {
		return "", err
	}
	if err := s.copyDatabase(ctx, building, "template0"); err != nil {
		return "", err
	}
	if err := migrate(ctx, s.dsn(building)); err != nil {
		return "", err
	}
	for _, stmt := range []string{
		// Nobody may connect: a template in use can't be copied.
		`ALTER DATABASE ` + building + ` ALLOW_CONNECTIONS false`,
		`ALTER DATABASE ` + building + ` RENAME TO ` + name,
	} {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return "", err
		}
	}
	return name, nil
}

func migrate(ctx context.Context, dsn string) error {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = migrations.Up(ctx, db)
	return err
}

// hashFiles identifies a set of files by names and contents.
func hashFiles(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}
