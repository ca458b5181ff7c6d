package projections

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"annals/eventstore"
)

// progressChannel is where nodes tell each other of checkpoints: "name version position" per line, or "name version !"
// when something held or changed one from outside.
const progressChannel = "annals_progress"

const (
	announcePause = 10 * time.Millisecond  // between announcements: those in between are merged
	watchPause    = time.Second            // between looks at the checkpoints
	waitingPause  = 100 * time.Millisecond // the same while somebody waits for one
)

// ErrAheadOfLog: a checkpoint is beyond the end of the log, whose tail was lost (failover, restore).
var ErrAheadOfLog = errors.New("a subscriber is ahead of the log")

// prepare checks what the subscribers rest on, and reads where they stand.
func (g *Group) prepare(ctx context.Context) error {
	var n int
	probe := encodeColumn(nil, kindInt8, []any{new(int64)})
	if err := g.cfg.DB.QueryRowContext(ctx, `SELECT cardinality($1::bigint[])`, probe).Scan(&n); err != nil {
		return fmt.Errorf("projections: the pool needs binary_parameters=yes: %w", err)
	}
	states, err := g.states(ctx)
	if err != nil {
		return err
	}
	for _, spec := range g.Specs() {
		s, ok := states[spec.Name]
		switch {
		case !ok:
			return fmt.Errorf("projections: %s version %d has no checkpoint; EnsureSchemas makes it", spec.Name, spec.Version)
		case s.Position > s.Head:
			return fmt.Errorf("%w: %s has applied position %d, the log ends at %d", ErrAheadOfLog, spec.Name, s.Position, s.Head)
		}
		g.progress.update(spec.Name, s.Position, s.Status)
	}
	return nil
}

// watch looks at the checkpoints at intervals: the net under the announcements.
func (g *Group) watch(ctx context.Context) {
	for ctx.Err() == nil {
		interval := watchPause
		if g.progress.waiters.Load() > 0 {
			interval = waitingPause
		}
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-g.soon:
			pause(ctx, waitingPause)
		case <-ctx.Done():
		}
		timer.Stop()
		states, err := g.states(ctx)
		if err != nil {
			if ctx.Err() == nil {
				g.cfg.Logger.Warn("the checkpoints can't be read", "error", err)
			}
			continue
		}
		for name, s := range states {
			g.progress.update(name, s.Position, s.Status)
		}
	}
}

// lookSoon makes watch look before its interval is over.
func (g *Group) lookSoon() {
	select {
	case g.soon <- struct{}{}:
	default:
	}
}

// announce tells the other nodes of checkpoints that moved here.
func (g *Group) announce(ctx context.Context) {
	for {
		select {
		case <-g.progress.moved:
		case <-ctx.Done():
			return
		}
		var lines []string
		for name, position := range g.progress.announcements() {
			lines = append(lines, fmt.Sprintf("%s %d %d", name, g.versions[name], position))
		}
		if len(lines) > 0 {
			_, err := g.cfg.DB.ExecContext(ctx, `SELECT pg_notify($1, $2)`, progressChannel, strings.Join(lines, "\n"))
			if err != nil && ctx.Err() == nil {
				g.cfg.Logger.Debug("progress wasn't announced", "error", err) // the others poll
			}
		}
		pause(ctx, announcePause)
	}
}

// listen follows the other nodes' announcements.
func (g *Group) listen(ctx context.Context) error {
	dsn, err := eventstore.NormalizeDSN(g.cfg.ListenDSN)
	if err != nil {
		return err
	}
	l := pq.NewListener(dsn, 50*time.Millisecond, 5*time.Second, func(_ pq.ListenerEventType, err error) {
		if err != nil && ctx.Err() == nil {
			g.cfg.Logger.Warn("the connection that listens for progress", "error", err)
		}
	})
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	if err := l.Listen(progressChannel); err != nil && ctx.Err() == nil {
		return fmt.Errorf("listen for progress: %w", err)
	}
	for n := range l.Notify {
		if n == nil { // reconnected: announcements were missed
			g.lookSoon()
			continue
		}
		for line := range strings.Lines(n.Extra) {
			g.heard(strings.Fields(line))
		}
	}
	return nil
}

// heard takes in one line of an announcement.
func (g *Group) heard(fields []string) {
	if len(fields) != 3 || fields[1] != strconv.Itoa(g.versions[fields[0]]) {
		return
	}
	if fields[2] == "!" {
		g.nudge(fields[0])
		g.lookSoon()
		return
	}
	if position, err := strconv.ParseInt(fields[2], 10, 64); err == nil {
		g.progress.heard(fields[0], position, StatusRunning)
	}
}

// Nudge makes a subscriber look at the log at once, on every node: one that found its checkpoint held takes it that another
// node works, and would look again only after Config.StandbyPause. In a transaction it takes effect with the commit. Its error
// is the database's: nobody was told, and the subscriber looks by itself.
func Nudge(ctx context.Context, q Executor, name string, version int) error {
	_, err := q.ExecContext(ctx, `SELECT pg_notify($1, $2)`, progressChannel, fmt.Sprintf("%s %d !", name, version))
	return err
}

// letGo makes every node look at once for subscribers that this one held. Nodes that don't hear of it look by themselves.
func (g *Group) letGo(specs ...Spec) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, spec := range specs {
		g.nudge(spec.Name)
		if err := Nudge(ctx, g.cfg.DB, spec.Name, spec.Version); err != nil {
			g.cfg.Logger.Debug("the other nodes weren't told that a checkpoint is free", "subscriber", spec.Name, "error", err)
			return
		}
	}
}

// nudge makes the subscriber look at the log at once.
func (g *Group) nudge(name string) {
	if f := g.feed(name); f != nil {
		f.nudge()
	}
}

// feed finds a subscriber that reads events; nil when there is none of the name.
func (g *Group) feed(name string) *feed {
	for _, f := range g.feeds {
		if f.spec.Name == name {
			return f
		}
	}
	return nil
}
