package eventstore

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/eventstore/pgtest"
)

func total(d Distribution) (n int64) {
	for _, c := range d.Counts {
		n += c
	}
	return n
}

func TestTallyPutsValuesIntoBuckets(t *testing.T) {
	t.Parallel()
	tally := newTally([]int64{1, 10, 100})
	for _, v := range []int64{0, 1, 2, 10, 11, 100, 101, 5000} {
		tally.add(v)
	}
	got := tally.distribution(2)
	want := Distribution{Bounds: []float64{.5, 5, 50}, Counts: []int64{2, 2, 2, 2}, Sum: 5225 * .5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A batch holds what waits when it is taken: here all of it, because the writer starts last.
func TestSequencerCountsBatches(t *testing.T) {
	t.Parallel()
	s, err := newSequencer(t.Context(), SequencerConfig{DSN: pgtest.New(t).DSN})
	if err != nil {
		t.Fatal(err)
	}
	const callers = 10
	waiting := make([]*pending, callers)
	for i := range waiting {
		p := s.pool.get()
		p.req = onStream(freshID(), 0, 3)
		p.wire.encode(&p.req, &p.salts)
		p.deadline = time.Now().Add(s.cfg.Timeout)
		waiting[i] = p
		if err := s.enqueue(p); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Queued; n != callers {
		t.Errorf("%d appends wait, want %d", n, callers)
	}
	go s.run()
	for _, p := range waiting {
		if <-p.done; p.err != nil || p.batch != callers || p.sent.IsZero() {
			t.Errorf("error %v, a batch of %d sent at %v", p.err, p.batch, p.sent)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats := s.Stats()
	if total(stats.Requests) != 1 || stats.Requests.Sum != callers || total(stats.Events) != 1 || stats.Events.Sum != 3*callers {
		t.Errorf("batches %+v, events %+v", stats.Requests, stats.Events)
	}
	if total(stats.Wait) != callers || total(stats.Gather) != 1 || total(stats.Statement) != 1 || stats.Statement.Sum <= 0 ||
		stats.Wait.Sum <= 0 || stats.Queued != 0 {
		t.Errorf("waits %+v, gathering %+v, statements %+v", stats.Wait, stats.Gather, stats.Statement)
	}
}

func TestSequencerCountsWhatGoesWrong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	stream := freshID()
	mustAppend(t, s, onStream(stream, 0, 1))
	if _, err := db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'annals append'`); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, onStream(stream, 1, 1))
	stats := s.Stats()
	if stats.Reconnects != 1 || stats.Failures["unknown"]+stats.Failures["transient"]+stats.Failures["session"] < 1 {
		t.Errorf("counted %d reconnects and the failures %v", stats.Reconnects, stats.Failures)
	}
}

func TestSequencerCountsWhomItRefuses(t *testing.T) {
	t.Parallel()
	s, err := newSequencer(t.Context(), SequencerConfig{DSN: pgtest.New(t).DSN, QueueLimit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for want := range int64(3) { // the first is taken; no writer runs yet
		p := s.pool.get()
		p.req, p.deadline = onStream(freshID(), 0, 1), time.Now().Add(s.cfg.Timeout)
		p.wire.encode(&p.req, &p.salts)
		if err := s.enqueue(p); (err == nil) != (want == 0) || s.Stats().Overloaded != want {
			t.Errorf("error %v, %d counted, want %d", err, s.Stats().Overloaded, want)
		}
	}
	go s.run()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
