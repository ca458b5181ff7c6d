package projections_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/projectionstest"
)

type colour string

// everything has a field of every kind that a row may have.
type everything struct {
	Client string           `db:"client_id,key"`
	Bucket int64            `db:"bucket,key"`
	Count  int              `db:"n"`
	Small  int32            `db:"small"`
	Colour colour           `db:"colour"`
	Maybe  *string          `db:"maybe"`
	Owner  *domain.ID       `db:"owner"`
	Price  domain.Amount    `db:"price"`
	Ratio  *decimal.Decimal `db:"ratio"`
	Odd    bool             `db:"odd"`
	At     time.Time        `db:"at"`
	Until  *time.Time       `db:"until"`
	Raw    json.RawMessage  `db:"raw"`
	Bytes  []byte           `db:"bytes"`
	Day    day              `db:"day,type=date"`
	Last   int64            `db:"last_position"`
}

// day is a date that travels as text.
type day struct{ time.Time }

func (d day) MarshalText() ([]byte, error) { return []byte(d.Format(time.DateOnly)), nil }

func (d *day) UnmarshalText(text []byte) (err error) {
	d.Time, err = time.Parse(time.DateOnly, string(text))
	return err
}

type bucket struct {
	Client string
	Bucket int64
}

func everythingFold() *projections.Fold[bucket, everything] {
	return projections.MustFold(projections.FoldConfig[bucket, everything]{
		Spec: projections.Spec{
			Name: "everything", Version: 2, Kind: projections.KindReadModel, EventTypes: []string{"tally.counted"},
			DDL: `CREATE TABLE rows (client_id text, bucket bigint, n integer NOT NULL, small smallint NOT NULL,
				colour text NOT NULL, maybe text, owner uuid, price numeric(12,2) NOT NULL, ratio numeric, odd boolean NOT NULL,
				at timestamptz NOT NULL, until timestamptz, raw json, bytes bytea, day date NOT NULL,
				last_position bigint NOT NULL, PRIMARY KEY (client_id, bucket))`,
		},
		Table: "rows",
		Keys: func(e projections.Event, keys []bucket) []bucket { // two rows for each event
			n := e.Payload.(counted).N
			return append(keys, bucket{e.ClientID, n % 3}, bucket{e.ClientID, 100 + n%2})
		},
		Step: func(key bucket, row *everything, e projections.Event) (projections.Outcome, error) {
			n := e.Payload.(counted).N
			switch {
			case n%11 == 0:
				return projections.Delete, nil
			case n%7 == 0:
				row.Count = -1 // undone by Keep
				return projections.Keep, nil
			}
			row.Count++
			row.Small = int32(n)
			row.Colour = "red"
			row.Odd = n%2 == 1
			row.At, row.Day = e.OccurredAt, day{e.OccurredAt}
			row.Price = row.Price.Plus(domain.MustAmount("0.10"))
			row.Raw = json.RawMessage(fmt.Sprintf(`{"z":%d,  "a":"ä'\""}`, n))
			row.Bytes = append(row.Bytes[:len(row.Bytes):len(row.Bytes)], byte(n))
			row.Maybe, row.Owner, row.Ratio, row.Until = nil, nil, nil, nil
			if n%5 == 0 {
				text, ratio := "it's \\ \"quoted\", {1,2}", decimal.RequireFromString("1.250")
				row.Maybe, row.Owner, row.Ratio, row.Until = &text, &e.AggregateID, &ratio, &e.RecordedAt
			}
			return projections.Write, nil
		},
	})
}

func facts(n int) []projectionstest.Fact {
	list := make([]projectionstest.Fact, n)
	for i := range list {
		list[i] = projectionstest.Fact{
			Client: []string{"acme", "globex"}[i%2], Stream: projectionstest.StreamID(i % 4), Event: counted{N: int64(i + 1)},
		}
	}
	return list
}

func TestFoldGivesTheSameRowsHoweverItIsDelivered(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	rows := projectionstest.Check(t, db.DB, registry(t), everythingFold(), facts(40)...)["rows"]
	if len(rows) != 8 {
		t.Errorf("%d rows", len(rows))
	}
	const want = `(globex,1,2,40,red,"it's \\ ""quoted"", {1,2}",366b1289-4de8-53bb-a06f-8cbe86ce13d0,0.20,1.25,f,` +
		`"2026-01-05 08:00:40.123456+00","2026-01-05 08:00:40.124456+00","{""z"":40,  ""a"":""ä'\\""""}","\\x2228",2026-01-05,40)`
	if !slices.Contains(rows, want) {
		t.Errorf("no row %s in %q", want, rows)
	}
}

// entry is a row of the tests' journal.
type entry struct {
	Position int64           `db:"position,key"`
	N        int64           `db:"n"`
	Data     json.RawMessage `db:"data"`
}

func TestJournalGivesTheSameRowsHoweverItIsDelivered(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	journal := projections.MustJournal(projections.JournalConfig[entry]{
		Spec: projections.Spec{
			Name: "entries", Version: 1, Kind: projections.KindReadModel,
			DDL: `CREATE TABLE entries (position bigint PRIMARY KEY, n bigint NOT NULL, data json NOT NULL)`,
		},
		Table: "entries",
		Row: func(e projections.Event) (entry, bool, error) {
			n := e.Payload.(counted).N
			return entry{e.Position, n, e.Data}, n%3 != 0, nil
		},
	})
	rows := projectionstest.Check(t, db.DB, registry(t), journal, facts(10)...)["entries"]
	want := []string{`(1,1,"{""n"":1}")`, `(10,10,"{""n"":10}")`, `(2,2,"{""n"":2}")`, `(4,4,"{""n"":4}")`,
		`(5,5,"{""n"":5}")`, `(7,7,"{""n"":7}")`, `(8,8,"{""n"":8}")`}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("rows %v\nwant %v", rows, want)
	}
}

func TestFoldRefusesTypesThatDoNotFit(t *testing.T) {
	t.Parallel()
	type noLast struct {
		ID domain.ID `db:"id,key"`
	}
	type noKey struct {
		ID   domain.ID `db:"id"`
		Last int64     `db:"last_position"`
	}
	type odd struct {
		ID   domain.ID      `db:"id,key"`
		Odd  map[string]int `db:"odd"`
		Last int64          `db:"last_position"`
	}
	spec := totalsSpec("wrong")
	for name, err := range map[string]error{
		"no last_position": second(projections.NewFold(projections.FoldConfig[domain.ID, noLast]{Spec: spec, Table: "t"})),
		"no key":           second(projections.NewFold(projections.FoldConfig[domain.ID, noKey]{Spec: spec, Table: "t"})),
		"another key":      second(projections.NewFold(projections.FoldConfig[string, total]{Spec: spec, Table: "t"})),
		"an unknown type":  second(projections.NewFold(projections.FoldConfig[domain.ID, odd]{Spec: spec, Table: "t"})),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }
