package projections

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore"
)

// Failure is the event that a subscriber stopped at.
type Failure struct {
	Position  int64      `json:"position"`
	EventID   domain.ID  `json:"event_id"`
	EventType string     `json:"event_type"`
	Error     string     `json:"error"`
	Attempts  int        `json:"attempts"`
	FailedAt  time.Time  `json:"failed_at"` // the first attempt
	RetryAt   *time.Time `json:"retry_at"`  // the next attempt; nil while paused
}

// retryDue says in SQL that a failed subscriber is to try again: when it is time, or when the database's clock has jumped
// back behind the last attempt, as the time may be far off then.
const retryDue = `(retry_at <= now() OR updated_at > clock_timestamp())`

// maxErrorText bounds the text of an error that is kept, in bytes.
const maxErrorText = 2000

// errorText is an error's text as it can be stored.
func errorText(err error) string {
	text := err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "�")
}

// errCheckpointMoved: somebody else moved the checkpoint in the meantime.
var errCheckpointMoved = errors.New("the checkpoint was moved by somebody else")

// transient reports whether an error says nothing of the event: the database or the event store can't be reached or is
// overloaded, or the work was cancelled. Such a page is tried again whole.
func transient(err error) bool {
	for _, target := range [...]error{
		context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF,
		io.ErrUnexpectedEOF, net.ErrClosed, errCheckpointMoved, errNotApplied,
		eventstore.ErrOverloaded, eventstore.ErrUnavailable, eventstore.ErrOutcomeUnknown, eventstore.ErrLogBehind,
		eventstore.ErrClosed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	var network net.Error
	if errors.As(err, &network) {
		return true
	}
	var answered *pq.Error
	if !errors.As(err, &answered) {
		return false
	}
	switch answered.Code.Class() {
	case "08", // connection
		"25", // transaction state, such as read-only after a failover
		"40", // deadlock, serialization
		"53", // resources
		"57", // shutdown, cancel
		"58": // system
		return true
	}
	return answered.Code == "55P03" // lock not available
}
