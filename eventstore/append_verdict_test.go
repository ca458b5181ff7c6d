package eventstore

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// verdictCase appends given, then when, and expects an outcome. Each stands for one rule of append_v2.
type verdictCase struct {
	name  string
	given []AppendRequest
	when  AppendRequest
	want  AppendOutcome
	err   error
}

func withKey(r AppendRequest, key, fingerprint, result string) AppendRequest {
	r.Idempotency = &Idempotency{Scope: "http", Key: key, Fingerprint: []byte(fingerprint), Result: []byte(result)}
	return r
}

func withClaim(r AppendRequest, value string, owner domain.ID) AppendRequest {
	r.Claims = append(r.Claims, ClaimChange{Kind: "product.sku", Value: value, Owner: owner})
	return r
}

func withRelease(r AppendRequest, value string, owner domain.ID) AppendRequest {
	r.Releases = append(r.Releases, ClaimChange{Kind: "product.sku", Value: value, Owner: owner})
	return r
}

func reading(r AppendRequest, stream domain.ID, version int64) AppendRequest {
	r.Streams = append(r.Streams, StreamExpectation{AggregateID: stream, Expected: version})
	return r
}

func ofClient(r AppendRequest, client string) AppendRequest {
	r.Client = client
	return r
}

func verdictCases() []verdictCase {
	a, b := freshID(), freshID()
	first, two, keyed := onStream(a, 0, 1), onStream(a, 0, 2), withKey(onStream(a, 0, 2), "k", "f", `{"n": 1}`)
	noop := withKey(AppendRequest{Client: "acme"}, "k", "f", `{ "noop":true}`)
	conflict := func(id domain.ID, v int64) error { return &ConflictError{Versions: map[domain.ID]int64{id: v}} }
	return []verdictCase{
		{name: "one event", when: first, want: AppendOutcome{Head: 1, FirstPosition: 1}},
		{name: "several events", given: []AppendRequest{first}, when: onStream(a, 1, 3),
			want: AppendOutcome{Head: 4, FirstPosition: 2}},
		{name: "the same event again", given: []AppendRequest{first}, when: first,
			want: AppendOutcome{Head: 1, FirstPosition: 1}},
		{name: "the same events again, and others since", given: []AppendRequest{two, onStream(a, 2, 1)}, when: two,
			want: AppendOutcome{Head: 3, FirstPosition: 1}},
		{name: "conflict on one event", given: []AppendRequest{first}, when: onStream(a, 0, 1), err: conflict(a, 1)},
		{name: "conflict on several", given: []AppendRequest{first}, when: onStream(a, 0, 2), err: conflict(a, 1)},
		{name: "expectation above the stream", when: onStream(a, 3, 1), err: conflict(a, 0)},
		{name: "a stream only read has moved", given: []AppendRequest{first}, when: reading(onStream(b, 0, 1), a, 0),
			err: conflict(a, 1)},
		{name: "a stream only read is where expected", given: []AppendRequest{first},
			when: reading(onStream(b, 0, 1), a, 1), want: AppendOutcome{Head: 2, FirstPosition: 2}},
		{name: "only expectations, met", given: []AppendRequest{first},
			when: reading(AppendRequest{Client: "acme"}, a, 1), want: AppendOutcome{Head: 1}},
		{name: "only expectations, not met", given: []AppendRequest{first},
			when: reading(AppendRequest{Client: "acme"}, a, 0), err: conflict(a, 1)},
		{name: "a stream of another client, one event", given: []AppendRequest{first},
			when: ofClient(onStream(a, 1, 1), "other"), err: conflict(a, 1)},
		{name: "a stream of another client, several events", given: []AppendRequest{first},
			when: ofClient(onStream(a, 1, 2), "other"), err: conflict(a, 1)},
		{name: "a key is kept", given: []AppendRequest{keyed}, when: withKey(onStream(a, 2, 1), "k", "f", `{}`),
			want: AppendOutcome{Head: 2, FirstPosition: 1, Replayed: true, Result: []byte(`{"n": 1}`)}},
		{name: "the same append with its key again", given: []AppendRequest{keyed}, when: keyed,
			want: AppendOutcome{Head: 2, FirstPosition: 1}},
		{name: "a key with another fingerprint", given: []AppendRequest{keyed},
			when: withKey(onStream(b, 0, 1), "k", "g", `{}`), err: ErrKeyReused},
		{name: "another client's key", given: []AppendRequest{keyed},
			when: ofClient(withKey(onStream(b, 0, 1), "k", "g", `{}`), "other"), want: AppendOutcome{Head: 3, FirstPosition: 3}},
		{name: "a key without events", given: []AppendRequest{noop}, when: withKey(onStream(a, 0, 1), "k", "f", `{}`),
			want: AppendOutcome{Head: 0, Replayed: true, Result: []byte(`{ "noop":true}`)}},
		{name: "a refused append keeps no key", given: []AppendRequest{first, withKey(onStream(a, 0, 1), "k", "f", `{}`)},
			when: withKey(onStream(a, 1, 1), "k", "g", `{}`), want: AppendOutcome{Head: 2, FirstPosition: 2}},
		{name: "a claim is taken", given: []AppendRequest{withClaim(first, "x", a)},
			when: withClaim(withClaim(onStream(b, 0, 1), "y", b), "x", b), err: &ClaimTakenError{Index: 1}},
		{name: "a refused append takes no claim",
			given: []AppendRequest{withClaim(first, "x", a), withClaim(withClaim(onStream(b, 0, 1), "y", b), "x", b)},
			when:  withClaim(onStream(a, 1, 1), "y", a), want: AppendOutcome{Head: 2, FirstPosition: 2}},
		{name: "a claim of the same stream again", given: []AppendRequest{withClaim(first, "x", a)},
			when: withClaim(onStream(a, 1, 1), "x", a), want: AppendOutcome{Head: 2, FirstPosition: 2}},
		{name: "another client's claim", given: []AppendRequest{withClaim(first, "x", a)},
			when: ofClient(withClaim(onStream(b, 0, 1), "x", b), "other"), want: AppendOutcome{Head: 2, FirstPosition: 2}},
		{name: "a released claim is free",
			given: []AppendRequest{withClaim(first, "x", a), withRelease(onStream(a, 1, 1), "x", a)},
			when:  withClaim(onStream(b, 0, 1), "x", b), want: AppendOutcome{Head: 3, FirstPosition: 3}},
		{name: "only the owner releases",
			given: []AppendRequest{withClaim(first, "x", a), withRelease(onStream(b, 0, 1), "x", b)},
			when:  withClaim(onStream(b, 1, 1), "x", b), err: &ClaimTakenError{Index: 0}},
		{name: "released and taken at once", given: []AppendRequest{withClaim(first, "x", a)},
			when: withClaim(withRelease(reading(onStream(b, 0, 1), a, 1), "x", a), "x", b),
			want: AppendOutcome{Head: 2, FirstPosition: 2}},
		{name: "a refused append releases nothing",
			given: []AppendRequest{withClaim(withClaim(onStream(a, 0, 1), "x", a), "z", a),
				withClaim(onStream(b, 0, 1), "y", b), withClaim(withRelease(onStream(a, 1, 1), "x", a), "y", a)},
			when: withClaim(onStream(b, 1, 1), "x", b), err: &ClaimTakenError{Index: 0}},
		{name: "one value for two owners in one request",
			when: withClaim(withClaim(reading(onStream(a, 0, 1), b, 0), "x", a), "x", b), err: &ClaimTakenError{Index: 1}},
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range verdictCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s := openSequencer(t, db.DSN)
			for _, r := range c.given {
				s.Append(t.Context(), r) // some are refused on purpose: what follows shows that they left nothing
			}
			// A node that has just started asks the database; one that wrote what was given may know the answer.
			for _, node := range []*Sequencer{openSequencer(t, db.DSN), s} {
				outcome, err := node.Append(t.Context(), c.when)
				if err == nil && node == s {
					break // committed through the first node: this would be its repetition
				}
				if !sameError(err, c.err) {
					t.Fatalf("error %v, want %v", describe(err), describe(c.err))
				}
				if diff := cmp.Diff(c.want, outcome); diff != "" {
					t.Fatal("outcome (-want +got):\n", diff)
				}
			}
		})
	}
}

// sameError compares typed errors by their fields, others by identity.
func sameError(got, want error) bool {
	switch want := want.(type) {
	case *ConflictError:
		got, ok := errors.AsType[*ConflictError](got)
		return ok && cmp.Equal(got, want)
	case *ClaimTakenError:
		got, ok := errors.AsType[*ClaimTakenError](got)
		return ok && cmp.Equal(got, want)
	}
	return errors.Is(got, want)
}

func TestRefusedAppendLeavesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	a, b := freshID(), freshID()
	mustAppend(t, s, withClaim(onStream(a, 0, 1), "x", a))
	_, err := s.Append(t.Context(), withKey(withClaim(withRelease(onStream(b, 0, 2), "w", b), "x", b), "k", "f", `{}`))
	if _, ok := errors.AsType[*ClaimTakenError](err); !ok {
		t.Fatal(describe(err))
	}
	checkDense(t, db, 1)
	var keys, claims int
	db.Get(&keys, `SELECT count(*) FROM annals.idempotency_keys`)
	db.Get(&claims, `SELECT count(*) FROM annals.unique_claims`)
	if keys != 0 || claims != 1 {
		t.Errorf("%d keys and %d claims, want 0 and 1", keys, claims)
	}
}

// TestStoredAsSent guards the wire encoding: every column of a stored event is what was handed in.
func TestStoredAsSent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	for _, count := range []int{1, 2} { // the path of one event and that of a batch
		stream := freshID()
		req := onStream(stream, 0, count)
		mustAppend(t, s, req)
		for i, want := range req.Events {
			var got struct {
				EventID, AggregateID, Occurred, Client   string
				EventType, AggregateType, Actor          string
				Correlation, Causation, Request, Data, M string
				Salt, MetadataSalt                       []byte
				Schema                                   int
				Leaf                                     int
				Late                                     bool
			}
			if err := db.Get(&got, `SELECT event_id::text AS eventid, aggregate_id::text AS aggregateid,
				to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred, client_id AS client,
				event_type AS eventtype, aggregate_type AS aggregatetype, actor_id AS actor, correlation_id AS correlation,
				causation_id AS causation, request_id AS request, data::text AS data, metadata::text AS m,
				data_salt AS salt, metadata_salt AS metadatasalt, schema_version AS schema, leaf_version AS leaf,
				recorded_at BETWEEN now() - interval '1 minute' AND now() AS late
				FROM annals.events WHERE aggregate_id = $1 AND aggregate_version = $2`, stream[:], i+1); err != nil {
				t.Fatal(err)
			}
			if got.EventID != want.EventID.String() || got.AggregateID != stream.String() ||
				got.Occurred != "2026-01-02T03:04:05.678901Z" || got.Client != "acme" || got.EventType != want.EventType ||
				got.AggregateType != want.AggregateType || got.Actor != want.ActorID || got.Correlation != "c" ||
				got.Causation != "d" || got.Request != "r" || got.Data != string(want.Data) ||
				got.M != string(want.Metadata) || got.Schema != 1 || got.Leaf != 1 || !got.Late {
				t.Errorf("stored %+v of %+v", got, want)
			}
			if len(got.Salt) != saltBytes || len(got.MetadataSalt) != saltBytes || string(got.Salt) == string(got.MetadataSalt) {
				t.Errorf("salts %x and %x", got.Salt, got.MetadataSalt)
			}
		}
	}
}
