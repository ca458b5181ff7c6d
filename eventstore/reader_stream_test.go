package eventstore

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// fillStreams writes a log of some clients' streams, of which the first has most events, in an irregular order. It gives the
// streams' ids and positions. Stream i is of the client "client-<i>".
func fillStreams(t testing.TB, db *pgtest.DB, events int) (ids []domain.ID, positions [][]int64) {
	t.Helper()
	const streams = 4
	positions = make([][]int64, streams)
	for range streams {
		ids = append(ids, newUUID())
	}
	_, err := db.Exec(`
		INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
			schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
			data, metadata, data_salt, metadata_salt)
		SELECT p, gen_random_uuid(), ($1::uuid[])[s + 1], row_number() OVER (PARTITION BY s ORDER BY p), now(), now(), 1,
			'mark.' || p % 2, 'mark', 'client-' || s, 'filler', p::text, p::text, p::text, '{}', '{}', '\x00', '\x00'
		FROM generate_series(1, $2::bigint) p, LATERAL (SELECT greatest(hashint8(p) & 15, 12) - 12 AS s) which`,
		fmt.Sprintf("{%s,%s,%s,%s}", ids[0], ids[1], ids[2], ids[3]), events)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		err := db.Select(&positions[i], `SELECT position FROM annals.events WHERE aggregate_id = $1 ORDER BY position`, id.String())
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids, positions
}

// Pages of a stream begin where they are to, wherever that is, and visit little besides what they give.
func TestPageOfAStreamBeginsAtItsPosition(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := openStore(t, db)
	const events = 6_200
	ids, positions := fillStreams(t, db, events)
	if len(positions[0]) < 5_000 {
		t.Fatalf("the long stream has %d events", len(positions[0]))
	}
	rapid.Check(t, func(rt *rapid.T) {
		of, as := rapid.IntRange(0, 3).Draw(rt, "stream"), rapid.IntRange(-1, 3).Draw(rt, "client")
		filter := EventFilter{Client: AllClients, AggregateID: &ids[of]}
		var want []int64
		after := rapid.Int64Range(0, events+2).Draw(rt, "after")
		even := rapid.Bool().Draw(rt, "even positions only")
		if even {
			filter.EventTypes = []string{"mark.0"}
		}
		if as >= 0 {
			filter.Client = fmt.Sprint("client-", as)
		}
		for _, p := range positions[of] {
			if p > after && (as < 0 || as == of) && (!even || p%2 == 0) {
				want = append(want, p)
			}
		}
		limit := rapid.IntRange(1, 50).Draw(rt, "limit")
		want = want[:min(limit, len(want))]
		page, err := store.Reader.Page(context.Background(), filter, after, limit)
		if err != nil {
			rt.Fatal(err)
		}
		var got []int64
		for _, e := range page.Events {
			got = append(got, e.Position)
		}
		if !slices.Equal(want, got) {
			rt.Fatalf("as %s after %d, at most %d: %v, want %v", filter.Client, after, limit, got, want)
		}
	})
	for _, after := range []int64{1, events / 2, events - 20, events - 1} {
		if n := visited(t, store, EventFilter{Client: "client-0", AggregateID: &ids[0]}, after, events, 10); n > 50 {
			t.Errorf("a page of 10 events after position %d of %d visits %d rows", after, events, n)
		}
	}
}

// visited gives how many rows the query of a page looks at.
func visited(t testing.TB, store *Store, f EventFilter, after, end int64, limit int) (rows int64) {
	t.Helper()
	text, args := pageQuery(f, after, end, limit)
	err := store.Tenants.read(t.Context(), f.Client, inOrderOfIndex, func(ctx context.Context, q Querier) error {
		const count = `SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'annals.events'::regclass`
		var before int64 // of the session's transactions that the statistics haven't taken in yet
		if err := q.GetContext(ctx, &before, count); err != nil {
			return err
		}
		if _, _, err := readEnvelopes(ctx, q, text, args); err != nil {
			return err
		}
		err := q.GetContext(ctx, &rows, count)
		rows -= before
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
