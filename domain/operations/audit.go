package operations

import (
	"context"
	"slices"
	"time"

	"annals/domain"
)

// AuditEvent is a fact about who read the log.
type AuditEvent interface {
	domain.Event
	auditEvent()
}

// Access says what was asked for. Who asked is the event's actor.
type Access struct {
	Client string   `json:"client"` // that was read; "*": every client
	Roles  []string `json:"roles"`  // that the credential gave; empty on the command line
	Route  string   `json:"route"`  // a path's template, or a command line such as "annals events export"
	// Query is the query string without what only leads from page to page (after, cursor, limit), its parameters in the
	// order of their names; on the command line, the flags in the same form.
	Query  string  `json:"query"`
	Format string  `json:"format"` // media type
	Reason *string `json:"reason"` // as the reader gives it
}

// Delivered is what was handed out. FromPosition and ToPosition are the lowest and the highest position; nil without rows.
type Delivered struct {
	Rows         int64  `json:"rows"`
	FromPosition *int64 `json:"from_position"`
	ToPosition   *int64 `json:"to_position"`
}

// Add counts rows that lie between two positions.
func (d *Delivered) Add(rows, from, to int64) {
	if rows == 0 {
		return
	}
	d.Rows += rows
	if d.FromPosition == nil || from < *d.FromPosition {
		d.FromPosition = &from
	}
	if d.ToPosition == nil || to > *d.ToPosition {
		d.ToPosition = &to
	}
}

// LogRead: pages of the log or of the audit log were read. One event stands for all reads of a few seconds that asked for
// the same.
type LogRead struct {
	Access
	Resources []string  `json:"resources"` // the paths that were read, where the route has variables
	Reads     int64     `json:"reads"`     // how many the event stands for
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	Delivered
}

// ExportStarted: everything that a filter selects, or a stream of what comes, is about to be handed out.
type ExportStarted struct {
	Access
	Resource string `json:"resource"` // the path; the route where it has no variables
	After    int64  `json:"after"`    // the position, or of one stream the version, after which it begins
	UpTo     *int64 `json:"up_to"`    // the last position it may hold; nil: no position ends it
}

// Exported: an export has ended.
type Exported struct {
	Access
	Resource  string    `json:"resource"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Delivered
	// Complete: all that was asked for was handed out. A stream of what comes is complete only when it ended by its limit.
	Complete bool `json:"complete"`
}

// EventType implements domain.Event.
func (LogRead) EventType() string { return "audit.read" }

// EventType implements domain.Event.
func (ExportStarted) EventType() string { return "audit.export_started" }

// EventType implements domain.Event.
func (Exported) EventType() string { return "audit.exported" }

func (LogRead) auditEvent()       {}
func (ExportStarted) auditEvent() {}
func (Exported) auditEvent()      {}

// AuditState is what is known of one reader's day, or of one export.
type AuditState struct {
	Client  string `json:"client"`
	Reads   int64  `json:"reads"`
	Rows    int64  `json:"rows"`
	Started bool   `json:"started"` // an export
	Ended   bool   `json:"ended"`
}

// AuditCommand records reading.
type AuditCommand interface {
	decide(AuditState) ([]AuditEvent, error)
}

// RecordReads records reads of one reader, client and day.
type RecordReads struct{ Reads []LogRead }

// StartExport records that an export begins. It is recorded once.
type StartExport struct{ Export ExportStarted }

// EndExport records that an export has ended. It is recorded once.
type EndExport struct{ Export Exported }

func (c RecordReads) decide(AuditState) ([]AuditEvent, error) {
	events := make([]AuditEvent, len(c.Reads))
	for i, read := range c.Reads {
		events[i] = read
	}
	return events, nil
}

func (c StartExport) decide(s AuditState) ([]AuditEvent, error) {
	if s.Started {
		return nil, nil
	}
	return []AuditEvent{c.Export}, nil
}

func (c EndExport) decide(s AuditState) ([]AuditEvent, error) {
	if s.Ended {
		return nil, nil
	}
	return []AuditEvent{c.Export}, nil
}

// Audit holds the rules of recording who read the log. A stream is one reader's day on one client (AuditDayID), or one
// export, so that none grows without bound.
var Audit = &domain.Aggregate[AuditState, AuditCommand, AuditEvent]{
	Type:         "audit",
	StateVersion: 1,
	Initial:      func() AuditState { return AuditState{} },
	Decide:       func(s AuditState, c AuditCommand) ([]AuditEvent, error) { return c.decide(s) },
	Evolve:       evolveAudit,
}

func evolveAudit(s AuditState, event AuditEvent) AuditState {
	switch e := event.(type) {
	case LogRead:
		s.Client, s.Reads, s.Rows = e.Client, s.Reads+e.Reads, s.Rows+e.Rows
	case ExportStarted:
		s.Client, s.Started = e.Client, true
	case Exported:
		s.Client, s.Ended, s.Rows = e.Client, true, e.Rows
	}
	return s
}

// Bounds of the paths that one event names: how many, and their bytes together.
const (
	MaxAuditResources     = 100
	MaxAuditResourceBytes = 16 << 10
)

// Merge adds a later read of the same access. ok is false when the event would name too many resources, or too long ones.
func (r *LogRead) Merge(later LogRead) (ok bool) {
	resources := r.Resources
	for _, resource := range later.Resources {
		if !slices.Contains(resources, resource) {
			resources = append(resources, resource)
		}
	}
	size := 0
	for _, resource := range resources {
		size += len(resource)
	}
	if len(resources) > MaxAuditResources || size > MaxAuditResourceBytes {
		return false
	}
	r.Resources, r.Reads, r.LastAt = resources, r.Reads+later.Reads, later.LastAt
	if later.Rows > 0 {
		r.Add(later.Rows, *later.FromPosition, *later.ToPosition)
	}
	return true
}

// RecordAudit is the use case: it records reading in a stream.
func RecordAudit(ctx context.Context, u *domain.UnitOfWork, stream domain.ID, c AuditCommand) error {
	audit, err := domain.Open(ctx, u, Audit, stream)
	if err != nil {
		return err
	}
	if err := u.Target(audit); err != nil {
		return err
	}
	_, err = audit.Execute(c)
	return err
}
