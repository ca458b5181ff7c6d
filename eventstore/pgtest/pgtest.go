// Package pgtest gives tests databases of their own on a real PostgreSQL.
//
// The server is the one that ANNALS_TEST_DATABASE_URL names (make test starts a
// throwaway one for all packages), else one that the test process starts for
// itself on first use and that ends with the process, however it ends. Without
// PostgreSQL the tests fail; they never skip.
package pgtest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the driver "postgres"
)

// EnvDatabaseURL names the environment variable with the URL of the server to
// use: a superuser's, of any database, on a server that holds nothing of value.
const EnvDatabaseURL = "ANNALS_TEST_DATABASE_URL"

// maxConns bounds the pool of one test: the server has 300 connections.
const maxConns = 20

// DB is a database of one test's own, and a pool on it.
type DB struct {
	// DSN is the database's URL, with binary_parameters=yes.
	DSN string
	*sqlx.DB
}

// New makes a migrated database. It is dropped, and the pool closed, when the test ends.
func New(t testing.TB) *DB {
	t.Helper()
	s := shared(t)
	template, err := s.migrated(context.Background())
	if err != nil {
		t.Fatalf("pgtest: migrating the template database: %v", err)
	}
	return s.create(t, template)
}

// NewEmpty makes a database without any migration, dropped when the test ends.
func NewEmpty(t testing.TB) *DB {
	t.Helper()
	return shared(t).create(t, "template0")
}

// create copies a template into a database for the test.
func (s *server) create(t testing.TB, template string) *DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name := databaseName(t.Name())
	if err := s.copyDatabase(ctx, name, template); err != nil {
		t.Fatalf("pgtest: creating a database: %v", err)
	}
	db := &DB{DSN: s.dsn(name)}
	var err error
	db.DB, err = sqlx.ConnectContext(ctx, "postgres", db.DSN)
	t.Cleanup(func() {
		if db.DB != nil {
			db.Close()
		}
		s.drop(t, name)
	})
	if err != nil {
		t.Fatalf("pgtest: connecting to %s: %v", db.DSN, err)
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	return db
}

// drop removes a database, also under connections that the test left open.
func (s *server) drop(t testing.TB, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.admin.ExecContext(ctx, fmt.Sprintf(`DROP DATABASE IF EXISTS %s WITH (FORCE)`, name)); err != nil {
		t.Errorf("pgtest: dropping the test's database: %v", err)
	}
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName is unique and says whose database it is. PostgreSQL cuts names at 63 bytes.
func databaseName(test string) string {
	readable := notInName.ReplaceAllString(strings.ToLower(test), "_")
	return "t_" + readable[:min(len(readable), 24)] + "_" + strings.ReplaceAll(uuid.NewString(), "-", "")
}
