package evidence

import (
	"bytes"
	"context"
	"testing"

	"annals/eventstore/integrity"
	"annals/eventstore/pgtest"
)

// Tiles above the leaves' get full at 65,536 events: what is compared is given here instead.
func TestTilesAboveTheLeaves(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	full := integrity.Tile{Level: 1, Index: 2, Hashes: bytes.Repeat([]byte{7}, integrity.TileBytes)}
	check := func() *Report {
		t.Helper()
		v := &databaseVerifier{report: newReport("database"), source: Source{Log: integrity.NewLog(db.DB)}, full: []integrity.Tile{full}}
		if err := v.upper(context.Background()); err != nil {
			t.Fatal(err)
		}
		return v.report.finish()
	}
	if r := check(); r.Verdict != Incomplete || r.Found != 1 {
		t.Errorf("a missing tile: %+v", r)
	}
	if _, err := db.Exec(`INSERT INTO annals.integrity_tiles (level, index, hashes) VALUES (1, 2, $1)`, full.Hashes); err != nil {
		t.Fatal(err)
	}
	if r := check(); r.Verdict != Intact || r.Found != 0 {
		t.Errorf("the same tile: %+v", r)
	}
	full.Hashes = append([]byte{8}, full.Hashes[1:]...)
	if r := check(); r.Verdict != Altered || r.Found != 1 {
		t.Errorf("another tile: %+v", r)
	}
}
