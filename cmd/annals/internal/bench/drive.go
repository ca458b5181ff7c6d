package bench

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"annals/eventstore"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jmoiron/sqlx"
)

// way is one of the ways to do the same work that are compared.
type way struct {
	name string
	// each is how many events a call writes.
	each int
	// start prepares callers, each of which does one call at a time, and gives what cleans up after them.
	start func(ctx context.Context, callers int) (calls []func() error, stop func() error, err error)
	// run, where there is no start, lets callers of a program of its own work for about so long.
	run  func(ctx context.Context, callers int, d time.Duration, into *tally) (spell, error)
	most int // callers it is measured with at most; 0: any number
}

// spell is what callers did in one go.
type spell struct {
	done, refused int64 // calls
	took          time.Duration
	cpu           time.Duration // of a program of its own
}

// errLater is an answer that says to come back later: it counts as refused, not as failed.
var errLater = errors.New("refused for now")

// tally is what a way reached in one round or more.
type tally struct {
	rates   []float64
	latency *hdrhistogram.Histogram // of calls, in microseconds
	calls   int64
	refused int64
	cost    cost
	each    int
}

// driven lets the callers work for a time.
func driven(ctx context.Context, m *meter, w way, callers int, d time.Duration, into *tally) (err error) {
	processes := len(childrenOf(m.postmaster))
	work := func() (spell, error) { return w.run(ctx, callers, d, into) }
	if w.start != nil {
		calls, stop, failed := w.start(ctx, callers)
		if stop != nil {
			defer func() {
				err = errors.Join(err, stop())
				m.settle(processes)
			}()
		}
		if failed != nil {
			return failed
		}
		work = func() (spell, error) { return together(ctx, calls, d, into) }
	}
	var did spell
	spent, err := m.during(ctx, func() (err error) { did, err = work(); return err })
	if err != nil {
		return err
	}
	spent.program += did.cpu
	into.rates = append(into.rates, float64(did.done*int64(w.each))/did.took.Seconds())
	into.calls += did.done
	into.refused += did.refused
	into.cost.add(spent)
	return nil
}

// together lets each caller repeat its call in a goroutine of its own.
func together(ctx context.Context, calls []func() error, d time.Duration, into *tally) (did spell, failure error) {
	var mu sync.Mutex
	var over atomic.Bool
	timer := time.AfterFunc(d, func() { over.Store(true) })
	defer timer.Stop()
	var all sync.WaitGroup
	begun := time.Now()
	for _, call := range calls {
		all.Go(func() {
			h := newHistogram()
			later, err := repeat(ctx, call, &over, h)
			mu.Lock()
			defer mu.Unlock()
			into.latency.Merge(h)
			did.done, did.refused, failure = did.done+h.TotalCount(), did.refused+later, cmp.Or(failure, err)
		})
	}
	all.Wait()
	did.took = time.Since(begun)
	return did, failure
}

// onConnections gives each caller a connection to the database of its own. stop closes them all.
func onConnections(
	ctx context.Context, d *database, callers int, call func(i int, conn *sqlx.Conn) (func() error, error),
) (calls []func() error, stop func() error, err error) {
	db, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, callers, "annals bench")
	if err != nil {
		return nil, nil, err
	}
	var open []*sqlx.Conn
	stop = func() (err error) {
		for _, conn := range open { // which db.Close leaves to their users
			err = errors.Join(err, conn.Close())
		}
		return errors.Join(err, db.Close())
	}
	for i := range callers {
		conn, err := db.Connx(ctx)
		if err != nil {
			return nil, stop, err
		}
		open = append(open, conn)
		one, err := call(i, conn)
		if err != nil {
			return nil, stop, err
		}
		calls = append(calls, one)
	}
	return calls, stop, nil
}

// repeat makes calls until it is over. Refused ones aren't among the latencies.
func repeat(ctx context.Context, call func() error, over *atomic.Bool, h *hdrhistogram.Histogram) (refused int64, err error) {
	for !over.Load() && ctx.Err() == nil {
		begun := time.Now()
		switch err := call(); {
		case errors.Is(err, errLater):
			refused++
		case err != nil:
			over.Store(true)
			return refused, err
		default:
			_ = h.RecordValue(min(time.Since(begun).Microseconds(), maxLatency))
		}
	}
	return refused, ctx.Err()
}

const maxLatency = int64(time.Minute / time.Microsecond)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

// compare lets the ways take turns with each number of callers, and gives a row for each of both.
func compare(ctx context.Context, o *Options, m *meter, ways []way) (*table, error) {
	t := &table{tallies: make(map[cell]*tally)}
	for round := range o.Rounds {
		for _, callers := range o.Callers {
			for _, w := range ways {
				if w.most > 0 && callers > w.most {
					continue
				}
				at := cell{w.name, callers}
				if t.tallies[at] == nil {
					t.tallies[at] = &tally{latency: newHistogram(), each: w.each}
					t.order = append(t.order, at)
				}
				if err := driven(ctx, m, w, callers, o.Slice, t.tallies[at]); err != nil {
					return nil, err
				}
			}
		}
		note(o, "round %d of %d", round+1, o.Rounds)
	}
	return t, nil
}

type cell struct {
	way     string
	callers int
}

// table holds what each way reached with each number of callers.
type table struct {
	order   []cell
	tallies map[cell]*tally
}

func (t *table) rows() []Row {
	rows := make([]Row, 0, len(t.order))
	for _, at := range t.order {
		rows = append(rows, t.tallies[at].row(at))
	}
	return rows
}

func (t *tally) row(at cell) Row {
	each := func(total float64) float64 { return total / float64(max(1, t.calls*int64(t.each))) }
	at99 := func(q float64) float64 { return float64(t.latency.ValueAtQuantile(q)) / 1000 }
	return Row{
		Way: at.way, Callers: at.callers, PerSecond: median(t.rates),
		P50: at99(50), P90: at99(90), P99: at99(99), P999: at99(99.9),
		ProgramCPU: each(float64(t.cost.program.Microseconds())), GeneratorCPU: each(float64(t.cost.self.Microseconds())),
		DatabaseCPU: each(float64(t.cost.database.Microseconds())), Allocations: each(float64(t.cost.allocs)),
		WALBytes: each(float64(t.cost.wal)), Refused: float64(t.refused) / float64(max(1, t.calls+t.refused)),
	}
}

// databaseBy splits the database's CPU time for each event or command by what its processes do.
func (t *tally) databaseBy() map[string]float64 {
	by := make(map[string]float64)
	for name, took := range t.cost.byName {
		by[name] = float64(took.Nanoseconds()) / 1000 / float64(max(1, t.calls*int64(t.each)))
	}
	return by
}

// rate gives what a way reached with so many callers; 0 when that wasn't measured.
func (t *table) rate(way string, callers int) float64 {
	if got := t.tallies[cell{way, callers}]; got != nil {
		return median(got.rates)
	}
	return 0
}

// best gives the most that a way reached with any number of callers.
func (t *table) best(way string) float64 {
	most := 0.0
	for at, got := range t.tallies {
		if at.way == way {
			most = max(most, median(got.rates))
		}
	}
	return most
}

func (t *table) p99(way string, callers int) float64 {
	if got := t.tallies[cell{way, callers}]; got != nil {
		return float64(got.latency.ValueAtQuantile(99))
	}
	return 0
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return v[len(v)/2]
}
