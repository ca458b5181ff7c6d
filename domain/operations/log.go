package operations

import (
	"context"

	"annals/domain"
)

// LogEvent is a fact about the log as a whole.
type LogEvent interface {
	domain.Event
	logEvent()
}

// Incarnation names the server and the history that the log lives on. A restore or a promotion makes another one.
type Incarnation struct {
	SystemIdentifier int64 `json:"system_identifier,string"` // of the database cluster; larger than JSON numbers are exact
	Timeline         int64 `json:"timeline"`                 // of its write-ahead log
}

// IncarnationChanged: the log was found on another server or timeline than before.
type IncarnationChanged struct {
	From Incarnation `json:"from"`
	To   Incarnation `json:"to"`
	Head int64       `json:"head"` // of the log when it was found
}

// EventType implements domain.Event.
func (IncarnationChanged) EventType() string { return "log.incarnation_changed" }

func (IncarnationChanged) logEvent() {}

// LogState is what is known of the log.
type LogState struct {
	Incarnation Incarnation `json:"incarnation"` // zero before the first change
}

// NoteIncarnation says where the log is found, and where it was before.
type NoteIncarnation struct {
	Before, Now Incarnation
	Head        int64 // of the log as it is found
}

// Log holds the rules of the log's own stream.
var Log = &domain.Aggregate[LogState, NoteIncarnation, LogEvent]{
	Type:         "log",
	StateVersion: 1,
	Initial:      func() LogState { return LogState{} },
	Decide:       decideLog,
	Evolve:       evolveLog,
}

// decideLog states a change once: the last one recorded counts more than what the caller knew before.
func decideLog(s LogState, c NoteIncarnation) ([]LogEvent, error) {
	before := c.Before
	if s.Incarnation != (Incarnation{}) {
		before = s.Incarnation
	}
	if before == c.Now {
		return nil, nil
	}
	return []LogEvent{IncarnationChanged{From: before, To: c.Now, Head: c.Head}}, nil
}

func evolveLog(s LogState, event LogEvent) LogState {
	if e, ok := event.(IncarnationChanged); ok {
		s.Incarnation = e.To
	}
	return s
}

// RecordIncarnation is the use case: it records where the log is found now, when that is news.
func RecordIncarnation(ctx context.Context, u *domain.UnitOfWork, c NoteIncarnation) error {
	log, err := domain.Open(ctx, u, Log, LogID())
	if err != nil {
		return err
	}
	if err := u.Target(log); err != nil {
		return err
	}
	_, err = log.Execute(c)
	return err
}
