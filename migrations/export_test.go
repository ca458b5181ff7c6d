package migrations

import (
	"context"
	"database/sql"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// UpFrom is Up with migrations of a test's own.
func UpFrom(ctx context.Context, db *sql.DB, files fs.FS) ([]string, error) {
	p, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return nil, err
	}
	return up(ctx, p)
}
