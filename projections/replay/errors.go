package replay

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// Reasons for which a rebuild doesn't start or doesn't end.
var (
	// ErrAlreadyBuilding: another process or operator rebuilds this version of the projection.
	ErrAlreadyBuilding = errors.New("the projection is being rebuilt already")
	// ErrNotReadModel: only read models can be rebuilt; a replay never drives a policy.
	ErrNotReadModel = errors.New("only a read model can be rebuilt")
	// ErrUnknownProjection: no projector has that name.
	ErrUnknownProjection = errors.New("there is no projection of that name")
	// ErrBeyondHead: a position after the end of the log was asked for.
	ErrBeyondHead = errors.New("the position is beyond the end of the log")
	// ErrNoLiveTables: there is nothing to compare with, because the projection has never run.
	ErrNoLiveTables = errors.New("the projection has no live tables")
	// ErrPoolTooSmall: the connection pool allows fewer than two connections.
	ErrPoolTooSmall = errors.New("a rebuild needs a pool of at least two connections")
	// ErrManagerClosed: the manager's context has ended.
	ErrManagerClosed = errors.New("no more rebuilds are started: the program is shutting down")
)

// errSkipsChanged: an operator skipped an event that the build has applied. The build starts over.
var errSkipsChanged = errors.New("the skipped events changed during the build")

// errGap: the log has grown by more than a page since the build caught up.
var errGap = errors.New("the build is more than a page behind")

// EventError says which event a rebuild failed at. The live tables are untouched; the build resumes before the event
// once the program can apply it or an operator has skipped it.
type EventError struct {
	// From and To enclose the event: From < position <= To. To is the event's position when From is To-1.
	From, To int64
	Err      error
}

// Error implements error.
func (e *EventError) Error() string {
	if e.From == e.To-1 {
		return fmt.Sprintf("event %d: %v", e.To, e.Err)
	}
	return fmt.Sprintf("events %d to %d: %v", e.From+1, e.To, e.Err)
}

// Unwrap gives the cause.
func (e *EventError) Unwrap() error { return e.Err }

// ShapeError says that the live and the rebuilt tables can't be compared because they have other columns or keys. The
// DDL was changed without a new version.
type ShapeError struct {
	Table  string
	Detail string
}

// Error implements error.
func (e *ShapeError) Error() string { return fmt.Sprintf("table %s: %s", e.Table, e.Detail) }

// eventFailure blames events for a projector's error, unless it is the database's: then trying again may succeed.
func eventFailure(from, to int64, err error) error {
	var refused *pq.Error
	if errors.As(err, &refused) {
		switch refused.Code.Class() {
		case "08", "25", "40", "53", "55", "57", "58", "XX":
			return fmt.Errorf("apply events %d to %d: %w", from+1, to, err)
		}
	}
	var network net.Error
	if errors.Is(err, driver.ErrBadConn) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("apply events %d to %d: %w", from+1, to, err)
	}
	return &EventError{From: from, To: to, Err: err}
}

// lockRefused reports whether a statement gave up waiting for a lock. Nothing was changed, and trying again may succeed.
func lockRefused(err error) bool {
	var e *pq.Error
	return errors.As(err, &e) && (e.Code == pqerror.LockNotAvailable || e.Code == pqerror.TRDeadlockDetected)
}
