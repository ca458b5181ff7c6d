package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// logFixture is a log with events of two clients, several actors and types, over 40 minutes.
type logFixture struct {
	store *Store
	ids   []domain.ID
	all   []Envelope
	start time.Time
}

func newLogFixture(t *testing.T) logFixture {
	t.Helper()
	f := logFixture{start: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	now := f.start
	f.store = openStore(t, pgtest.New(t), func(c *Config) { c.Clock = func() time.Time { return now } })
	for i := range 4 {
		cmd := acmeCommand()
		cmd.Client = []string{acme, "other"}[i%2]
		f.ids = append(f.ids, mustRun(t, f.store, cmd, openCounter(fmt.Sprint(i), 100)).ID)
	}
	for i := range 36 {
		now = now.Add(time.Minute)
		cmd := acmeCommand()
		cmd.Client, cmd.Actor = []string{acme, "other"}[i%2], fmt.Sprintf("actor-%d", i%3)
		command := counterTake(1)
		if i%5 == 0 {
			command = counterAdd(1)
		}
		mustRun(t, f.store, cmd, onCounter(f.ids[i%4], command))
	}
	err := f.store.Reader.Scan(context.Background(), EventFilter{Client: AllClients}, 0, 0, func(e Envelope) error {
		f.all = append(f.all, e)
		return nil
	})
	if err != nil || len(f.all) != 40 {
		t.Fatalf("the log has %d events, %v", len(f.all), err)
	}
	return f
}

// selects is what a filter means, said without SQL.
func selects(f EventFilter, e Envelope) bool {
	return (f.Client == AllClients || f.Client == e.ClientID) &&
		(len(f.EventTypes) == 0 || slices.Contains(f.EventTypes, e.EventType)) &&
		(f.AggregateType == "" || f.AggregateType == e.AggregateType) &&
		(f.AggregateID == nil || *f.AggregateID == e.AggregateID) &&
		(f.ActorID == "" || f.ActorID == e.ActorID) &&
		(f.From.IsZero() || !e.OccurredAt.Before(f.From)) &&
		(f.To.IsZero() || e.OccurredAt.Before(f.To))
}

// Whatever the filter, the start and the sizes of pages, following NextAfter gives each selected event once, in order,
// and ends at the head.
func TestPagesGiveWhatTheFilterSelects(t *testing.T) {
	t.Parallel()
	f := newLogFixture(t)
	for i, e := range f.all {
		if e.Position != int64(i)+1 {
			t.Fatalf("event %d has position %d", i, e.Position)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		filter := EventFilter{
			Client:        rapid.SampledFrom([]string{acme, "other", AllClients, "nobody"}).Draw(rt, "client"),
			EventTypes:    rapid.SampledFrom([][]string{nil, {"counter.added"}, {"counter.added", "counter.opened"}, {"x.y"}}).Draw(rt, "types"),
			AggregateType: rapid.SampledFrom([]string{"", "", "counter", "mark"}).Draw(rt, "aggregate type"),
			ActorID:       rapid.SampledFrom([]string{"", "", "actor-1"}).Draw(rt, "actor"),
		}
		if i := rapid.IntRange(-4, 3).Draw(rt, "stream"); i >= 0 {
			filter.AggregateID = &f.ids[i]
		}
		if m := rapid.IntRange(-5, 40).Draw(rt, "from"); m >= 0 {
			filter.From = f.start.Add(time.Duration(m) * time.Minute)
		}
		if m := rapid.IntRange(-5, 40).Draw(rt, "to"); m >= 0 {
			filter.To = f.start.Add(time.Duration(m) * time.Minute)
		}
		after := rapid.Int64Range(0, 45).Draw(rt, "after")
		var want, got, scanned []int64
		for _, e := range f.all {
			if e.Position > after && selects(filter, e) {
				want = append(want, e.Position)
			}
		}
		for at := after; ; {
			limit := rapid.IntRange(1, 7).Draw(rt, "limit")
			page, err := f.store.Reader.Page(context.Background(), filter, at, limit)
			if err != nil {
				rt.Fatal(err)
			}
			if page.Head != 40 || len(page.Events) > limit || page.NextAfter < at {
				rt.Fatalf("page after %d: head %d, %d events, next %d", at, page.Head, len(page.Events), page.NextAfter)
			}
			for _, e := range page.Events {
				got = append(got, e.Position)
			}
			if page.NextAfter >= page.Head {
				break
			}
			at = page.NextAfter
		}
		err := f.store.Reader.Scan(context.Background(), filter, after, 0, func(e Envelope) error {
			scanned = append(scanned, e.Position)
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.Equal(want, got) || !slices.Equal(want, scanned) {
			rt.Fatalf("filter %+v after %d\nwant %v\npages %v\nscan %v", filter, after, want, got, scanned)
		}
	})
}

// A page looks at a bounded number of positions, and moves on past those that nothing selects.
func TestPageIsBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	newCounter(t, store, 1)
	fillLog(t, db, 2, pageSpan+50)
	filter := EventFilter{Client: acme, EventTypes: []string{"counter.opened"}}
	first, err := store.Reader.Page(context.Background(), filter, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Events) != 0 || first.NextAfter != pageSpan+1 || first.Head != pageSpan+50 {
		t.Errorf("first page: %d events, next %d, head %d", len(first.Events), first.NextAfter, first.Head)
	}
	second, err := store.Reader.Page(context.Background(), filter, first.NextAfter, 10)
	if err != nil || second.NextAfter != second.Head {
		t.Errorf("second page: %+v, %v", second, err)
	}
	// A stream is found by its index, wherever it is.
	id := newCounter(t, store, 1)
	page, err := store.Reader.Page(context.Background(), EventFilter{Client: acme, AggregateID: &id}, 0, 10)
	if err != nil || len(page.Events) != 1 || page.NextAfter != page.Head {
		t.Errorf("stream page: %+v, %v", page, err)
	}
}

// A page follows an index in its order, on a log that was never analysed as on one that was: to sort what it may look at
// would cost a hundred pages.
func TestPageFollowsAnIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	fillLog(t, db, 1, 3*pageSpan)
	id := newUUID()
	for _, analysed := range []bool{false, true} {
		if analysed {
			change(t, db, `ANALYZE annals.events`)
		}
		for index, filter := range map[string]EventFilter{
			"events_pkey":       {Client: "filler", EventTypes: []string{"mark.made"}},
			"events_stream_key": {Client: AllClients, AggregateID: &id},
		} {
			var plan []string
			err := store.Tenants.read(context.Background(), filter.Client, inOrderOfIndex, func(ctx context.Context, q Querier) error {
				text, args := pageQuery(filter, pageSpan, 2*pageSpan, 50)
				return q.SelectContext(ctx, &plan, "EXPLAIN "+text, args...)
			})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(plan, "\n")
			if !strings.Contains(text, "Index Scan using "+index) || strings.Contains(text, "Sort") {
				t.Errorf("analysed %v: the plan doesn't follow %s:\n%s", analysed, index, text)
			}
		}
	}
}

// fillLog writes plain events of another client at positions first to last, past append_v2.
func fillLog(t testing.TB, db *pgtest.DB, first, last int) {
	t.Helper()
	_, err := db.Exec(`
		INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
			schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
			data, metadata, data_salt, metadata_salt)
		SELECT p, gen_random_uuid(), gen_random_uuid(), 1, clock_timestamp(), clock_timestamp(), 1, 'mark.made', 'mark',
			'filler', 'filler', p::text, p::text, p::text, '{}', '{}', '\x00', '\x00'
		FROM generate_series($1::bigint, $2::bigint) p`, first, last)
	if err != nil {
		t.Fatal(err)
	}
}

// Large events end a page early, so that a page has a bounded size.
func TestPageIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	const events, size = 60, 200 << 10
	fillLog(t, db, 1, events)
	_, err := db.Exec(`ALTER TABLE annals.events DISABLE TRIGGER events_append_only;
		UPDATE annals.events SET data = ('"' || repeat('x', ` + fmt.Sprint(size) + `) || '"')::json`)
	if err != nil {
		t.Fatal(err)
	}
	filter := EventFilter{Client: AllClients}
	page, err := store.Reader.Page(context.Background(), filter, 0, events)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(page.Events); n == 0 || n > pageBytes/size+1 || page.NextAfter != int64(n) {
		t.Errorf("page of %d events, next %d", n, page.NextAfter)
	}
	scanned := 0
	if err := store.Reader.Scan(context.Background(), filter, 0, 0, func(Envelope) error { scanned++; return nil }); err != nil || scanned != events {
		t.Errorf("scanned %d, %v", scanned, err)
	}
}

func TestScanEndsWithItsError(t *testing.T) {
	t.Parallel()
	f := newLogFixture(t)
	enough, seen := errors.New("enough"), 0
	err := f.store.Reader.Scan(context.Background(), EventFilter{Client: acme}, 3, 30, func(e Envelope) error {
		if e.Position <= 3 || e.Position > 30 {
			t.Errorf("position %d is out of bounds", e.Position)
		}
		if seen++; seen == 5 {
			return enough
		}
		return nil
	})
	if err != enough || seen != 5 {
		t.Errorf("%v after %d", err, seen)
	}
}

func TestEventAndStream(t *testing.T) {
	t.Parallel()
	f := newLogFixture(t)
	ctx, r := context.Background(), f.store.Reader
	event, err := r.Event(ctx, acme, 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.all[2], event); diff != "" {
		t.Error(diff)
	}
	for _, at := range []int64{0, 2, 41, -1} { // 2 is another client's
		if _, err := r.Event(ctx, acme, at); domain.CodeOf(err) != domain.CodeNotFound {
			t.Errorf("position %d: %v", at, err)
		}
	}
	var versions []int64
	for after, more := int64(0), true; more; {
		page, err := r.Stream(ctx, acme, "counter", f.ids[0], after, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			versions = append(versions, e.AggregateVersion)
			after = e.AggregateVersion
		}
		more = page.More
	}
	if !slices.Equal(versions, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("versions %v", versions)
	}
	if page, err := r.Stream(ctx, AllClients, "counter", f.ids[1], 10, 4); err != nil || len(page.Events) != 0 || page.More {
		t.Errorf("past the end: %+v, %v", page, err)
	}
	for name, read := range map[string]func() (StreamPage, error){
		"another client's":          func() (StreamPage, error) { return r.Stream(ctx, acme, "counter", f.ids[1], 0, 4) },
		"another client's, further": func() (StreamPage, error) { return r.Stream(ctx, acme, "counter", f.ids[1], 5, 4) },
		"another type":              func() (StreamPage, error) { return r.Stream(ctx, acme, "mark", f.ids[0], 0, 4) },
		"none":                      func() (StreamPage, error) { return r.Stream(ctx, acme, "counter", newUUID(), 3, 4) },
	} {
		if page, err := read(); domain.CodeOf(err) != domain.CodeNotFound {
			t.Errorf("%s: %+v, %v", name, page, err)
		}
	}
}

// A lineage says how far it has looked, also where one id is that of many requests.
func TestLineageOfManyEvents(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	write := func(count int, cause string) AppendOutcome {
		req := onStream(newUUID(), 0, count)
		for i := range req.Events {
			e := &req.Events[i]
			e.RequestID, e.CorrelationID, e.CausationID, e.EventType = "import", "import", cause, "counter.opened"
			e.Data = []byte(`{"name":"x","limit":9}`)
		}
		return mustAppend(t, store.Sequencer, req)
	}
	effects := func(position int64) (int, int64) {
		t.Helper()
		l, err := store.Reader.Lineage(t.Context(), acme, position)
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Effects), l.SearchedTo
	}
	root := write(1, "import").Head
	event, err := store.Reader.Event(t.Context(), acme, root)
	if err != nil {
		t.Fatal(err)
	}
	const many = 50
	for range (relatedLimit + 100) / many {
		write(many, "import")
	}
	head := write(1, event.EventID.String()).Head
	if n, to := effects(root); n != 1 || to != head {
		t.Errorf("beside many requests: %d effects up to %d, want 1 up to %d", n, to, head)
	}
	for range lineageLimit/many + 1 {
		write(many, event.EventID.String())
	}
	if n, to := effects(root); n != lineageLimit || to != head+lineageLimit-1 {
		t.Errorf("of many effects: %d up to %d, want %d up to %d", n, to, lineageLimit, head+lineageLimit-1)
	}
	for range relatedLimit / many {
		write(many, newUUID().String())
	}
	write(1, event.EventID.String())
	if n, to := effects(head); n != 0 || to != head+relatedLimit {
		t.Errorf("beside many effects of others: %d up to %d, want none up to %d", n, to, head+relatedLimit)
	}
}

func TestLineage(t *testing.T) {
	t.Parallel()
	store := openStore(t, pgtest.New(t))
	ctx := context.Background()
	root := acmeCommand()
	root.RequestID = "req-7"
	a := mustRun(t, store, root, openCounter("root", 9))
	follow := func(client string, cause CommandResult) CommandResult {
		cmd := Command{Client: client, Actor: "policy", CorrelationID: "req-7", CausationID: cause.Events[0].EventID.String()}
		return mustRun(t, store, cmd, openCounter(fmt.Sprint("caused ", newUUID()), 9))
	}
	b := follow(acme, a)
	mustRun(t, store, acmeCommand(), openCounter("unrelated", 9))
	c := follow(acme, b)
	d := follow(acme, a)
	follow("other", a)
	got, err := store.Reader.Lineage(ctx, acme, b.Position)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Causes) != 1 || got.Causes[0].Position != a.Position || len(got.Effects) != 1 ||
		got.Effects[0].Position != c.Position || got.SearchedTo != got.Head || got.Event.Position != b.Position {
		t.Errorf("lineage %+v", got)
	}
	got, err = store.Reader.Lineage(ctx, acme, a.Position)
	if err != nil || len(got.Causes) != 0 || len(got.Effects) != 3 || got.Effects[2].Position != d.Position {
		t.Errorf("lineage of the root: %+v, %v", got, err)
	}
	got, err = store.Reader.Lineage(ctx, acme, c.Position)
	if err != nil || len(got.Causes) != 2 || got.Causes[1].Position != a.Position || len(got.Effects) != 0 {
		t.Errorf("lineage of the leaf: %+v, %v", got, err)
	}
	if _, err := store.Reader.Lineage(ctx, "other", a.Position); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client sees the lineage: %v", err)
	}
	for _, e := range []CommandResult{a, b, c, d} {
		if found, err := store.Reader.ByEventID(ctx, acme, e.Events[0].EventID); err != nil || found.Position != e.Position {
			t.Errorf("by id: position %d, %v, want %d", found.Position, err, e.Position)
		}
	}
	if _, err := store.Reader.ByEventID(ctx, "other", a.Events[0].EventID); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client sees the event: %v", err)
	}
	for _, id := range []domain.ID{newUUID(), {}} {
		if _, err := store.Reader.ByEventID(ctx, acme, id); domain.CodeOf(err) != domain.CodeNotFound {
			t.Errorf("an id that isn't there: %v", err)
		}
	}
}
