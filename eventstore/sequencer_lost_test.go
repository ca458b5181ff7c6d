package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/eventstore/pgtest"
)

// lossyDial makes connections on which the answer to a statement can be lost: once armed, the next packet from the
// server is swallowed and the connection cut, after the server has done its work.
type lossyDial struct {
	armed atomic.Int32 // how many answers are still to be lost
	lost  atomic.Int32
	dials atomic.Int32
	down  atomic.Bool // no connection is made
	// afterLoss runs before the connection is cut.
	afterLoss func()
}

func (d *lossyDial) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("cut off for the test")}
	}
	d.dials.Add(1)
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lossyConn{Conn: conn, d: d}, nil
}

type lossyConn struct {
	net.Conn
	d *lossyDial
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.d.armed.Load() > 0 && c.d.armed.Add(-1) >= 0 {
		c.d.lost.Add(1)
		if c.d.afterLoss != nil {
			c.d.afterLoss()
		}
		c.Conn.Close()
		return 0, &net.OpError{Op: "read", Net: "test", Err: net.ErrClosed}
	}
	return n, err
}

func lossy(d *lossyDial) func(*SequencerConfig) {
	return func(c *SequencerConfig) { c.Dial = d.dial }
}

// TestLostAnswersDoubleNothing loses the answer to every few commits while callers write, on the path of one event and
// on that of a batch.
func TestLostAnswersDoubleNothing(t *testing.T) {
	t.Parallel()
	for _, callers := range []int{1, 16} {
		db := pgtest.New(t)
		d := &lossyDial{}
		s := openSequencer(t, db.DSN, lossy(d))
		const each = 12
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				stream := freshID()
				for v := range int64(each) {
					if v%4 == 1 {
						d.armed.CompareAndSwap(0, 1)
					}
					req := onStream(stream, v, 1)
					out, err := s.Append(t.Context(), req)
					if err != nil {
						t.Error(describe(err))
						return
					}
					var position int64
					if err := db.Get(&position, `SELECT position FROM annals.events WHERE event_id = $1`,
						req.Events[0].EventID[:]); err != nil || position != out.FirstPosition {
						t.Errorf("told position %d, stored at %d: %v", out.FirstPosition, position, err)
					}
				}
			})
		}
		wg.Wait()
		checkDense(t, db, int64(callers*each))
		if d.lost.Load() == 0 {
			t.Error("no answer was lost: the test tests nothing")
		}
	}
}

func TestLostAnswerOfAKeyedNoOp(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	d := &lossyDial{}
	s := openSequencer(t, db.DSN, lossy(d))
	d.armed.Store(1)
	out, err := s.Append(t.Context(), withKey(AppendRequest{Client: "acme"}, "k", "f", `{"n":1}`))
	if err != nil || d.lost.Load() != 1 {
		t.Fatal(out, err)
	}
	var n int
	if db.Get(&n, `SELECT count(*) FROM annals.idempotency_keys`); n != 1 {
		t.Errorf("%d keys", n)
	}
}

// TestTheLostBackendIsEnded shows that a backend whose connection was cut can't do anything after the batch was sent
// again: it no longer exists by then.
func TestTheLostBackendIsEnded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	d := &lossyDial{}
	s := openSequencer(t, db.DSN, lossy(d), func(c *SequencerConfig) {
		c.StatementTimeout, c.LockTimeout = 10*time.Minute, 10*time.Minute
	})
	// The append waits for the lock when its connection is cut: a backend that waits doesn't notice that.
	lock, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.ExecContext(t.Context(), `SELECT pg_advisory_lock(4703919738795935564)`); err != nil {
		t.Fatal(err)
	}
	before := s.link.backend
	result := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), onStream(freshID(), 0, 1))
		result <- err
	}()
	awaitBlocked(t, db, before.pid)
	s.link.socket.Close()
	pgtest.Eventually(t, "the lost backend is gone", func() bool {
		var n int
		if err := db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, before.pid); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	if _, err := lock.ExecContext(t.Context(), `SELECT pg_advisory_unlock_all()`); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(describe(err))
	}
	checkDense(t, db, 1)
}

// awaitBlocked waits until a backend waits for the append lock.
func awaitBlocked(t testing.TB, db *pgtest.DB, pid int64) {
	t.Helper()
	pgtest.Eventually(t, "the backend waits for the lock", func() (waiting bool) {
		err := db.Get(&waiting, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'advisory' AND NOT granted)`, pid)
		if err != nil {
			t.Fatal(err)
		}
		return waiting
	})
}

// awaitQueued waits until so many appends stand in a sequencer's queue.
func awaitQueued(t testing.TB, s *Sequencer, count int) {
	t.Helper()
	pgtest.Eventually(t, "the appends are queued", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.queue.count == count
	})
}

// TestTerminatedBackends ends the sequencer's backend again and again while callers write.
func TestTerminatedBackends(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	const callers, each, enough = 8, 60, 3
	var wg sync.WaitGroup
	var writing atomic.Int32
	var ended, written atomic.Int64
	writing.Store(callers)
	for range callers {
		wg.Go(func() {
			defer writing.Add(-1)
			stream := freshID()
			for v := int64(0); v < each || ended.Load() < enough; v++ {
				if _, err := s.Append(t.Context(), onStream(stream, v, 1)); err != nil {
					t.Error(describe(err))
					return
				}
				written.Add(1)
			}
		})
	}
	// Not again before something was written: else no append would ever have the time.
	head := int64(-1)
	for writing.Load() > 0 {
		var got struct{ Head, N int64 }
		if err := db.Get(&got, `SELECT max(position) AS head, (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'annals append' AND state = 'active') AS n
			FROM annals.events HAVING max(position) > $1`, head); err == nil {
			ended.Add(got.N)
			if got.N > 0 {
				head = got.Head
			}
		} else if !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
	}
	wg.Wait()
	checkDense(t, db, written.Load())
}

// TestOutcomeUnknownAtTheDeadline cuts the way to the database for good after a commit.
func TestOutcomeUnknownAtTheDeadline(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	d := &lossyDial{}
	d.afterLoss = func() { d.down.Store(true) }
	s := openSequencer(t, db.DSN, lossy(d), func(c *SequencerConfig) { c.Timeout = 200 * time.Millisecond })
	req := onStream(freshID(), 0, 1)
	d.armed.Store(1)
	if _, err := s.Append(t.Context(), req); !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatal(describe(err))
	}
	if _, err := s.Append(t.Context(), onStream(freshID(), 0, 1)); !errors.Is(err, ErrUnavailable) {
		t.Fatal("what was never sent: ", describe(err))
	}
	d.down.Store(false)
	out := mustAppend(t, s, req)
	if out.FirstPosition != 1 {
		t.Errorf("%+v", out)
	}
	checkDense(t, db, 1)
}

// TestUnfinishedCommitIsNotSuccess lets the commit wait for a standby that never comes: the events are in the log of this
// server, but nothing says that they are safe.
func TestUnfinishedCommitIsNotSuccess(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t, pgtest.WithSettings(map[string]string{
		"max_connections": "20", "wal_level": "replica", "max_wal_senders": "2", "synchronous_commit": "on",
	}))
	dsn := cluster.DSN()
	admin, err := OpenDB(dsn, RoleOwner, 2, "")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	migrate(t, admin)
	s := openSequencer(t, dsn, func(c *SequencerConfig) {
		c.StatementTimeout, c.margin, c.Timeout = time.Second, 100*time.Millisecond, 4*time.Second
	})
	setStandby := func(name string) {
		admin.MustExec(`ALTER SYSTEM SET synchronous_standby_names = '` + name + `'`)
		admin.MustExec(`SELECT pg_reload_conf()`)
	}
	setStandby("nobody")
	awaitStuckCommits(t, admin)
	req := onStream(freshID(), 0, 1)
	if _, err := s.Append(t.Context(), req); !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatal("without the standby: ", describe(err))
	}
	setStandby("")
	if out := mustAppend(t, s, req); out.FirstPosition != 1 || out.Head != 1 {
		t.Errorf("%+v", out)
	}
}

// awaitStuckCommits makes commits until one waits for a standby: the server takes a new configuration in its own time.
func awaitStuckCommits(t *testing.T, admin *sqlx.DB) {
	pgtest.Eventually(t, "a commit waits for the standby", func() bool {
		done := make(chan struct{})
		go func() {
			defer close(done)
			admin.Exec(`SELECT pg_logical_emit_message(true, 'probe', '')`)
		}()
		for {
			select {
			case <-done:
				return false
			default:
			}
			var pids []int64
			if err := admin.Select(&pids, `SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'`); err != nil {
				t.Fatal(err)
			}
			if len(pids) > 0 {
				admin.MustExec(`SELECT pg_cancel_backend($1::int)`, pids[0])
				<-done
				return true
			}
		}
	})
}

func TestTheTailIsLost(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	stream := freshID()
	for v := range int64(3) {
		mustAppend(t, s, onStream(stream, v, 1))
	}
	tx := db.MustBegin()
	tx.MustExec(`SET LOCAL session_replication_role = replica`)
	tx.MustExec(`DELETE FROM annals.events WHERE position = 3`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for name, req := range map[string]AppendRequest{
		"one": onStream(freshID(), 0, 1), "batch": onStream(freshID(), 0, 2), "expectation": reading(AppendRequest{Client: "acme"}, stream, 3),
	} {
		_, err := s.Append(t.Context(), req)
		if !errors.Is(err, ErrLogBehind) || !strings.Contains(err.Error(), "ends at position 2, below position 3 ") {
			t.Errorf("%s: %v", name, describe(err))
		}
	}
	// A node that has read further than it has written notices, too.
	other := openSequencer(t, db.DSN)
	other.Observe(3)
	_, err := other.Append(t.Context(), onStream(freshID(), 0, 1))
	if !errors.Is(err, ErrLogBehind) || !strings.Contains(err.Error(), "ends at position 2, below position 3 ") {
		t.Error(describe(err))
	}
	checkDense(t, db, 2)
	mustAppend(t, openSequencer(t, db.DSN), onStream(freshID(), 0, 1)) // restarted by an operator who has looked
}
