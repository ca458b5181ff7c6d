package projections

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"annals/eventstore"
	"annals/eventstore/pgtest"
)

// A page's transaction commits when its rows and checkpoint are all written, and in no other state. Elsewhere the end of
// its context would undo it as well; here nothing but Commit decides.
func TestOnlyADonePageCommits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.MustExec(`CREATE TABLE written (state text)`)
	group := &Group{
		cfg: Config{DB: db.DB, Waker: eventstore.NewSignal(0)}, ended: make(chan struct{}), progress: newProgress(),
	}
	group.progress.add("p")
	f := &feed{group: group, spec: Spec{Name: "p", Version: 1}, log: slog.New(slog.DiscardHandler)}
	for state, reach := range map[string]func(p *pageTx){
		"open":   func(*pageTx) {},
		"busy":   func(p *pageTx) { p.enter(context.Background()) },
		"failed": func(p *pageTx) { p.enter(context.Background()); _ = p.leave(0, nil, errors.New("broken")) },
		"done":   func(p *pageTx) { p.enter(context.Background()); _ = p.leave(1, nil, nil) },
	} {
		tx, err := db.BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &pageTx{tx: tx, feed: f}
		if _, err := tx.Exec(`INSERT INTO written VALUES ($1)`, state); err != nil {
			t.Fatal(err)
		}
		reach(p)
		if err := p.Commit(); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		_ = tx.Rollback() // of a transaction that Commit left open; else it is over
	}
	var kept []string
	if err := db.Select(&kept, `SELECT state FROM written`); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || kept[0] != "done" {
		t.Errorf("the pages %q were kept", kept)
	}
}
