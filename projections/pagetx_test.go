package projections

import (
	"context"
	"errors"
	"fmt"
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

// TestDrain: a page says what it is the page of, keeps what its first event belongs to, and is refused when it isn't in order.
func TestDrain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	f := &feed{group: &Group{}, spec: Spec{Name: "p", Version: 1}, pageSize: 10}
	drain := func(positions ...int64) (bounds, Page, string, error) {
		query := `SELECT record_send(ROW(0::bigint, 5::bigint))`
		for i, position := range positions {
			query += fmt.Sprintf(` UNION ALL SELECT record_send(ROW(%d::bigint, 1::bigint, gen_random_uuid(), 1, now(), 'cart.created'::text,
				'cart'::text, 'acme'::text, '{}'::json, gen_random_uuid(), now(), 'ann'::text, 'request %d'::text, ''::text, ''::text, '{}'::json))`,
				position, i)
		}
		rows, err := db.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
		b, frame, correlation, err := f.drain(rows)
		if err != nil {
			return b, Page{}, "", err
		}
		page, err := readFrame(frame, nil)
		return b, page, correlation, err
	}
	b, page, correlation, err := drain(2, 5)
	if err != nil || b.from != 0 || b.to != 5 || len(page.Events) != 2 || page.Events[1].Position != 5 || correlation != "request 0" {
		t.Errorf("bounds %+v, page %+v, correlation %q, error %v", b, page, correlation, err)
	}
	for _, wrong := range [][]int64{{2, 2}, {3, 1}, {0}, {6}} {
		if _, _, _, err := drain(wrong...); err == nil {
			t.Errorf("a page with the positions %v was taken", wrong)
		}
	}
}
