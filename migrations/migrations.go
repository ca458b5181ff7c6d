// Package migrations holds the database schema as numbered goose migrations, embedded in the binary.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// FS holds the migration files, NNNNN_name.sql.
//
//go:embed *.sql
var FS embed.FS

// versionTable is where goose records what has been applied. It names its schema: without one it would move with the
// search path, which begins with the schema annals for a login role called annals, once the first migration has made it.
const versionTable = "public.annals_migrations"

func provider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, FS,
		goose.WithTableName(versionTable), goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}

// Up applies what is missing, under a lock: of several processes that start together one migrates and the others wait.
// It gives the names of the migrations it applied. It fails with *IncompatibleError on a database that needs a newer
// program; migrations that this program doesn't know, but which let it go on, are left alone.
func Up(ctx context.Context, db *sql.DB) (applied []string, err error) {
	if err := CheckCompatible(ctx, db); err != nil {
		return nil, err
	}
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	return up(ctx, p)
}

// A migration that locks several tables may meet a deadlock with the statements of a server that is still of the release
// before. It has then changed nothing, and is tried again.
const (
	deadlockTries = 10
	deadlockPause = 200 * time.Millisecond
)

func up(ctx context.Context, p *goose.Provider) (applied []string, err error) {
	for try := 1; ; try++ {
		results, err := p.Up(ctx)
		var partial *goose.PartialError
		if errors.As(err, &partial) {
			results = partial.Applied
		}
		for _, r := range results {
			applied = append(applied, r.Source.Path)
		}
		if err == nil {
			return applied, nil
		}
		if !isDeadlock(err) || try == deadlockTries {
			return applied, fmt.Errorf("migrate: %w", err)
		}
		select {
		case <-ctx.Done():
			return applied, fmt.Errorf("migrate: %w", err)
		case <-time.After(deadlockPause):
		}
	}
}

// isDeadlock reports whether a statement was the victim of a deadlock.
func isDeadlock(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code == "40P01"
}

// Migration is one step of the schema and whether this database has it.
type Migration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Status lists all migrations in order.
func Status(ctx context.Context, db *sql.DB) ([]Migration, error) {
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	states, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the migration status: %w", err)
	}
	list := make([]Migration, 0, len(states))
	for _, s := range states {
		list = append(list, Migration{
			Version: s.Source.Version, Name: s.Source.Path, Applied: s.State == goose.StateApplied,
		})
	}
	return list, nil
}

// subjectKeysTable records what a database of its own for subject keys has been given.
const subjectKeysTable = "public.annals_keys_migrations"

// UpSubjectKeys applies what subject keys need to a database that holds nothing else of Annals.
func UpSubjectKeys(ctx context.Context, db *sql.DB) (applied []string, err error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, subjectKeysOnly{},
		goose.WithTableName(subjectKeysTable), goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return up(ctx, p)
}

// subjectKeysOnly shows the migrations of the subject keys alone.
type subjectKeysOnly struct{}

// Open implements fs.FS.
func (subjectKeysOnly) Open(name string) (fs.File, error) { return FS.Open(name) }

// Glob implements fs.GlobFS, by which goose finds migrations.
func (subjectKeysOnly) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(FS, pattern)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, "_subject_keys") }), err
}
