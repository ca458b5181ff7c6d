package eventstore

import (
	"context"
	"testing"

	"annals/eventstore/pgtest"
)

// An append finds the log's head in one step, also when the table was analysed while it was empty.
func TestAppendsDoNotWalkTheLog(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.MustExec(`VACUUM ANALYZE annals.events`)
	const appends = 300
	s, err := OpenSequencer(t.Context(), SequencerConfig{DSN: db.DSN})
	if err != nil {
		t.Fatal(err)
	}
	for range appends {
		if _, err := s.Append(t.Context(), onStream(freshID(), 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(context.Background()); err != nil { // its backend then hands in what it has counted
		t.Fatal(err)
	}
	var read struct{ Scans, Rows int64 }
	pgtest.Eventually(t, "the statistics show every append", func() bool {
		err := db.Get(&read, `SELECT coalesce(idx_scan, 0) AS scans, coalesce(idx_tup_read, 0) AS rows
			FROM pg_stat_user_indexes WHERE indexrelname = 'events_pkey'`)
		if err != nil {
			t.Fatal(err)
		}
		return read.Scans >= appends
	})
	if read.Rows > 3*appends {
		t.Errorf("%d appends read %d entries of the index of positions", appends, read.Rows)
	}
}
