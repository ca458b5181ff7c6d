package eventstore

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/eventstore/pgtest"
)

func requestsOf(counts ...int) []tailRequest {
	var requests []tailRequest
	for _, n := range counts {
		r := onStream(freshID(), 0, n)
		requests = append(requests, tailRequest{&r, make([]byte, 2*saltBytes*n)})
	}
	return requests
}

func positionsAfter(t *Tail, position int64, limit int) string {
	text := ""
	for _, e := range t.After(position, limit) {
		text += fmt.Sprintf("%d/%d ", e.Position, e.Batch)
	}
	return text
}

func TestTailHoldsWhatFollowsWithoutAGap(t *testing.T) {
	t.Parallel()
	tail := NewTail(5, 1<<20)
	check := func(what string, position int64, limit int, want string) {
		t.Helper()
		if got := positionsAfter(tail, position, limit); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("empty", 0, 9, "")
	tail.add(7, requestsOf(1, 2))
	check("from the first", 6, 9, "7/7 8/7 9/7 ")
	check("from the middle", 7, 9, "8/7 9/7 ")
	check("a limit", 6, 2, "7/7 8/7 ")
	check("from before", 5, 9, "")
	check("from the end", 9, 9, "")
	check("from beyond", 12, 9, "")
	tail.add(10, requestsOf(3))
	check("the oldest make room", 6, 9, "")
	check("what is left", 7, 9, "8/7 9/7 10/10 11/10 12/10 ")
	tail.add(14, requestsOf(1))
	check("others wrote in between", 12, 9, "")
	check("after them", 13, 9, "14/14 ")
	tail.forget()
	check("forgotten", 13, 9, "")
	tail.add(15, requestsOf(1))
	check("begun again", 14, 9, "15/15 ")
}

func TestTailIsBoundedAndKeepsCopies(t *testing.T) {
	t.Parallel()
	requests := requestsOf(3)
	size := 0
	for _, e := range requests[0].Events {
		size += len(e.Data) + len(e.Metadata) + 2*saltBytes
	}
	tail := NewTail(100, size)
	tail.add(1, requests)
	want, salts := string(requests[0].Events[0].Data), string(requests[0].salts[:saltBytes])
	clear(requests[0].Events[0].Data) // the caller's memory, used again
	requests[0].salts[0] = 1
	if got := tail.After(0, 1)[0]; string(got.Data) != want || string(got.DataSalt) != salts {
		t.Errorf("the data became %q, its salt %x", got.Data, got.DataSalt)
	}
	tail.add(4, requestsOf(1))
	if got := positionsAfter(tail, 1, 9); got != "2/1 3/1 4/4 " || tail.bytes > size || len(tail.After(0, 9)) > 0 {
		t.Errorf("%q in %d bytes, of at most %d", got, tail.bytes, size)
	}
	large := requestsOf(1)
	large[0].Events[0].Data = make([]byte, size+1)
	tail.add(5, large)
	if got := positionsAfter(tail, 4, 9); got != "" || tail.bytes != 0 {
		t.Errorf("%q in %d bytes", got, tail.bytes)
	}
}

// TestTailIsTheLog writes from two nodes, with conflicts and lost answers, and compares what the tail gives at every step
// with the log.
func TestTailIsTheLog(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	d := &lossyDial{}
	s, other := openSequencer(t, db.DSN, lossy(d)), openSequencer(t, db.DSN)
	var served, mu = 0, sync.Mutex{}
	compare := func(position int64) {
		events := s.Tail().After(position, 100)
		mu.Lock()
		served += len(events)
		mu.Unlock()
		for i, e := range events {
			if e.Position != position+int64(i)+1 {
				t.Errorf("position %d is number %d after %d", e.Position, i, position)
			}
			want := e.Envelope
			row := db.QueryRowx(`SELECT event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
				client_id, actor_id, occurred_at, correlation_id, causation_id, request_id, data, metadata, data_salt, metadata_salt
				FROM annals.events WHERE position = $1`, e.Position)
			got := Envelope{Position: e.Position}
			var id, stream, dataSalt, metadataSalt []byte
			if err := row.Scan(&id, &got.EventType, &got.SchemaVersion, &got.AggregateType, &stream,
				&got.AggregateVersion, &got.ClientID, &got.ActorID, &got.OccurredAt, &got.CorrelationID, &got.CausationID,
				&got.RequestID, &got.Data, &got.Metadata, &dataSalt, &metadataSalt); err != nil {
				t.Errorf("position %d of the tail isn't in the log: %v", e.Position, err)
				continue
			}
			got.OccurredAt = got.OccurredAt.UTC()
			_, _ = got.EventID.UnmarshalText(id), got.AggregateID.UnmarshalText(stream)
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("position %d, log and tail: %s", e.Position, diff)
			}
			if !bytes.Equal(dataSalt, e.DataSalt) || !bytes.Equal(metadataSalt, e.MetadataSalt) || len(dataSalt) != saltBytes {
				t.Errorf("position %d has the salts %x and %x, in the tail %x and %x", e.Position, dataSalt, metadataSalt, e.DataSalt, e.MetadataSalt)
			}
		}
	}
	var wg sync.WaitGroup
	shared := freshID()
	for caller := range 8 {
		wg.Go(func() {
			stream := freshID()
			for v := range int64(10) {
				if caller == 0 && v%4 == 1 {
					d.armed.CompareAndSwap(0, 1)
				}
				out, err := s.Append(t.Context(), onStream(stream, v, 1))
				if err != nil {
					t.Error(describe(err))
					return
				}
				_, _ = s.Append(t.Context(), onStream(shared, v, 2)) // one of the callers wins
				compare(out.FirstPosition - 1)
			}
		})
	}
	wg.Go(func() {
		stream := freshID()
		for v := range int64(5) {
			mustAppend(t, other, onStream(stream, v, 1))
		}
	})
	wg.Wait()
	for position := range s.KnownHead() {
		compare(position)
	}
	if served == 0 || d.lost.Load() == 0 {
		t.Errorf("%d events were served and %d answers lost: the test tests nothing", served, d.lost.Load())
	}
}

// What was written before the connection was lost isn't vouched for by the next one.
func TestTailEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	d := &lossyDial{}
	s := openSequencer(t, db.DSN, lossy(d))
	mustAppend(t, s, onStream(freshID(), 0, 2))
	if got := positionsAfter(s.Tail(), 0, 9); got != "1/1 2/1 " {
		t.Fatalf("%q", got)
	}
	d.armed.Store(1)
	mustAppend(t, s, onStream(freshID(), 0, 1))
	if got := positionsAfter(s.Tail(), 0, 9) + positionsAfter(s.Tail(), 2, 9); got != "" || d.lost.Load() != 1 {
		t.Errorf("%q after %d lost answers", got, d.lost.Load())
	}
	mustAppend(t, s, onStream(freshID(), 0, 1))
	if got := positionsAfter(s.Tail(), 3, 9); got != "4/4 " {
		t.Errorf("%q", got)
	}
}
