package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lib/pq"
)

// notifyChannel is where append_v2 announces a batch: the head, and where they fit its first position and its event types,
// parted by spaces.
const notifyChannel = "annals_events"

// listener passes the announcements of other nodes on to the node's signal; the node's own writer has told it more than
// they say. They wake, and are not trusted for more: any role of the database can send one.
type listener struct {
	pq   *pq.Listener
	done chan struct{}
	once sync.Once
	err  error
}

func startListener(
	ctx context.Context, dsn, appName string, signal *Signal, own func(pid int) bool, log *slog.Logger,
) (*listener, error) {
	pairs, err := NormalizeDSN(dsn)
	if err != nil {
		return nil, err
	}
	pairs += " application_name='" + escapeValue(appName) + "'"
	events := func(event pq.ListenerEventType, err error) {
		if err != nil {
			log.Warn("the listening connection", "event", event.String(), "error", err)
		}
	}
	l := &listener{pq: pq.NewListener(pairs, 50*time.Millisecond, 5*time.Second, events), done: make(chan struct{})}
	listening := make(chan error, 1)
	go func() { listening <- l.pq.Listen(notifyChannel) }() // it waits for a connection, however long
	select {
	case err = <-listening:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		l.pq.Close()
		return nil, fmt.Errorf("listen on %s: %w", notifyChannel, err)
	}
	go func() {
		defer close(l.done)
		for n := range l.pq.Notify {
			if n == nil { // reconnected: announcements were missed
				signal.Poke()
				continue
			}
			if own(n.BePid) {
				continue
			}
			signal.hear(n.Extra)
		}
	}()
	return l, nil
}

func (l *listener) close() error {
	l.once.Do(func() {
		l.err = l.pq.Close()
		<-l.done
	})
	return l.err
}

// escapeValue makes a text fit between the quotes of a connection string's value.
func escapeValue(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(b)
}
