package eventstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// queued makes a request as it stands in the queue, without any database.
func queued(req AppendRequest) *pending {
	p := &pending{req: req, done: make(chan struct{}, 1)}
	p.wire.encode(&p.req, &p.salts)
	return p
}

// takeAll takes everything that is ready, in order, and lets it leave the room but not the lines.
func takeAll(q *queue) (taken []*pending) {
	for p := q.next(1 << 30); p != nil; p = q.next(1 << 30) {
		q.leave(p)
		taken = append(taken, p)
	}
	return taken
}

func TestQueueServesClientsInTurn(t *testing.T) {
	t.Parallel()
	q := newQueue(1000, 1<<20)
	for _, client := range strings.Split("aaaaaabbbc", "") {
		if !q.push(queued(ofClient(onStream(freshID(), 0, 1), client))) {
			t.Fatal("no room")
		}
	}
	var order string
	for _, p := range takeAll(q) {
		order += p.req.Client
	}
	if order != "abcababaaa" {
		t.Errorf("served in the order %s", order)
	}
	if q.count != 0 || q.bytes != 0 || q.readyCount != 0 || len(q.clients) != 0 || q.oldest != nil || q.newest != nil {
		t.Errorf("the empty queue remembers %+v", q)
	}
}

func TestQueueBounds(t *testing.T) {
	t.Parallel()
	small := func(client string) *pending { return queued(ofClient(onStream(freshID(), 0, 1), client)) }
	size := small("a").wire.size()
	for _, c := range []struct {
		name     string
		count    int
		bytes    int
		clients  string
		admitted string
	}{
		{"a client gets a quarter", 8, 1 << 20, "aaabbbc", "aabbc"},
		{"all get the whole", 8, 1 << 20, "aabbccdde", "aabbccdd"},
		{"a client gets a quarter of the memory", 1000, 8*size + 8, "aaabbbc", "aabbc"},
		{"all get all the memory", 1000, 8*size + 8, "aabbccdde", "aabbccdd"},
		{"one that is larger than a share goes alone", 1000, size, "aab", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := newQueue(c.count, c.bytes)
			var admitted string
			for _, client := range strings.Split(c.clients, "") {
				if q.push(small(client)) {
					admitted += client
				}
			}
			if admitted != c.admitted {
				t.Errorf("admitted %s, want %s", admitted, c.admitted)
			}
		})
	}
}

// TestQueueKeepsLines: what shares a stream, a claim or a key waits for what came before, and nothing else does.
func TestQueueKeepsLines(t *testing.T) {
	t.Parallel()
	a, b, c := freshID(), freshID(), freshID()
	q := newQueue(1000, 1<<20)
	requests := map[string]AppendRequest{
		"1 on a":           onStream(a, 0, 1),
		"2 on a and b":     reading(onStream(a, 1, 1), b, 0),
		"3 on b":           onStream(b, 0, 1),
		"4 on c":           withClaim(onStream(c, 0, 1), "x", c),
		"5 with c's claim": withRelease(AppendRequest{Client: "acme"}, "x", a),
		"6 with a key":     withKey(onStream(freshID(), 0, 1), "k", "f", `{}`),
		"7 with the key":   withKey(onStream(freshID(), 0, 1), "k", "f", `{}`),
		"8 other's key":    ofClient(withKey(onStream(freshID(), 0, 1), "k", "f", `{}`), "other"),
	}
	names := map[*pending]string{}
	var order []string
	for name := range requests {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		p := queued(requests[name])
		names[p] = name
		q.push(p)
	}
	var batches [][]string
	for batch := takeAll(q); len(batch) > 0; batch = takeAll(q) {
		var got []string
		for _, p := range batch {
			got = append(got, names[p])
			q.release(p, q.makeReady)
		}
		slices.Sort(got)
		batches = append(batches, got)
	}
	want := [][]string{
		{"1 on a", "4 on c", "6 with a key", "8 other's key"},
		{"2 on a and b", "5 with c's claim", "7 with the key"},
		{"3 on b"},
	}
	if diff := cmp.Diff(want, batches); diff != "" {
		t.Error("batches (-want +got):\n", diff)
	}
	if len(q.last) != 0 {
		t.Errorf("%d lines are left", len(q.last))
	}
}

func TestKnownVersions(t *testing.T) {
	t.Parallel()
	a, b := freshID(), freshID()
	ours := onStream(a, 4, 2)
	for _, c := range []struct {
		name string
		know func(*versionMemory)
		req  AppendRequest
		want map[domain.ID]int64
	}{
		{"nothing known", func(*versionMemory) {}, onStream(a, 0, 1), nil},
		{"another's event in the place", func(m *versionMemory) { m.appended(&ours) }, onStream(a, 4, 1),
			map[domain.ID]int64{a: 6}},
		{"the second of several in the place", func(m *versionMemory) { m.appended(&ours) }, onStream(a, 5, 1),
			map[domain.ID]int64{a: 6}},
		{"its own events", func(m *versionMemory) { m.appended(&ours) }, ours, nil},
		{"up to date", func(m *versionMemory) { m.appended(&ours) }, onStream(a, 6, 1), nil},
		{"too far back to know whose event is there", func(m *versionMemory) { m.appended(&ours) }, onStream(a, 2, 1), nil},
		{"the version is known but not the events", func(m *versionMemory) { m.reached(a, 9) }, onStream(a, 8, 1), nil},
		{"only read", func(m *versionMemory) { m.reached(a, 9) }, reading(AppendRequest{Client: "acme"}, a, 8),
			map[domain.ID]int64{a: 9}},
		{"read one, write another", func(m *versionMemory) { m.reached(a, 9) }, reading(onStream(b, 0, 1), a, 8), nil},
		{"a gap in what is known", func(m *versionMemory) {
			m.appended(&ours)
			later := onStream(a, 8, 1)
			m.appended(&later)
		}, onStream(a, 5, 1), nil},
		{"a lower version never replaces a higher", func(m *versionMemory) {
			m.appended(&ours)
			m.reached(a, 5)
		}, onStream(a, 5, 1), map[domain.ID]int64{a: 6}},
		{"forgotten", func(m *versionMemory) {
			m.appended(&ours)
			for range 4 {
				r := onStream(freshID(), 0, 1)
				m.appended(&r)
			}
		}, onStream(a, 4, 1), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newVersionMemory(2)
			c.know(m)
			var got map[domain.ID]int64
			if conflict := m.stale(&c.req); conflict != nil {
				got = conflict.Versions
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("(-want +got):\n", diff)
			}
		})
	}
}

// holdLock takes the append lock, so that a batch waits in the database until release is called.
func holdLock(t *testing.T, db *pgtest.DB) (release func()) {
	t.Helper()
	conn, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), `SELECT pg_advisory_lock(4703919738795935564)`); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		conn.ExecContext(context.Background(), `SELECT pg_advisory_unlock_all()`)
		conn.Close()
	})
}

func patient(c *SequencerConfig) { c.LockTimeout, c.StatementTimeout = 10*time.Minute, 10*time.Minute }

func TestOverloadAndAbandonedCallers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN, patient, func(c *SequencerConfig) { c.QueueLimit = 8 })
	release := holdLock(t, db)
	defer release()
	results := make(chan error, 10)
	ctx, giveUp := context.WithCancel(t.Context())
	send := func(ctx context.Context) {
		go func() {
			_, err := s.Append(ctx, onStream(freshID(), 0, 1))
			results <- err
		}()
	}
	send(ctx) // in flight: ctx no longer ends it
	awaitBlocked(t, db, s.link.backend.pid)
	send(ctx)
	send(ctx)
	awaitQueued(t, s, 2)
	if _, err := s.Append(t.Context(), onStream(freshID(), 0, 1)); !errors.Is(err, ErrOverloaded) {
		t.Error("a client's third: ", describe(err))
	}
	giveUp()
	for range 2 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Error("abandoned: ", describe(err))
		}
	}
	send(t.Context()) // there is room again
	awaitQueued(t, s, 1)
	// But not without end: those who come and go take places.
	refused := 0
	for range 3 * 8 {
		ctx, giveUp := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := s.Append(ctx, onStream(freshID(), 0, 1))
		giveUp()
		if errors.Is(err, ErrOverloaded) {
			refused++
		}
	}
	if refused != 3*8-(2*8-2-1) { // two had given up before, and one waits
		t.Errorf("%d of those who came and went were refused", refused)
	}
	release()
	for range 2 {
		if err := <-results; err != nil {
			t.Error(describe(err))
		}
	}
	checkDense(t, db, 2)
}

func TestCloseDrains(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN, patient)
	release := holdLock(t, db)
	defer release()
	var wg sync.WaitGroup
	const callers = 10
	for i := range callers {
		wg.Go(func() {
			if _, err := s.Append(t.Context(), onStream(freshID(), 0, 1)); err != nil {
				t.Error(describe(err))
			}
		})
		if i == 0 { // alone in its batch
			awaitBlocked(t, db, s.link.backend.pid)
		}
	}
	awaitQueued(t, s, callers-1)
	closed := make(chan error)
	go func() { closed <- s.Close(context.Background()) }()
	pgtest.Eventually(t, "the sequencer closes", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.closing })
	if _, err := s.Append(t.Context(), onStream(freshID(), 0, 1)); !errors.Is(err, ErrClosed) {
		t.Error("after Close: ", describe(err))
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	wg.Wait()
	checkDense(t, db, callers)
	if err := s.Close(t.Context()); err != nil {
		t.Error("the second Close: ", err)
	}
}

func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN, patient)
	release := holdLock(t, db)
	defer release()
	results := make(chan error, 2)
	send := func() {
		_, err := s.Append(t.Context(), onStream(freshID(), 0, 1))
		results <- err
	}
	go send()
	awaitBlocked(t, db, s.link.backend.pid)
	go send()
	awaitQueued(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Error(describe(err))
	}
	got := []error{<-results, <-results}
	if !(errors.Is(got[0], ErrOutcomeUnknown) && errors.Is(got[1], ErrClosed) ||
		errors.Is(got[1], ErrOutcomeUnknown) && errors.Is(got[0], ErrClosed)) {
		t.Errorf("the one sent and the one waiting: %v", got)
	}
}

// TestRefusedBatchIsBisected lets the database refuse one event of many, which no check at the door foresees.
func TestRefusedBatchIsBisected(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.MustExec(`ALTER TABLE annals.events ADD CONSTRAINT test CHECK (event_type <> 'product.bad')`)
	s := openSequencer(t, db.DSN, patient)
	release := holdLock(t, db)
	defer release()
	var wg sync.WaitGroup
	const callers = 33
	for i := range callers {
		wg.Go(func() {
			req := onStream(freshID(), 0, 2)
			if i%16 == 3 {
				req.Events[1].EventType = "product.bad"
			}
			if _, err := s.Append(t.Context(), req); errors.Is(err, ErrInvalidAppend) != (i%16 == 3) {
				t.Errorf("request %d: %v", i, describe(err))
			}
		})
		if i == 0 { // alone in its batch
			awaitBlocked(t, db, s.link.backend.pid)
		}
	}
	awaitQueued(t, s, callers-1)
	release()
	wg.Wait()
	checkDense(t, db, 2*(callers-2))
}
