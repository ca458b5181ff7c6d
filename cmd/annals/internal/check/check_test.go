package check_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"annals/cmd/annals/internal/check"
	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/projectionstest"
)

// A lamp was made in version 1 without a colour. One that is dropped can't be folded.
type (
	lampEvent interface {
		domain.Event
		lamp()
	}
	made struct {
		Watts  int64  `json:"watts"`
		Colour string `json:"colour"`
	}
	madeFormerly struct {
		Watts int64 `json:"watts"`
	}
	lit struct {
		By string `json:"by,omitempty"`
	}
	dropped struct {
		From []int64 `json:"from"`
	}
	cast struct {
		Note string `json:"note"`
	}
)

func (made) EventType() string    { return "lamp.made" }
func (lit) EventType() string     { return "lamp.lit" }
func (dropped) EventType() string { return "lamp.dropped" }
func (cast) EventType() string    { return "lamp.cast" }
func (made) lamp()                {}
func (lit) lamp()                 {}
func (dropped) lamp()             {}
func (cast) lamp()                {}

type lampState struct{ Watts, Lit int64 }

var lamp = &domain.Aggregate[lampState, struct{}, lampEvent]{
	Type: "lamp", StateVersion: 1,
	Initial: func() lampState { return lampState{} },
	Decide:  func(lampState, struct{}) ([]lampEvent, error) { return nil, nil },
	Evolve: func(s lampState, event lampEvent) lampState {
		switch e := event.(type) {
		case made:
			s.Watts = e.Watts
		case lit:
			if s.Watts == 0 && e.By != "" {
				panic("lit before it was made")
			}
			s.Lit++
		case dropped:
			if e.From != nil { // the zero event is folded when it is registered
				s.Watts = e.From[1]
			}
		}
		return s
	},
}

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	explode := func([]byte) ([]byte, error) { panic("this upcaster takes nothing") }
	defineMade := domain.DefineEvent[made](domain.AddMember("colour", `"white"`)).Formerly(madeFormerly{})
	r, err := domain.NewRegistry(domain.Definition{Aggregate: lamp, Events: []domain.EventDefinition{
		defineMade, domain.DefineEvent[lit](), domain.DefineEvent[dropped](),
		domain.DefineEvent[cast](explode).Formerly(cast{}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// log writes events of lamps and gives a reader of them. An entry is like "1/2 lamp.lit/1 {}": stream and version, type and schema version, data.
func log(t testing.TB, entries ...string) *eventstore.Reader {
	t.Helper()
	db := pgtest.New(t)
	events := make([]projections.Event, len(entries))
	for i, entry := range entries {
		var stream, schema int
		var version int64
		var name string
		head, data, _ := strings.Cut(entry, " {")
		head = strings.ReplaceAll(head, "/", " ")
		if _, err := fmt.Sscan(head, &stream, &version, &name, &schema); err != nil {
			t.Fatal(entry, err)
		}
		fact := projectionstest.Record(t, registry(t), int64(i), projectionstest.Fact{
			Stream: projectionstest.StreamID(stream), Event: lit{},
		})[0]
		fact.EventType, fact.SchemaVersion, fact.AggregateVersion, fact.Data = name, schema, version, []byte("{"+data)
		events[i] = fact
	}
	projectionstest.Insert(t, db.DB, events...)
	pool, err := eventstore.OpenDB(db.DSN, eventstore.RoleApp, 2, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return eventstore.NewReader(projectionstest.Tenants(t, db.DSN), pool)
}

func run(t testing.TB, log *eventstore.Reader, o check.Options) check.Report {
	t.Helper()
	report, err := check.Run(context.Background(), log, registry(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

const white = ` lamp.made/2 {"watts":60,"colour":"white"}`

func TestWholeLog(t *testing.T) {
	t.Parallel()
	report := run(t, log(t, "1/1"+white, `2/1 lamp.made/1 {"watts":5}`, `1/2 lamp.lit/1 {}`, `2/2 lamp.lit/1 {}`), check.Options{})
	if report.Events != 4 || report.Failed != 0 || report.Unfolded != 0 || report.From != 1 || report.Until != 4 ||
		len(report.Types) != 2 || report.Types[1].Events != 2 || report.Types[1].First != nil || report.EventsPerSecond <= 0 {
		t.Errorf("%+v", report)
	}
}

func TestBrokenEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entry, says string
		others      int64 // of the stream, which can't be folded after it
	}{
		"an unknown type":          {`1/2 lamp.sold/1 {}`, "unknown event: lamp.sold", 1},
		"a version of the future":  {`1/2 lamp.lit/2 {}`, "schema version 2", 1},
		"version zero":             {`1/2 lamp.lit/0 {}`, "schema version 0", 1},
		"a member of another type": {`1/2 lamp.made/2 {"watts":"60","colour":"white"}`, "/watts", 1},
		"a member missing":         {`1/2 lamp.made/2 {"watts":60}`, "colour", 1},
		"one missing in version 1": {`1/2 lamp.made/1 {}`, "schema of version 1", 1},
		"a member that is unknown": {`1/2 lamp.lit/1 {"with":"me"}`, "with", 1},
		"a fold that panics":       {`1/2 lamp.dropped/1 {"from":[1]}`, "panics: runtime error: index out of range", 1},
		"an upcaster that panics":  {`1/2 lamp.cast/1 {"note":"x"}`, "decoding panics: this upcaster", 1},
		"a version left out":       {`1/3 lamp.lit/1 {}`, "version 3 of stream", 0},
		"a stream without a start": {`3/2 lamp.lit/1 {}`, "follows version 0", -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries := []string{"1/1" + white, c.entry}
			if c.others == 1 {
				entries = append(entries, `1/3 lamp.lit/1 {}`)
			}
			report := run(t, log(t, append(entries, "2/1"+white)...), check.Options{})
			if report.Failed != 1 || report.Unfolded != max(c.others, 0) || report.Events != int64(len(entries)+1) {
				t.Fatalf("%+v", report)
			}
			for _, found := range report.Types {
				if found.First == nil {
					continue
				}
				if found.First.Position != 2 || found.Failed != 1 || found.First.EventID.IsZero() ||
					!strings.Contains(found.First.Error, c.says) || strings.Contains(found.First.Error, "\n") {
					t.Errorf("%+v, want %q", found.First, c.says)
				}
			}
		})
	}
}

// The first failure of each type is told, and how many there are.
func TestFirstFailurePerType(t *testing.T) {
	t.Parallel()
	report := run(t, log(t, `1/1 lamp.made/2 {}`, `2/1 lamp.made/2 {"watts":1}`, "3/1"+white, `3/2 lamp.lit/1 {"x":1}`), check.Options{})
	if len(report.Types) != 2 || report.Types[0].First.Position != 4 || report.Types[1].First.Position != 1 ||
		report.Types[1].Failed != 2 || report.Types[1].Events != 3 || report.Failed != 3 {
		t.Errorf("%+v", report)
	}
}

func TestGapInTheLog(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	events := projectionstest.Record(t, registry(t), 0, projectionstest.Fact{Stream: projectionstest.StreamID(1),
		Event: made{Watts: 1, Colour: "red"}}, projectionstest.Fact{Stream: projectionstest.StreamID(1), Event: lit{}},
		projectionstest.Fact{Stream: projectionstest.StreamID(2), Event: made{Watts: 1, Colour: "red"}})
	projectionstest.Insert(t, db.DB, events[0], events[2])
	pool, err := eventstore.OpenDB(db.DSN, eventstore.RoleApp, 2, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	report := run(t, eventstore.NewReader(projectionstest.Tenants(t, db.DSN), pool), check.Options{})
	if report.Failed != 1 || !strings.Contains(report.Types[0].First.Error, "position 3 follows position 1") {
		t.Errorf("%+v", report)
	}
}

// The states that are kept are bounded, and what isn't kept is folded anew: nothing depends on it, nor on where the check
// begins, nor on how many decode.
func TestStreamsInterleave(t *testing.T) {
	t.Parallel()
	const streams, rounds = 7, 5
	var entries []string
	for round := range rounds {
		for stream := range streams {
			entry := fmt.Sprintf(`%d/%d lamp.lit/1 {"by":"me"}`, stream, round+1)
			if round == 0 {
				entry = fmt.Sprintf("%d/1", stream) + white
			}
			if round == 2 && stream == 3 {
				entry = `3/3 lamp.lit/1 {"broken":true}`
			}
			entries = append(entries, entry)
		}
	}
	reader := log(t, entries...)
	for name, o := range map[string]check.Options{
		"all kept":   {},
		"two kept":   {Streams: 2},
		"no memory":  {Bytes: 1},
		"one worker": {Workers: 1, Streams: 1},
		"many":       {Workers: 8, Streams: 3},
	} {
		report := run(t, reader, o)
		if report.Events != streams*rounds || report.Failed != 1 || report.Unfolded != 2 {
			t.Errorf("%s: %+v", name, report)
		}
	}
	// From the fourth round on, the stream that is broken is so because of an event before.
	var told []int64
	part := run(t, reader, check.Options{From: 3*streams + 1, Until: 4 * streams, Progress: func(position, until int64) {
		told = append(told, position, until)
	}})
	if part.Events != streams || part.Failed != 0 || part.Unfolded != 1 || len(told) != 2 || told[0] != 4*streams || told[1] != told[0] {
		t.Errorf("%+v, progress %v", part, told)
	}
}
