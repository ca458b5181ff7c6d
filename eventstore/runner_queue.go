package eventstore

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/semaphore"
)

// queues holds a line per key: one caller at a time holds a key, the others wait, first come first served. A line exists
// as long as somebody holds or waits for it.
type queues[K comparable] struct {
	mu    sync.Mutex
	lines map[K]*line
}

type line struct {
	turn *semaphore.Weighted // fair
	tag  string              // what the line is for
	refs int                 // holder and waiters
}

// errOtherTag reports a line that exists for something else.
var errOtherTag = errors.New("the key is in use for something else")

func newQueues[K comparable]() *queues[K] { return &queues[K]{lines: make(map[K]*line)} }

// join waits for the caller's turn at key. While anybody holds or waits for the key, a join with another tag is
// errOtherTag, at once. Every join without error needs one leave.
func (q *queues[K]) join(ctx context.Context, key K, tag string) error {
	q.mu.Lock()
	l := q.lines[key]
	switch {
	case l == nil:
		l = &line{turn: semaphore.NewWeighted(1), tag: tag}
		q.lines[key] = l
	case l.tag != tag:
		q.mu.Unlock()
		return errOtherTag
	}
	l.refs++
	q.mu.Unlock()
	if err := l.turn.Acquire(ctx, 1); err != nil {
		q.unref(key, l)
		return err
	}
	return nil
}

// leave ends the caller's turn.
func (q *queues[K]) leave(key K) {
	q.mu.Lock()
	l := q.lines[key]
	q.mu.Unlock()
	l.turn.Release(1)
	q.unref(key, l)
}

// busy reports whether anybody holds the key.
func (q *queues[K]) busy(key K) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines[key] != nil
}

// size is the number of keys that somebody holds.
func (q *queues[K]) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lines)
}

func (q *queues[K]) unref(key K, l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.refs--; l.refs == 0 {
		delete(q.lines, key)
	}
}
