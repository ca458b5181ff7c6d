package eventstore

import (
	"context"
	"database/sql"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
)

// statement is a query that is prepared at its first use: planning it takes longer than running it.
type statement struct {
	db       *sqlx.DB
	text     string
	prepared atomic.Pointer[sql.Stmt]
}

func (s *statement) query(ctx context.Context, args ...any) (*sql.Rows, error) {
	stmt := s.prepared.Load()
	if stmt == nil {
		made, err := s.db.PrepareContext(ctx, s.text)
		if err != nil {
			return nil, unavailable(err)
		}
		if !s.prepared.CompareAndSwap(nil, made) {
			made.Close() // another caller was faster
		}
		stmt = s.prepared.Load()
	}
	rows, err := stmt.QueryContext(ctx, args...)
	return rows, unavailable(err)
}
