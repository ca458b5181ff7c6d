package domaintest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
)

// -update writes the golden files that are missing and those of today's event versions. Golden events of earlier
// versions and golden states are never overwritten.
var update = flag.Bool("update", false, "write golden files")

// Golden is an example of an event with the schema version it is kept in. Event is always today's value.
type Golden struct {
	Version int // 0: today's
	Event   domain.Event
}

// Today gives goldens in today's schema version.
func Today(events ...domain.Event) []Golden {
	goldens := make([]Golden, len(events))
	for i, e := range events {
		goldens[i] = Golden{Event: e}
	}
	return goldens
}

// GoldenEvents keeps one example of each version of each event in testdata/events/<type>.v<N>.json. Every version must
// decode, through the upcasters, to its golden's value, and today's must encode to the file's bytes. Each version of each
// event of the definition needs exactly one golden.
func GoldenEvents(t T, definition domain.Definition, goldens ...Golden) {
	t.Helper()
	goldenFiles{t: t, dir: "testdata", update: *update}.events(definition, goldens)
}

// GoldenStates keeps the states that the goldens lead to, one after another, in
// testdata/states/<aggregate>.v<StateVersion>.json. A change of Evolve or of the state's shape makes stored snapshots
// wrong, so it fails until StateVersion is raised.
func GoldenStates(t T, definition domain.Definition, goldens ...Golden) {
	t.Helper()
	goldenFiles{t: t, dir: "testdata", update: *update}.states(definition, goldens)
}

type goldenFiles struct {
	t      T
	dir    string
	update bool
}

type eventVersion struct {
	eventType string
	version   int
}

func (g goldenFiles) events(definition domain.Definition, goldens []Golden) {
	g.t.Helper()
	registry, err := domain.NewRegistry(definition)
	if err != nil {
		g.t.Fatalf("registry: %v", err)
	}
	missing := make(map[eventVersion]bool)
	for _, d := range definition.Events {
		for v := 1; v <= d.SchemaVersion; v++ {
			missing[eventVersion{d.Type, v}] = true
		}
	}
	for _, golden := range goldens {
		key := eventVersion{golden.Event.EventType(), golden.Version}
		d, _ := registry.EventDefinition(key.eventType)
		if key.version == 0 {
			key.version = d.SchemaVersion
		}
		if !missing[key] {
			g.t.Fatalf("%s version %d isn't registered, or has two goldens", key.eventType, key.version)
		}
		delete(missing, key)
		g.event(registry, key, key.version == d.SchemaVersion, golden.Event)
	}
	for key := range missing {
		g.t.Errorf("%s version %d has no golden", key.eventType, key.version)
	}
}

func (g goldenFiles) event(registry *domain.Registry, key eventVersion, today bool, event domain.Event) {
	g.t.Helper()
	path := filepath.Join(g.dir, "events", fmt.Sprintf("%s.v%d.json", key.eventType, key.version))
	if today {
		encoded, err := registry.Encode(event)
		if err != nil {
			g.t.Fatalf("encode: %v", err)
		}
		want := append(encoded.Data, '\n')
		if g.update {
			g.write(path, want)
		}
		if got := g.read(path); !bytes.Equal(got, want) {
			g.t.Errorf("%s is written differently now. Events are kept for ever: raise its schema version with an "+
				"upcaster in DefineEvent and add a golden for version %d instead.\nfile: %snow:  %s",
				key.eventType, key.version+1, got, want)
			return
		}
	}
	decoded, err := registry.Decode(key.eventType, key.version, g.read(path))
	if err != nil {
		g.t.Errorf("%s: %v", path, err)
		return
	}
	if diff := cmp.Diff(event, decoded); diff != "" {
		g.t.Errorf("%s reads as another event (-want +got):\n%s", path, diff)
	}
}

func (g goldenFiles) states(definition domain.Definition, goldens []Golden) {
	g.t.Helper()
	aggregate := definition.Aggregate
	state := aggregate.InitialState()
	lines := [][]byte{g.line("initial", state)}
	for _, golden := range goldens {
		var err error
		if state, err = aggregate.EvolveState(state, golden.Event); err != nil {
			g.t.Fatalf("evolve: %v", err)
		}
		lines = append(lines, g.line(golden.Event.EventType(), state))
	}
	now := slices.Concat([]byte("[\n"), bytes.Join(lines, []byte(",\n")), []byte("\n]\n"))
	name, version := aggregate.AggregateType(), aggregate.SnapshotVersion()
	path := filepath.Join(g.dir, "states", fmt.Sprintf("%s.v%d.json", name, version))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && g.update {
		g.write(path, now)
	}
	if got := g.read(path); !bytes.Equal(got, now) {
		g.t.Errorf("the states of aggregate %s are not those of state version %d any more, and snapshots in that version "+
			"may be stored: raise StateVersion to %d, then run the test with -update and keep both files. (Only when "+
			"version %d was never released, or when nothing but the goldens changed: delete %s instead.)\n%s",
			name, version, version+1, version, path, cmp.Diff(string(got), string(now)))
	}
}

// line writes one state on a line of its own, so that a difference names the event.
func (g goldenFiles) line(after string, state any) []byte {
	g.t.Helper()
	data, err := json.Marshal(struct {
		After string `json:"after"`
		State any    `json:"state"`
	}{after, state})
	if err != nil {
		g.t.Fatalf("state after %s: %v", after, err)
	}
	return data
}

func (g goldenFiles) read(path string) []byte {
	g.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatalf("%v; run the test with -update to write the files of today's versions", err)
	}
	return data
}

func (g goldenFiles) write(path string, data []byte) {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatalf("%v", err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		g.t.Fatalf("%v", err)
	}
}
