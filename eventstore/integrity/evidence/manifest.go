package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/integrity"
)

// Format names the form of a bundle.
const Format = "annals-evidence/1"

// Names of the files of a bundle.
const (
	manifestFile   = "manifest.json"
	checkpointFile = "checkpoint.note"
	keysFile       = "keys.json"
	eventsFile     = "events.ndjson"
	notesDir       = "notes"
)

// Manifest says what a bundle is of. Nothing signs it: who verifies the bundle checks it against the events.
type Manifest struct {
	Format    string    `json:"format"`
	Origin    string    `json:"origin"`   // the log's name
	Size      int64     `json:"size"`     // of the tree of checkpoint.note
	From      int64     `json:"from"`     // first position selected
	To        int64     `json:"to"`       // last position selected
	Filter    *Filter   `json:"filter"`   // null: every event from From to To
	Scope     string    `json:"scope"`    // the same for people
	Events    int64     `json:"events"`   // lines of events
	Payloads  bool      `json:"payloads"` // false: data and metadata were left out of every event
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"` // the program
}

// Filter is what events of a bundle have in common. Empty members select everything.
type Filter struct {
	Client        string     `json:"client_id,omitempty"`
	EventTypes    []string   `json:"event_types,omitempty"`
	AggregateType string     `json:"aggregate_type,omitempty"`
	AggregateID   *domain.ID `json:"aggregate_id,omitempty"`
	ActorID       string     `json:"actor_id,omitempty"`
	Since         *time.Time `json:"since,omitempty"`  // of occurred_at, inclusive
	Before        *time.Time `json:"before,omitempty"` // exclusive
}

// filterOf gives a selection's filter; nil: it has none but its positions.
func filterOf(s integrity.Selection) *Filter {
	f := Filter{EventTypes: s.EventTypes, AggregateType: s.AggregateType, AggregateID: s.AggregateID, ActorID: s.ActorID}
	if s.Client != eventstore.AllClients {
		f.Client = s.Client
	}
	if !s.Since.IsZero() {
		f.Since = &s.Since
	}
	if !s.Before.IsZero() {
		f.Before = &s.Before
	}
	if f.Client == "" && len(f.EventTypes) == 0 && f.AggregateType == "" && f.AggregateID == nil && f.ActorID == "" &&
		f.Since == nil && f.Before == nil {
		return nil
	}
	return &f
}

// selection is what the manifest says was selected.
func (m *Manifest) selection() integrity.Selection {
	s := integrity.Selection{Client: eventstore.AllClients, From: m.From, To: m.To}
	if f := m.Filter; f != nil {
		s.EventTypes, s.AggregateType, s.AggregateID, s.ActorID = f.EventTypes, f.AggregateType, f.AggregateID, f.ActorID
		if f.Client != "" {
			s.Client = f.Client
		}
		if f.Since != nil {
			s.Since = *f.Since
		}
		if f.Before != nil {
			s.Before = *f.Before
		}
	}
	return s
}

// scope says what the bundle can prove and what it can't.
func (m *Manifest) scope() string {
	positions := fmt.Sprintf("positions %d to %d of %d", m.From, m.To, m.Size)
	if m.Filter == nil {
		return "every event, " + positions + ": positions have no gaps, so none is missing"
	}
	return "selected events, " + positions + ": each is proved to be in the log, but not that no other fits the selection"
}

// check refuses what no exporter writes.
func (m *Manifest) check() error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("%w: the manifest's format is %.40q, and this program knows %q", ErrBundle, m.Format, Format)
	case m.Size < 1 || m.From < 1 || m.To > m.Size || m.From > m.To || m.Events < 0 || m.Events > m.To-m.From+1:
		return fmt.Errorf("%w: the manifest's positions contradict each other", ErrBundle)
	case m.Filter == nil && m.Events != m.To-m.From+1:
		return fmt.Errorf("%w: the manifest promises every event from %d to %d, and %d of them", ErrBundle, m.From, m.To, m.Events)
	}
	return nil
}

// maxFile bounds the files of a bundle but for the events.
const maxFile = 64 << 20

// errAbsent says that a bundle lacks a file: it is cut short.
var errAbsent = errors.New("a file is missing")

// readFile reads one of the small files.
func readFile(bundle fs.FS, name string, max int64) ([]byte, error) {
	f, err := bundle.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", errAbsent, name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrBundle, name, max)
	}
	return data, nil
}

// parseStrict reads one JSON value without members that it doesn't know.
func parseStrict(data []byte, into any) error {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is more than one value", ErrBundle)
	}
	return nil
}
