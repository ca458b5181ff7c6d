package projections

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// everyKind has a column of every kind, and a nullable one of most.
type everyKind struct {
	ID      domain.ID       `db:"id,key"`
	N       int64           `db:"n"`
	Text    string          `db:"t"`
	Flag    bool            `db:"flag"`
	At      time.Time       `db:"at"`
	Doc     json.RawMessage `db:"doc"`
	Raw     []byte          `db:"raw"`
	Price   domain.Amount   `db:"price"`
	Ratio   decimal.Decimal `db:"ratio"`
	Day     string          `db:"day,type=date"`
	MaybeN  *int64          `db:"maybe_n"`
	MaybeT  *string         `db:"maybe_t"`
	MaybeAt *time.Time      `db:"maybe_at"`
	MaybeID *domain.ID      `db:"maybe_id"`
}

const everyKindDDL = `CREATE SCHEMA copied; CREATE SCHEMA inserted;
	CREATE TABLE inserted.every (id uuid PRIMARY KEY, n bigint NOT NULL, t text NOT NULL, flag boolean NOT NULL,
		at timestamptz NOT NULL, doc json, raw bytea, price numeric NOT NULL, ratio numeric NOT NULL, day date NOT NULL,
		maybe_n bigint, maybe_t text, maybe_at timestamptz, maybe_id uuid);
	CREATE TABLE copied.every (LIKE inserted.every INCLUDING ALL)`

func everyKinds(n int) []*everyKind {
	texts := []string{"", "plain", "tab\tnew\nline\rback\\slash", `\N`, `\.`, "quote'\"", "ünïcødé 🙂", "\x01\x1f", " space "}
	start := time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	rows := make([]*everyKind, n)
	for i := range rows {
		r := &everyKind{
			ID: domain.NameID(domain.ID{}, fmt.Sprint(i)), N: int64(i) - 5, Text: texts[i%len(texts)], Flag: i%2 == 0,
			At: start.Add(time.Duration(i) * 1_234_567_890_123), Doc: json.RawMessage(`{"b" : 1.0,  "a":"x\ty\\z"}`),
			Raw: []byte{0, 1, byte(i), '\\', 255}, Price: domain.MustAmount("999.90"),
			Ratio: decimal.RequireFromString("1.500"), Day: "2026-02-28",
		}
		if i%3 == 0 {
			r.MaybeN, r.MaybeT, r.MaybeAt, r.MaybeID = &r.N, &r.Text, &r.At, &r.ID
		} else {
			r.Doc, r.Raw = nil, nil
		}
		rows[i] = r
	}
	return rows
}

// begin begins a transaction that can COPY. It is rolled back in the end.
func begin(t *testing.T, ctx context.Context, db *pgtest.DB) ConnTx {
	t.Helper()
	conn, err := db.DB.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return ConnTx{tx, conn}
}

// TestCancelledCopy: a context that ends during a COPY ends it, and the transaction.
func TestCancelledCopy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.MustExec(`CREATE TABLE ids (id uuid)`)
	ctx, cancel := context.WithCancel(context.Background())
	tx := begin(t, ctx, db)
	ended := make(chan error, 1)
	go func() {
		ended <- tx.copyIn(ctx, "COPY ids (id) FROM STDIN", func(yield func([]driver.Value) bool) {
			for n := range 20 * copyRows {
				if n == 10*copyRows {
					cancel()
					time.Sleep(50 * time.Millisecond) // in which database/sql would roll back
				}
				if !yield([]driver.Value{domain.NameID(domain.ID{}, fmt.Sprint(n)).String()}) {
					return
				}
			}
		})
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the COPY doesn't end")
	}
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		t.Fatal(err)
	}
	if _, err := db.Exec(`SET lock_timeout = '20s'; TRUNCATE ids`); err != nil {
		t.Errorf("the table isn't free afterwards: %v", err)
	}
}

// TestCopyEqualsInsert: rows that a rebuild writes by COPY are, byte for byte, those that a live page inserts.
func TestCopyEqualsInsert(t *testing.T) {
	t.Parallel()
	db, ctx := pgtest.New(t), context.Background()
	db.MustExec(everyKindDDL)
	table, err := newRowTable[everyKind]("every")
	if err != nil {
		t.Fatal(err)
	}
	rows := everyKinds(2*copyRows + 1)
	tx := begin(t, ctx, db)
	if err := table.insert(ctx, Tx{tx.Tx, "inserted"}, rows, conflictFails); err != nil {
		t.Fatal(err)
	}
	if done, err := table.copyIn(ctx, Tx{tx, "copied"}, rows); err != nil || !done {
		t.Fatalf("done %v, error %v", done, err)
	}
	var same, differ int
	err = tx.QueryRow(`SELECT count(*) FILTER (WHERE c.* *= i.*), count(*) FILTER (WHERE c.* *<> i.*)
		FROM copied.every c FULL JOIN inserted.every i USING (id)`).Scan(&same, &differ)
	if err != nil {
		t.Fatal(err)
	}
	if same != len(rows) || differ != 0 {
		t.Errorf("%d rows are the same, %d differ", same, differ)
	}
}

// TestJournalRefusesARowThatExists: nobody can write a row before its event, to have it in the event's place.
func TestJournalRefusesARowThatExists(t *testing.T) {
	t.Parallel()
	db, ctx := pgtest.New(t), context.Background()
	db.MustExec(`CREATE SCHEMA rows; CREATE TABLE rows.ids (id uuid PRIMARY KEY)`)
	type row struct {
		ID domain.ID `db:"id,key"`
	}
	journal := MustJournal(JournalConfig[row]{
		Spec:  Spec{Name: "ids", Version: 1, Kind: KindReadModel, DDL: `CREATE TABLE ids (id uuid PRIMARY KEY)`},
		Table: "ids", Row: func(e Event) (row, bool, error) { return row{e.AggregateID}, true, nil },
	})
	for name, events := range map[string]int{"a live page": 1, "a rebuild that copies": copyRows} {
		page := Page{To: int64(events), Events: make([]Event, events)}
		for i := range page.Events {
			page.Events[i].AggregateID = domain.ID{byte(i >> 8), byte(i)}
		}
		tx := begin(t, ctx, db)
		_, err := tx.Exec(`INSERT INTO rows.ids VALUES ($1)`, page.Events[events-1].AggregateID.String())
		if err != nil {
			t.Fatal(err)
		}
		if events < copyRows {
			err = journal.Apply(ctx, Tx{tx, "rows"}, page)
		} else {
			build := journal.NewBuild()
			err = build.Add(ctx, Tx{tx, "rows"}, page)
			if err == nil {
				err = build.Merge(ctx, Tx{tx, "rows"})
			}
		}
		var refused *pq.Error
		if !errors.As(err, &refused) || refused.Code != pqerror.UniqueViolation {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestJournalBuildKeepsFewRows: what a rebuild holds in memory doesn't grow with the events between two merges.
func TestJournalBuildKeepsFewRows(t *testing.T) {
	t.Parallel()
	db, ctx := pgtest.New(t), context.Background()
	db.MustExec(`CREATE SCHEMA rows; CREATE TABLE rows.numbers (n bigint PRIMARY KEY)`)
	type row struct {
		N int64 `db:"n,key"`
	}
	journal := MustJournal(JournalConfig[row]{
		Spec:  Spec{Name: "numbers", Version: 1, Kind: KindReadModel, DDL: `CREATE TABLE numbers (n bigint PRIMARY KEY)`},
		Table: "numbers", Row: func(e Event) (row, bool, error) { return row{e.Position}, true, nil },
	})
	conn := begin(t, ctx, db)
	tx, build := Tx{conn, "rows"}, journal.NewBuild()
	const pages, events = 7, copyRows/2 + 1
	for p := range int64(pages) {
		page := Page{From: p * events, To: (p + 1) * events}
		for at := page.From + 1; at <= page.To; at++ {
			e := Event{}
			e.Position = at
			page.Events = append(page.Events, e)
		}
		if err := build.Add(ctx, tx, page); err != nil {
			t.Fatal(err)
		}
		if missing := page.To - written(t, conn); missing >= copyRows {
			t.Fatalf("%d rows are still in memory after position %d", missing, page.To)
		}
	}
	if err := build.Merge(ctx, tx); err != nil {
		t.Fatal(err)
	}
	if n := written(t, conn); n != pages*events {
		t.Errorf("%d rows, want %d", n, pages*events)
	}
}

func written(t *testing.T, tx ConnTx) (n int64) {
	t.Helper()
	if err := tx.QueryRow(`SELECT count(*) FROM rows.numbers`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
