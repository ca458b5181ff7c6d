package webhooks_test

import (
	"context"
	"slices"
	"testing"

	"annals/domain"
	"annals/domain/notifications"
	"annals/eventstore/pgtest"
	"annals/projections/projectionstest"
	"annals/projections/webhooks"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(notifications.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var first, second, third, other = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3),
	projectionstest.StreamID(4)

func registered(types ...string) notifications.Registered {
	return notifications.Registered{URL: "https://example.com/hook", EventTypes: types}
}

func facts() []projectionstest.Fact {
	return []projectionstest.Fact{
		{Stream: first, Event: registered("order.created")},
		{Stream: second, Event: registered("order.created", "hold.created")},
		{Stream: other, Client: "globex", Event: registered("order.created")},
		{Stream: second, Event: notifications.RedeliveryRequested{EventID: first}},
		{Stream: first, Event: notifications.Deleted{}},
		{Stream: third, Event: registered("hold.created")},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), webhooks.New(), facts()...)["webhooks"]
	want := "(" + first.String() + `,acme,https://example.com/hook,"[""order.created""]",deleted,5,2,1,5,` +
		`"2026-01-05 08:00:01.123456+00","2026-01-05 08:00:05.123456+00")`
	if len(rows) != 4 || !slices.Contains(rows, want) {
		t.Errorf("rows %q\nwant %s", rows, want)
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), webhooks.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := webhooks.NewQueries(projectionstest.Tenants(t, db.DSN))
	for client, want := range map[string][]domain.ID{"acme": {second, third}, "globex": {other}, "none": nil} {
		var got []domain.ID
		for after, more := int64(0), true; more; {
			page, err := q.List(ctx, client, after, 1)
			if err != nil || page.Position != 6 {
				t.Fatal(page, err)
			}
			for _, w := range page.Items {
				got = append(got, w.ID)
			}
			after, more = page.Next, page.Next > 0
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", client, got, want)
		}
	}
	w, position, err := q.Get(ctx, "acme", second)
	if err != nil || position != 6 || !slices.Equal(w.EventTypes.Value, []string{"order.created", "hold.created"}) || w.Version != 2 {
		t.Errorf("%+v at %d: %v", w, position, err)
	}
	for client, id := range map[string]domain.ID{"acme": first, "globex": second} {
		if _, position, err := q.Get(ctx, client, id); domain.CodeOf(err) != domain.CodeNotFound || position != 6 {
			t.Errorf("%s sees %s at %d: %v", client, id, position, err)
		}
	}
}

func TestWhichEventsAreForAWebhook(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), webhooks.New(), projectionstest.Record(t, registry(t), 0, facts()...))
	q := webhooks.NewQueries(projectionstest.Tenants(t, db.DSN))
	for _, c := range []struct {
		name, client, eventType string
		position                int64
		want                    []domain.ID
	}{
		{"before the second", "acme", "order.created", 2, []domain.ID{first}},
		{"both active", "acme", "order.created", 3, []domain.ID{first, second}},
		{"the first's deletion", "acme", "order.created", 5, []domain.ID{second}},
		{"another type", "acme", "hold.created", 4, []domain.ID{second}},
		{"its own registration", "acme", "hold.created", 6, []domain.ID{second}},
		{"after everything", "acme", "hold.created", 7, []domain.ID{second, third}},
		{"another client", "globex", "order.created", 7, []domain.ID{other}},
		{"nobody's type", "globex", "hold.created", 7, nil},
	} {
		all, at, err := q.After(ctx, []string{"acme", "globex"}, c.position)
		if err != nil || at != 6 {
			t.Fatalf("at %d: %v", at, err)
		}
		var got []domain.ID
		for _, w := range all {
			if w.Wants(c.client, c.eventType, c.position) {
				got = append(got, w.ID)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
