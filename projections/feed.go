package projections

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
)

// wait says what a subscriber waits for before it looks at the log again.
type wait int

const (
	waitNothing wait = iota
	waitNews         // for the log to grow, or the poll interval
	waitLoad         // the log grows faster than pages: let some events gather first
	waitStandby      // another node has the checkpoint, or the subscriber isn't to run
	waitBackoff      // after an error that isn't an event's
)

// feed is one subscriber within this process: it decides when to look at the log, and keeps what the last look showed.
// It is watermill-sql's Beginner and BackoffManager.
type feed struct {
	group     *Group
	spec      Spec
	projector Projector // nil for a policy
	policy    PolicyHandler
	pageSize  int
	log       *slog.Logger
	query     string          // of a page
	copy      string          // the statement that copies a page; empty: pages are read
	frameSize int             // of the last page, in bytes
	record    []byte          // reused buffer
	events    []Event         // of the last page, whose memory the next one takes
	wanted    map[string]bool // the event types; nil: all
	tail      *tailPage       // the page under way, when it is the tail's
	copying   bool            // the page under way is copied

	mu       sync.Mutex
	next     wait
	position int64              // the checkpoint as last seen
	heard    int64              // the head that was announced before the look under way
	after    int64              // the position after which there would be news
	errors   int                // in a row, that weren't an event's
	ahead    int                // looks in a row that found the checkpoint beyond the log
	bisect   bool               // the next page is applied in parts, to find the event that fails
	plain    bool               // the next look leaves the tail out
	nudged   bool               // look at once
	cancel   context.CancelFunc // ends the wait under way
	waited   int                // callers that wait for the checkpoint to reach a position
	rewait   context.CancelFunc // makes the wait for news begin again, by the callers there are now
	looked   time.Time          // when the last page was stored
	pause    time.Duration      // of waitLoad
}

// span is how many positions a page may cover.
func (f *feed) span() int64 {
	if f.spec.EventTypes == nil {
		return int64(f.pageSize)
	}
	return int64(f.pageSize) * typedSpan
}

// nudge makes the subscriber look at once.
func (f *feed) nudge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nudged = true
	if f.cancel != nil {
		f.cancel()
	}
}

// want makes the subscriber look at every event while somebody waits for its checkpoint, which events that it doesn't want
// move as well. The caller ends it by unwant.
func (f *feed) want() { f.wants(1) }

func (f *feed) unwant() { f.wants(-1) }

func (f *feed) wants(change int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.waited
	f.waited += change
	if f.rewait != nil && (before == 0) != (f.waited == 0) {
		f.rewait()
	}
}

// awaitNews waits for an event after the position that the subscriber wants, or any while somebody waits for it.
func (f *feed) awaitNews(ctx context.Context, position int64) {
	for ctx.Err() == nil {
		attempt, again := context.WithCancel(ctx)
		f.mu.Lock()
		types := f.spec.EventTypes
		if f.waited > 0 {
			types = nil
		}
		f.rewait = again
		f.mu.Unlock()
		_, err := f.group.cfg.Waker.WaitTypes(attempt, position, types)
		f.mu.Lock()
		f.rewait = nil
		f.mu.Unlock()
		again()
		if err == nil {
			return
		}
	}
}

// await waits for what the last look left to wait for. It fails only when ctx ends.
func (f *feed) await(ctx context.Context) error {
	f.mu.Lock()
	next, after, failed, load := f.next, f.after, f.errors, f.pause
	if f.nudged || next == waitNothing {
		f.nudged, f.heard = false, f.group.cfg.Waker.Head()
		f.mu.Unlock()
		return ctx.Err()
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	f.cancel = cancel
	f.mu.Unlock()

	cfg := &f.group.cfg
	switch next {
	case waitLoad:
		pause(waiting, load)
		fallthrough
	case waitNews:
		polling, stop := context.WithTimeout(waiting, cfg.Poll)
		f.awaitNews(polling, after)
		stop()
	case waitStandby:
		pause(waiting, cfg.StandbyPause)
	case waitBackoff:
		pause(waiting, backoff(cfg.ErrorPause, failed))
	}

	f.mu.Lock()
	f.cancel, f.nudged, f.heard = nil, false, f.group.cfg.Waker.Head()
	f.mu.Unlock()
	return ctx.Err()
}

// pause waits for a duration or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// backoff doubles a first pause with each failure, up to 64 times.
func backoff(first time.Duration, failures int) time.Duration {
	return first << min(max(failures-1, 0), 6)
}

// BeginTx implements wsql.Beginner. It waits before BEGIN: an idle subscriber holds neither a connection nor a transaction.
func (f *feed) BeginTx(ctx context.Context, opts *sql.TxOptions) (wsql.Tx, error) {
	if err := f.await(ctx); err != nil {
		return nil, err
	}
	if tx := f.beginCopy(); tx != nil {
		return tx, nil
	}
	tx, err := f.group.cfg.DB.BeginTx(ctx, opts)
	if err != nil {
		f.rolledBack(bounds{}, err)
		return nil, err
	}
	return &pageTx{tx: tx, feed: f}, nil
}

// ExecContext implements wsql.Beginner. The library uses it to make tables, which migrations do here.
func (f *feed) ExecContext(context.Context, string, ...any) (wsql.Result, error) {
	return nil, errors.New("statements run in a page's transaction")
}

// QueryContext implements wsql.Beginner.
func (f *feed) QueryContext(context.Context, string, ...any) (wsql.Rows, error) {
	return nil, errors.New("statements run in a page's transaction")
}

// HandleError implements wsql.BackoffManager: all waiting is done before BEGIN.
func (f *feed) HandleError(watermill.LoggerAdapter, bool, error) time.Duration { return 0 }

// committed notes a page whose rows and checkpoint are stored. failure is the event it stopped before, if any.
func (f *feed) committed(b bounds, to int64, failure *Failure) {
	f.mu.Lock()
	f.position, f.after, f.errors, f.ahead, f.bisect = to, to, 0, 0, false
	f.pause = max(f.spec.Pause, loadPause(f.group.cfg.LoadPause, to-b.from, time.Since(f.looked)))
	f.looked = time.Now()
	switch {
	case failure != nil:
		f.next = waitStandby // the checkpoint's row says when to try again
	case b.full && to == b.to:
		f.next = waitNothing
	case !f.spec.Synchronous && f.pause > 0:
		f.next = waitLoad
	default:
		f.next = waitNews
	}
	f.mu.Unlock()
	if failure != nil {
		f.log.Error("the subscriber stopped at an event", "position", failure.Position, "event_type", failure.EventType,
			"event_id", failure.EventID, "attempts", failure.Attempts, "error", failure.Error)
		f.group.progress.set(f.spec.Name, to, StatusFailed)
		return
	}
	f.group.progress.set(f.spec.Name, to, StatusRunning)
}

// rolledBack notes a look at the log that stored nothing: there was nothing to do, it wasn't ours to do, or it failed.
func (f *feed) rolledBack(b bounds, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.group.stopping():
		f.next = waitNothing
	case cause != nil && !transient(cause) && !f.bisect:
		f.log.Warn("a page can't be applied; looking for the event", "from", b.from, "to", b.to, "error", cause)
		f.bisect, f.next = true, waitNothing
	case cause != nil:
		f.errors++
		f.next = waitBackoff
		f.log.Warn("the subscriber can't go on for now", "attempts", f.errors, "error", cause)
	case !b.taken:
		f.next = waitStandby
	case b.again:
		f.position, f.errors, f.next, f.plain = b.from, 0, waitNothing, true
	case b.to > b.from: // a page that no handler was given
		f.errors++
		f.next = waitBackoff
	default:
		// What was announced before is nowhere: the log's tail was lost. Only something newer is news.
		f.position, f.after, f.errors, f.next = b.from, max(b.from, f.heard), 0, waitNews
		f.checkAhead(b)
		f.group.progress.set(f.spec.Name, b.from, StatusRunning)
	}
}

// How an asynchronous subscriber's pause grows with the log's rate, in positions a second: each look costs a transaction,
// and under load the looks of all subscribers together would cost the appends more than their events do.
const (
	loadFrom  = 2000 // up to it there is no pause: a lone caller, who may wait for what he wrote, isn't load
	loadUnit  = 1000 // the pause is as many times Config.LoadPause as the rate is this,
	loadSteps = 5    // at most so many times
)

// loadPause says how long to let events gather after a page that moved the checkpoint by so many positions since the last
// one, that long ago.
func loadPause(step time.Duration, positions int64, since time.Duration) time.Duration {
	rate := float64(positions) / max(since, time.Millisecond).Seconds()
	if rate <= loadFrom {
		return 0
	}
	return time.Duration(min(rate/loadUnit, loadSteps) * float64(step))
}

// checkAhead reports a checkpoint beyond the log. A single look may show one when another node has just moved it.
func (f *feed) checkAhead(b bounds) {
	if b.to >= b.from {
		f.ahead = 0
		return
	}
	if f.ahead++; f.ahead > 1 {
		f.log.Error("the subscriber is ahead of the log: the log's tail was lost", "position", b.from, "head", b.to)
	}
}
