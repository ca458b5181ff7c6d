// Package projections drives the subscribers of the log: read models, policies and the sealer. A read model is derived
// from the events alone and can be thrown away and rebuilt.
package projections

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"time"

	"annals/domain"
	"annals/eventstore"
)

// Kind says what a subscriber does with events.
type Kind string

// The kinds of subscribers.
const (
	KindReadModel Kind = "read_model" // writes rows; can be rebuilt
	KindPolicy    Kind = "policy"     // issues commands; never replayed
	KindSealer    Kind = "sealer"     // seals the Merkle log
)

// Spec describes a subscriber. Name and Version identify it: a new version has tables of its own and starts from the
// beginning of the log.
type Spec struct {
	Name    string // snake_case
	Version int
	Kind    Kind
	// Synchronous: the answer to a command waits, within a bound, until this subscriber has applied its events.
	Synchronous bool
	// EventTypes are the types the subscriber wants; nil means every type.
	EventTypes []string
	// Raw: the subscriber reads Data as it was recorded. Payload stays nil, and an event that this program can't decode
	// doesn't stop it.
	Raw bool
	// Lean: the subscriber doesn't read who caused an event: EventID, ActorID, RecordedAt, CorrelationID, CausationID,
	// RequestID and Metadata. They are left out of what it is given, which makes pages half as large.
	Lean bool
	// Pause is how long the subscriber waits, at least, before it looks at the log again after a page that wasn't full. Zero:
	// it waits only under load (Config.LoadPause).
	Pause time.Duration
	// DDL makes the read model's tables. It is run with the schema as the only one on the search path, so it names its
	// tables without one. Only tables and indexes: no views, foreign keys, sequences. CreateTables adds row-level security
	// on client_id and the grants.
	DDL string
}

// Schema is the schema that serves the read model's rows.
func (s Spec) Schema() string { return fmt.Sprintf("rm_%s_v%d", s.Name, s.Version) }

// BuildSchema is the schema in which a rebuild prepares the next rows.
func (s Spec) BuildSchema() string { return fmt.Sprintf("build_%s_v%d", s.Name, s.Version) }

var specName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// Validate refuses a spec that can't be run.
func (s Spec) Validate() error {
	switch {
	case !specName.MatchString(s.Name):
		return fmt.Errorf("projection name %q must be snake_case, at most 40 characters", s.Name)
	case s.Version < 1:
		return fmt.Errorf("projection %s: the version must be 1 or more", s.Name)
	case s.Kind != KindReadModel && s.Kind != KindPolicy && s.Kind != KindSealer:
		return fmt.Errorf("projection %s: unknown kind %q", s.Name, s.Kind)
	case s.Kind == KindSealer && (!s.Raw || s.Lean || s.EventTypes != nil):
		return fmt.Errorf("projection %s: a sealer takes every event as it was recorded", s.Name)
	case s.Kind == KindReadModel && s.DDL == "":
		return fmt.Errorf("projection %s: a read model needs DDL", s.Name)
	}
	return nil
}

// Event is a recorded event with its payload decoded to today's type (nil for a Raw subscriber).
type Event struct {
	eventstore.Envelope
	Payload domain.Event
	Seal    Seal // given to the sealer alone
}

// Seal is what the sealer needs of an event beside its envelope.
type Seal struct {
	LeafVersion            int
	DataSalt, MetadataSalt []byte
}

// Page is a run of the log: every event with From < position <= To that the subscriber wants, in order. Rows a projector
// writes must not depend on where pages begin and end.
type Page struct {
	From, To int64
	Events   []Event
}

// Executor is what a projector may do with the database.
type Executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Tx is the transaction that also advances the subscriber's checkpoint. Schema is where the tables are: the serving
// schema when live, another one while rebuilding. Statements name tables through Table.
type Tx struct {
	Executor
	Schema string
}

// Table gives the qualified name of one of the read model's tables.
func (tx Tx) Table(name string) string { return tx.Schema + "." + name }

// Projector is a read model's write side.
type Projector interface {
	Spec() Spec
	// Apply writes what the page's events mean, in the transaction that advances the checkpoint. It may be called again
	// with the same page after a rollback. It reads no clock, no random source and nothing outside the schema. The page
	// and its events are valid until it returns; payloads may be kept.
	Apply(ctx context.Context, tx Tx, page Page) error
}

// Bulk is implemented by projectors that can be rebuilt faster than page by page: the helpers Fold and Journal do.
// They look rows up by unique keys alone: a rebuild makes the other indexes after the bulk.
type Bulk interface {
	Projector
	// NewBuild starts a build. One build serves one goroutine. Its first page has From 0 when the tables are empty, another
	// From when it goes on with tables that an earlier build wrote.
	NewBuild() Build
}

// Build collects a rebuild in memory and merges it into the tables at intervals.
type Build interface {
	// Add applies one page, in memory. tx, which is that of the next Merge, is for rows that are no longer in memory, and for
	// those that needn't be kept there.
	Add(ctx context.Context, tx Tx, page Page) error
	// Merge writes everything that Add changed and that isn't written.
	Merge(ctx context.Context, tx Tx) error
}

// PolicyHandler is a policy: event → command. It holds no transaction; commands carry a key derived from the cause, so
// that a page handled twice takes effect once.
type PolicyHandler interface {
	Spec() Spec
	Handle(ctx context.Context, page Page) error
}

// EventTypesOf lists the event types of aggregates, for a subscriber that wants all of them.
func EventTypesOf(definitions ...domain.Definition) []string {
	var types []string
	for _, d := range definitions {
		for _, e := range d.Events {
			types = append(types, e.Type)
		}
	}
	return types
}
