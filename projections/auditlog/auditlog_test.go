package auditlog_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/projections/projectionstest"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(product.Definition(), cart.Definition(), order.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func facts() []projectionstest.Fact {
	p, c, other := projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	price := domain.MustAmount("9.90")
	return []projectionstest.Fact{
		{Stream: p, Event: product.Registered{SKU: "A-1", Name: "Ärmel <&>", Price: price, Currency: "EUR", InitialStock: 5}},
		{Stream: c, Event: cart.Created{}},
		{Stream: c, Event: cart.ItemAdded{ProductID: p, SKU: "A-1", ProductName: "x", Quantity: 2, UnitPrice: price, Currency: "EUR"}},
		{Stream: p, Event: product.StockReserved{CartID: c, Quantity: 2, AvailableAfter: 3}},
		{Stream: other, Client: "globex", Event: product.Registered{SKU: "A-1", Name: "B", Price: price, Currency: "USD"}},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), auditlog.New(), facts()...)["entries"]
	if len(rows) != len(facts()) {
		t.Errorf("%d rows: %q", len(rows), rows)
	}
}

// serve applies facts to the serving tables and gives the queries over them.
func serve(t testing.TB) (*auditlog.Queries, []projections.Event) {
	t.Helper()
	db := pgtest.New(t)
	events := projectionstest.Record(t, registry(t), 0, facts()...)
	projectionstest.Serve(t, db.DB, registry(t), auditlog.New(), events)
	return auditlog.NewQueries(projectionstest.Tenants(t, db.DSN)), events
}

func TestList(t *testing.T) {
	t.Parallel()
	q, events := serve(t)
	product := events[0].AggregateID
	for _, c := range []struct {
		name   string
		client string
		filter auditlog.Filter
		want   []int64
	}{
		{"a client's", "acme", auditlog.Filter{}, []int64{1, 2, 3, 4}},
		{"another client's", "globex", auditlog.Filter{}, []int64{5}},
		{"an unknown client's", "nobody", auditlog.Filter{}, nil},
		{"every client's", eventstore.AllClients, auditlog.Filter{}, []int64{1, 2, 3, 4, 5}},
		{"of an actor", "acme", auditlog.Filter{ActorID: "tester"}, []int64{1, 2, 3, 4}},
		{"of no actor", "acme", auditlog.Filter{ActorID: "someone"}, nil},
		{"of a type", "acme", auditlog.Filter{EventTypes: []string{"cart.created"}}, []int64{2}},
		{"of types", "acme", auditlog.Filter{EventTypes: []string{"cart.created", "product.registered"}}, []int64{1, 2}},
		{"of an aggregate type", "acme", auditlog.Filter{AggregateType: "product"}, []int64{1, 4}},
		{"of an aggregate", "acme", auditlog.Filter{AggregateID: &product}, []int64{1, 4}},
		{"of a correlation", "acme", auditlog.Filter{CorrelationID: "request-3"}, []int64{3}},
		{"of a time", "acme", auditlog.Filter{From: events[1].OccurredAt, To: events[3].OccurredAt}, []int64{2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int64
			var after int64
			for { // one entry a page
				page, err := q.List(context.Background(), c.client, c.filter, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				if page.Position != 5 {
					t.Errorf("applied position %d", page.Position)
				}
				for _, e := range page.Items {
					got = append(got, e.Position)
				}
				if after = page.Next; after == 0 {
					break
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("positions %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("positions %v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestEntriesAreWhatWasRecorded(t *testing.T) {
	t.Parallel()
	q, events := serve(t)
	var got []auditlog.Entry
	err := q.Export(context.Background(), eventstore.AllClients, auditlog.Filter{}, 0, 0, func(e auditlog.Entry) error {
		got = append(got, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(events) {
		t.Fatalf("%d entries", len(got))
	}
	for i, e := range events {
		g := got[i]
		if string(g.EventData) != string(e.Data) {
			t.Errorf("data %s, recorded %s", g.EventData, e.Data)
		}
		if g.Position != e.Position || g.EventID != e.EventID || g.EventType != e.EventType ||
			g.AggregateType != e.AggregateType || g.AggregateID != e.AggregateID || g.ClientID != e.ClientID ||
			g.ActorID != e.ActorID || !g.OccurredAt.Equal(e.OccurredAt) || !g.RecordedAt.Equal(e.RecordedAt) ||
			g.OccurredAt.Location() != time.UTC || g.CorrelationID != e.CorrelationID || g.CausationID != e.CausationID ||
			g.RequestID != e.RequestID {
			t.Errorf("entry %+v\nof %+v", g, e)
		}
	}
}

// TestSpans: however few positions a page looks at, whoever follows Next sees what matches, and no page looks further.
func TestSpans(t *testing.T) {
	t.Parallel()
	q, events := serve(t)
	product := events[0].AggregateID
	for _, c := range []struct {
		filter auditlog.Filter
		span   int64
		want   []int64
		pages  int
	}{
		{auditlog.Filter{EventTypes: []string{"product.registered"}}, 1, []int64{1, 5}, 5},
		{auditlog.Filter{AggregateType: "product"}, 2, []int64{1, 4, 5}, 3},
		{auditlog.Filter{ActorID: "someone"}, 2, nil, 3},
		{auditlog.Filter{From: events[4].OccurredAt.Add(time.Hour)}, 4, nil, 2},
		{auditlog.Filter{To: events[0].OccurredAt}, 5, nil, 1},
		{auditlog.Filter{}, 1, []int64{1, 2, 3, 4, 5}, 1},
		{auditlog.Filter{ActorID: "tester", AggregateID: &product}, 1, []int64{1, 4}, 1},
		{auditlog.Filter{ActorID: "tester", CorrelationID: "request-3"}, 1, []int64{3}, 1},
	} {
		var got []int64
		pages := 0
		for after := int64(0); pages == 0 || after > 0; pages++ {
			page, err := auditlog.ListSpan(q, context.Background(), eventstore.AllClients, c.filter, after, 10, c.span)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Items {
				got = append(got, e.Position)
			}
			after = page.Next
		}
		if !slices.Equal(got, c.want) || pages != c.pages {
			t.Errorf("%+v, %d positions a page: %v in %d pages, want %v in %d", c.filter, c.span, got, pages, c.want, c.pages)
		}
	}
}

func TestExportKeepsToItsBounds(t *testing.T) {
	t.Parallel()
	q, _ := serve(t)
	for _, c := range []struct{ after, upTo, want int64 }{{0, 0, 5}, {2, 0, 3}, {0, 3, 3}, {1, 4, 3}, {5, 0, 0}, {4, 9, 1}} {
		var got, last int64
		err := q.Export(context.Background(), eventstore.AllClients, auditlog.Filter{}, c.after, c.upTo, func(e auditlog.Entry) error {
			if e.Position <= max(last, c.after) {
				t.Errorf("position %d after %d", e.Position, last)
			}
			last = e.Position
			got++
			return nil
		})
		if err != nil || got != c.want {
			t.Errorf("from %d to %d: %d entries, want %d: %v", c.after, c.upTo, got, c.want, err)
		}
	}
}

// A page is read along an index although nothing is known of the table, as after a restore: to sort what is left of it for
// every page would make an export quadratic.
func TestPagesFollowAnIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), auditlog.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	tenants := projectionstest.Tenants(t, db.DSN)
	if _, err := db.Exec(`INSERT INTO rm_audit_log_v1.entries SELECT n, event_id, event_type, aggregate_type, aggregate_id, client_id,
		actor_id, occurred_at, recorded_at, correlation_id, causation_id, request_id, event_data
		FROM rm_audit_log_v1.entries, generate_series(10, 20000) n WHERE position = 1`); err != nil {
		t.Fatal(err)
	}
	var c projections.Conditions
	c.And("current_setting('enable_bitmapscan') = ?", "off")
	page, err := projections.ReadList(context.Background(), tenants, "acme", auditlog.Spec(), "entries", "position", &c, 0, 10,
		func(e auditlog.Entry) int64 { return e.Position })
	if err != nil || len(page.Items) != 10 {
		t.Errorf("lists aren't read in the order of an index: %d rows, %v", len(page.Items), err)
	}
	for _, client := range []string{"acme", eventstore.AllClients} {
		var plan []string
		err := tenants.ReadInOrder(context.Background(), client, func(ctx context.Context, q eventstore.Querier) error {
			return q.SelectContext(ctx, &plan, `EXPLAIN SELECT * FROM rm_audit_log_v1.entries WHERE ($1 = '*' OR client_id = $1)
				AND position > $2 ORDER BY position LIMIT 501`, client, 5000)
		})
		if text := strings.Join(plan, "\n"); err != nil || strings.Contains(text, "Sort") || !strings.Contains(text, "Index Scan using") {
			t.Errorf("%s: %v\n%s", client, err, text)
		}
	}
}
