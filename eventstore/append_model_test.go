package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// logModel is append_v2 in a few maps: what the function promises, without how.
type logModel struct {
	head     int64
	versions map[domain.ID]int64
	owners   map[domain.ID]string // the client of each stream
	places   map[place]placed
	claims   map[claimKey]domain.ID
	keys     map[keyKey]keyEntry
}

type place struct {
	stream  domain.ID
	version int64
}

type placed struct {
	event    domain.ID
	position int64
}

type claimKey struct{ client, kind, value string }

type keyKey struct{ client, scope, key string }

type keyEntry struct {
	fingerprint, result []byte
	first               int64
	event               domain.ID
}

func newLogModel(head int64) *logModel {
	return &logModel{
		head: head, versions: map[domain.ID]int64{}, owners: map[domain.ID]string{}, places: map[place]placed{},
		claims: map[claimKey]domain.ID{}, keys: map[keyKey]keyEntry{},
	}
}

// append applies a request. Its Head is the one after this request, not after the batch.
func (m *logModel) append(r AppendRequest) (AppendOutcome, error) {
	if k := r.Idempotency; k != nil {
		if e, ok := m.keys[keyKey{r.Client, k.Scope, k.Key}]; ok {
			switch {
			case len(r.Events) > 0 && e.event == r.Events[0].EventID:
				return AppendOutcome{Head: m.head, FirstPosition: e.first}, nil
			case bytes.Equal(e.fingerprint, k.Fingerprint):
				return AppendOutcome{Head: m.head, FirstPosition: e.first, Replayed: true, Result: e.result}, nil
			}
			return AppendOutcome{}, ErrKeyReused
		}
	}
	if moved := m.moved(r); len(moved) > 0 {
		for _, e := range r.Events {
			if at, ok := m.places[place{e.AggregateID, e.AggregateVersion}]; ok && at.event == e.EventID {
				return AppendOutcome{Head: m.head, FirstPosition: at.position}, nil
			}
		}
		return AppendOutcome{}, &ConflictError{Versions: moved}
	}
	claims := maps.Clone(m.claims)
	for _, c := range r.Releases {
		if k := (claimKey{r.Client, c.Kind, c.Value}); claims[k] == c.Owner {
			delete(claims, k)
		}
	}
	for i, c := range r.Claims {
		k := claimKey{r.Client, c.Kind, c.Value}
		if owner, ok := claims[k]; ok && owner != c.Owner {
			return AppendOutcome{}, &ClaimTakenError{Index: i}
		}
		claims[k] = c.Owner
	}
	m.claims = claims
	return m.write(r), nil
}

func (m *logModel) moved(r AppendRequest) map[domain.ID]int64 {
	moved := map[domain.ID]int64{}
	for _, s := range r.Streams {
		if v := m.versions[s.AggregateID]; v != s.Expected || v > 0 && m.owners[s.AggregateID] != r.Client {
			moved[s.AggregateID] = v
		}
	}
	return moved
}

func (m *logModel) write(r AppendRequest) AppendOutcome {
	out := AppendOutcome{}
	entry := keyEntry{}
	if len(r.Events) > 0 {
		out.FirstPosition = m.head + 1
		entry.event = r.Events[0].EventID
	}
	for _, e := range r.Events {
		m.head++
		m.versions[e.AggregateID] = e.AggregateVersion
		m.owners[e.AggregateID] = r.Client
		m.places[place{e.AggregateID, e.AggregateVersion}] = placed{e.EventID, m.head}
	}
	if k := r.Idempotency; k != nil {
		entry.fingerprint, entry.result, entry.first = k.Fingerprint, k.Result, out.FirstPosition
		m.keys[keyKey{r.Client, k.Scope, k.Key}] = entry
	}
	out.Head = m.head
	return out
}

// modelWorld is the little world requests are drawn from: few streams, values and keys, so that they collide.
type modelWorld struct {
	model   *logModel
	clients []string
	streams []domain.ID
	sent    []AppendRequest
}

func newModelWorld(head int64) *modelWorld {
	run := freshID().String()
	return &modelWorld{
		model: newLogModel(head), clients: []string{"a-" + run, "b-" + run},
		streams: []domain.ID{freshID(), freshID(), freshID(), freshID()},
	}
}

func (w *modelWorld) draw(t *rapid.T) AppendRequest {
	if len(w.sent) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
		return rapid.SampledFrom(w.sent).Draw(t, "request")
	}
	r := AppendRequest{Client: rapid.SampledFrom(w.clients).Draw(t, "client")}
	count := rapid.IntRange(0, 3).Draw(t, "streams")
	for _, id := range rapid.Permutation(w.streams).Draw(t, "order")[:count] {
		version := w.model.versions[id]
		if rapid.IntRange(0, 3).Draw(t, "off") == 0 {
			version = max(0, version+int64(rapid.IntRange(-2, 1).Draw(t, "by")))
		}
		r.Streams = append(r.Streams, StreamExpectation{AggregateID: id, Expected: version})
		r.Events = append(r.Events, eventsOn(id, version, rapid.IntRange(0, 2).Draw(t, "events"))...)
	}
	change := rapid.Custom(func(t *rapid.T) ClaimChange {
		return ClaimChange{
			Kind: "product.sku", Value: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "value"),
			Owner: rapid.SampledFrom(w.streams).Draw(t, "owner"),
		}
	})
	r.Releases = rapid.SliceOfN(change, 0, 1).Draw(t, "releases")
	r.Claims = rapid.SliceOfN(change, 0, 2).Draw(t, "claims")
	if rapid.Bool().Draw(t, "keyed") || len(r.Streams)+len(r.Releases)+len(r.Claims) == 0 {
		r.Idempotency = &Idempotency{
			Scope: "http", Key: rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "key"),
			Fingerprint: []byte{byte(rapid.IntRange(0, 1).Draw(t, "fingerprint"))},
			Result:      []byte(fmt.Sprintf(`{ "n":  %d }`, rapid.IntRange(0, 9).Draw(t, "n"))),
		}
	}
	return r
}

// TestAppendFollowsTheModel sends batches of independent requests to the database and compares every verdict, and in the
// end the claims, with the model.
func TestAppendFollowsTheModel(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s, err := newSequencer(t.Context(), SequencerConfig{DSN: db.DSN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.closing = true
		s.run()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		w := newModelWorld(s.KnownHead())
		t.Repeat(map[string]func(*rapid.T){
			"batch": func(t *rapid.T) {
				var waiting []*pending
				for range rapid.IntRange(1, 5).Draw(t, "size") {
					req := w.draw(t)
					p := &pending{req: req, done: make(chan struct{}, 1), deadline: time.Now().Add(time.Minute)}
					if err := req.Check(); err != nil {
						t.Fatal(err)
					}
					p.wire.encode(&p.req, &p.salts)
					s.versions.clear() // ask the database, always
					if err := s.enqueue(p); err != nil {
						t.Fatal(err)
					}
					waiting = append(waiting, p)
				}
				for s.queue.readyCount > 0 {
					s.versions.clear()
					batch := slices.Clone(s.take())
					heads := make([]AppendOutcome, len(batch))
					wants := make([]error, len(batch))
					for i, p := range batch {
						heads[i], wants[i] = w.model.append(p.req)
					}
					s.commit(batch)
					s.settle()
					for i, p := range batch {
						<-p.done
						if wants[i] == nil {
							heads[i].Head = w.model.head
						}
						compareOutcome(t, p, heads[i], wants[i])
					}
				}
				for _, p := range waiting {
					w.sent = append(w.sent, p.req)
				}
			},
		})
		for k, owner := range w.model.claims {
			var got domain.ID
			if err := db.QueryRow(`SELECT uuid_send(owner_id) FROM annals.unique_claims
				WHERE client_id = $1 AND kind = $2 AND value = $3`, k.client, k.kind, k.value).Scan((*rawID)(&got)); err != nil {
				t.Fatal(err)
			}
			if got != owner {
				t.Fatalf("the claim of %s is %s's, want %s", k.value, got, owner)
			}
		}
		var n int
		if err := db.Get(&n, `SELECT count(*) FROM annals.unique_claims WHERE client_id IN ($1, $2)`,
			w.clients[0], w.clients[1]); err != nil {
			t.Fatal(err)
		}
		if n != len(w.model.claims) {
			t.Fatalf("%d claims, want %d", n, len(w.model.claims))
		}
	})
	checkDense(t, db, s.KnownHead())
}

// rawID scans the 16 bytes of a uuid.
type rawID domain.ID

func (id *rawID) Scan(v any) error {
	if copy(id[:], v.([]byte)) != len(id) {
		return errors.New("not 16 bytes")
	}
	return nil
}

func compareOutcome(t *rapid.T, p *pending, want AppendOutcome, wantErr error) {
	t.Helper()
	if diff := cmp.Diff(wantErr, p.err, cmp.Comparer(func(a, b error) bool {
		return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b)
	})); diff != "" {
		t.Fatalf("request %+v (-want +got):\n%s", p.req, diff)
	}
	if diff := cmp.Diff(want, p.outcome); diff != "" {
		t.Fatalf("request %+v (-want +got):\n%s", p.req, diff)
	}
}
