package eventstore

import (
	"testing"

	"annals/eventstore/pgtest"
)

// TestTheReleaseBeforeAppends: a server of the release before goes on with append_v1 and append_one_v1 beside a newer one,
// in the same dense log.
func TestTheReleaseBeforeAppends(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	stream := freshID()
	mustAppend(t, s, onStream(stream, 0, 2))
	const event = `ROW(0, gen_random_uuid(), $1::uuid, $2::bigint, now(), 1, 'product.renamed', 'product', 'acme', 'someone', 'c',
		'c', 'c', '{}', '{}', '\x00', '\x00')::annals.append_event_v1`
	for i, statement := range []string{
		`SELECT head, verdicts IS NULL FROM annals.append_v1(2, ARRAY[ROW(0, $1::uuid, 'acme', $2::bigint - 1)::annals.append_stream_v1],
			ARRAY[` + event + `], '{}', '{}', '{}')`,
		`SELECT head, verdicts IS NULL FROM annals.append_one_v1(3, ` + event + `)`,
	} {
		var head int64
		var won bool
		version := int64(3 + i)
		if err := db.QueryRow(statement, stream.String(), version).Scan(&head, &won); err != nil {
			t.Fatal(err)
		}
		if head != version || !won {
			t.Errorf("at version %d: head %d, won %v", version, head, won)
		}
	}
	if got := mustAppend(t, s, onStream(stream, 4, 1)); got.Head != 5 {
		t.Errorf("the newer server's head is %d", got.Head)
	}
	checkDense(t, db, 5)
}
