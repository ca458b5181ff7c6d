package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Status says what a subscriber is doing.
type Status string

// The states of a subscriber.
const (
	StatusRunning    Status = "running"
	StatusPaused     Status = "paused"     // by an operator
	StatusFailed     Status = "failed"     // stopped at an event; tried again with back-off
	StatusRebuilding Status = "rebuilding" // as running; new tables are being prepared beside the live ones
)

// ErrUnknownSubscriber: no subscriber of that name runs here.
var ErrUnknownSubscriber = errors.New("there is no such subscriber")

// progress is what this process knows of each subscriber's checkpoint, wherever it was applied.
type progress struct {
	waiters atomic.Int64 // callers that wait for a checkpoint; while there are any, the table is looked at more often

	mu    sync.Mutex
	marks map[string]*mark
	moved chan struct{} // signals that a mark changed; capacity 1
}

type mark struct {
	position int64
	status   Status
	announce int64         // the position that other nodes were told last
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

func newProgress() *progress {
	return &progress{marks: make(map[string]*mark), moved: make(chan struct{}, 1)}
}

// add makes room for a subscriber.
func (p *progress) add(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks[name] = &mark{status: StatusRunning}
}

// set notes a checkpoint applied here.
func (p *progress) set(name string, position int64, status Status) {
	if p.heard(name, position, status) {
		select {
		case p.moved <- struct{}{}:
		default:
		}
	}
}

// heard notes a checkpoint that the subscriber itself tells of. It doesn't know of rebuilds.
func (p *progress) heard(name string, position int64, status Status) bool {
	if _, now, _, _ := p.look(name); now == StatusRebuilding && status == StatusRunning {
		status = now
	}
	return p.update(name, position, status)
}

// update notes a checkpoint, and reports whether that is news. Positions only rise: what was seen committed stays so.
func (p *progress) update(name string, position int64, status Status) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.marks[name]
	if m == nil || position <= m.position && status == m.status {
		return false
	}
	m.position, m.status = max(position, m.position), status
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
	return true
}

// look gives a subscriber's mark and a channel that is closed when it changes.
func (p *progress) look(name string) (position int64, status Status, changed <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.marks[name]
	if m == nil {
		return 0, "", nil, false
	}
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.position, m.status, m.changed, true
}

// announcements gives the checkpoints that moved since the last call.
func (p *progress) announcements() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var moved map[string]int64
	for name, m := range p.marks {
		if m.position > m.announce {
			if moved == nil {
				moved = make(map[string]int64)
			}
			m.announce = m.position
			moved[name] = m.position
		}
	}
	return moved
}

// WaitFor waits until a subscriber has applied a position, on this node or another. It returns ctx's error when ctx ends
// first, and ErrUnknownSubscriber for a name that isn't registered.
func (g *Group) WaitFor(ctx context.Context, name string, position int64) error {
	waiting := false
	for {
		at, _, changed, ok := g.progress.look(name)
		if !ok {
			return fmt.Errorf("%w: %s", ErrUnknownSubscriber, name)
		}
		if at >= position {
			return nil
		}
		if !waiting {
			waiting = true
			g.progress.waiters.Add(1)
			defer g.progress.waiters.Add(-1)
			if f := g.feed(name); f != nil {
				f.want()
				defer f.unwant()
			}
			g.lookSoon()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to apply position %d, it is at %d: %w", name, position, at, ctx.Err())
		}
	}
}

// WaitSynchronous waits, at most so long, until every synchronous subscriber has applied a position, and reports whether they
// have. It doesn't wait for one that is paused, failed or rebuilding, or further behind than Config.SyncLag: then it reports
// false at once.
func (g *Group) WaitSynchronous(ctx context.Context, position int64, atMost time.Duration) bool {
	timer := time.NewTimer(atMost) // a context with a deadline costs every command more
	defer timer.Stop()
	for _, f := range g.feeds {
		if f.spec.Synchronous && !g.waitRunning(ctx, timer.C, f.spec.Name, position) {
			return false
		}
	}
	return true
}

func (g *Group) waitRunning(ctx context.Context, late <-chan time.Time, name string, position int64) bool {
	waiting := false
	for {
		at, status, changed, ok := g.progress.look(name)
		switch {
		case ok && at >= position:
			return true
		case !ok, status != StatusRunning, position-at > g.cfg.SyncLag:
			return false
		}
		if !waiting {
			waiting = true
			g.progress.waiters.Add(1)
			defer g.progress.waiters.Add(-1)
		}
		select {
		case <-changed:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
