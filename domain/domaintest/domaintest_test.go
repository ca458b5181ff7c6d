package domaintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"annals/domain"
)

// The note is an aggregate whose rules a test can break.

type noteEvent interface {
	domain.Event
	noteEvent()
}

type written struct {
	Text string `json:"text"`
	By   string `json:"by"`
}

type erased struct{}

func (written) EventType() string { return "note.written" }
func (erased) EventType() string  { return "note.erased" }
func (written) noteEvent()        {}
func (erased) noteEvent()         {}

type noteState struct {
	Texts []string `json:"texts"`
}

type write struct{ text string }

var note = &domain.Aggregate[noteState, write, noteEvent]{
	Type: "note", StateVersion: 1,
	Initial: func() noteState { return noteState{Texts: []string{}} },
	Decide: func(s noteState, c write) ([]noteEvent, error) {
		switch c.text {
		case "":
			return nil, domain.Invalid("/text", "is required")
		case "same":
			return nil, nil
		case "panic":
			return nil, errors.New("not a refusal")
		}
		return []noteEvent{written{Text: c.text}}, nil
	},
	Evolve: func(s noteState, event noteEvent) noteState {
		if e, ok := event.(written); ok {
			s.Texts = append(s.Texts[:len(s.Texts):len(s.Texts)], e.Text)
		}
		return s
	},
}

func noteDefinition() domain.Definition {
	return domain.Definition{Aggregate: note, Events: []domain.EventDefinition{
		domain.DefineEvent[written](domain.AddMember("by", `"unknown"`)), domain.DefineEvent[erased](),
	}}
}

// recorder is a test that remembers how it failed. Fatalf ends it by a panic, which failure catches.
type recorder struct{ messages []string }

type stop struct{}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(stop{})
}

// failure gives what a test reports, or "" when it passes.
func failure(test func(T)) (messages string) {
	r := &recorder{}
	defer func() {
		if p := recover(); p != nil && p != any(stop{}) {
			panic(p)
		}
		messages = strings.Join(r.messages, "\n")
	}()
	test(r)
	return ""
}

func wantFailure(t *testing.T, want string, test func(T)) {
	t.Helper()
	got := failure(test)
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestScenarioJudges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want string
		test       func(T)
	}{
		{"the events", "", func(t T) { Given(t, note).When(write{"a"}).Then(written{Text: "a"}) }},
		{"other events", "other events", func(t T) { Given(t, note).When(write{"a"}).Then(written{Text: "b"}) }},
		{"an event too many", "other events", func(t T) { Given(t, note).When(write{"a"}).ThenNothing() }},
		{"an event too few", "other events", func(t T) { Given(t, note).When(write{"same"}).Then(erased{}) }},
		{"nothing", "", func(t T) { Given(t, note).When(write{"same"}).ThenNothing() }},
		{"refused instead", "refused", func(t T) { Given(t, note).When(write{""}).ThenNothing() }},
		{"the refusal", "", func(t T) { Given(t, note).When(write{""}).ThenRefused(domain.CodeValidation, "/text") }},
		{"other pointers", "other pointers", func(t T) { Given(t, note).When(write{""}).ThenRefused(domain.CodeValidation) }},
		{"another code", "want a refusal", func(t T) { Given(t, note).When(write{""}).ThenRefused(domain.CodeNotFound) }},
		{"not refused", "want a refusal", func(t T) { Given(t, note).When(write{"a"}).ThenRefused(domain.CodeNotFound) }},
		{"no refusal but an error", "want a refusal", func(t T) {
			Given(t, note).When(write{"panic"}).ThenRefused(domain.CodeValidation)
		}},
		{"broken", "", func(t T) { Given(t, note).When(write{"panic"}).ThenBroken() }},
		{"refused, not broken", "isn't a refusal", func(t T) { Given(t, note).When(write{""}).ThenBroken() }},
		{"another aggregate's event", "doesn't belong", func(t T) { Given(t, note, stray{}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, test.want, test.test)
		})
	}
}

type stray struct{}

func (stray) EventType() string { return "note.stray" }

func TestScenarioCatchesChangesInPlace(t *testing.T) {
	t.Parallel()
	evolves := *note
	evolves.Evolve = func(s noteState, _ noteEvent) noteState {
		if len(s.Texts) > 0 {
			s.Texts[0] = "changed"
			return s
		}
		return noteState{Texts: []string{"a"}}
	}
	wantFailure(t, "Evolve by note.written changed the state", func(t T) { Given(t, &evolves, written{}, written{}) })

	decides, answers := *note, 0
	decides.Decide = func(s noteState, _ write) ([]noteEvent, error) {
		s.Texts[0] = "changed"
		return nil, nil
	}
	wantFailure(t, "Decide changed the state", func(t T) { Given(t, &decides, written{Text: "a"}).When(write{}) })

	decides.Decide = func(noteState, write) ([]noteEvent, error) {
		answers++
		return []noteEvent{written{Text: fmt.Sprint(answers)}}, nil
	}
	wantFailure(t, "two answers", func(t T) { Given(t, &decides).When(write{}) })

	decides.Decide = func(noteState, write) ([]noteEvent, error) {
		return []noteEvent{erased{}}, errors.New("x")
	}
	wantFailure(t, "a refusal came with events", func(t T) { Given(t, &decides).When(write{}) })
}

// writeNote is a use case on a new note whose text is unique.
func writeNote(text string) func(context.Context, *domain.UnitOfWork) error {
	return func(_ context.Context, u *domain.UnitOfWork) error {
		n := domain.OpenNew(u, note)
		u.Create(n)
		u.Claim("note.text", text, n.ID(), domain.Refuse(domain.CodeDuplicateName, "taken"))
		_, err := n.Execute(write{text})
		return err
	}
}

// rewrite is a use case on a note that exists.
func rewrite(id domain.ID, oldText, text string) func(context.Context, *domain.UnitOfWork) error {
	return func(ctx context.Context, u *domain.UnitOfWork) error {
		n, err := domain.OpenExisting(ctx, u, note, id)
		if err != nil {
			return err
		}
		if err := u.Target(n); err != nil {
			return err
		}
		u.Release("note.text", oldText, id)
		u.Claim("note.text", text, id, domain.Refuse(domain.CodeDuplicateName, "taken"))
		_, err = n.Execute(write{text})
		return err
	}
}

func TestWorldAppliesAtOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	w := NewWorld(t, noteDefinition())
	out, err := w.Run(writeNote("a"))
	if err != nil || !out.Created || out.Version != 1 || len(out.Events) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	before := w.Dump()
	for name, use := range map[string]func(context.Context, *domain.UnitOfWork) error{
		"a taken claim":  writeNote("a"),
		"a refusal":      rewrite(out.ID, "a", ""),
		"another stream": rewrite(domain.ID{1}, "a", "b"),
	} {
		if _, err := w.Run(use); domain.CodeOf(err) == "" || w.Dump() != before {
			t.Errorf("%s: %v; now %s", name, err, w.Dump())
		}
	}
	_, err = w.RunMatching(&domain.Precondition{Versions: []int64{2}}, rewrite(out.ID, "a", "b"))
	Refused(t, err, domain.CodeVersionMismatch)

	if _, err := w.Run(rewrite(out.ID, "a", "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Run(writeNote("a")); err != nil {
		t.Errorf("a released value is still taken: %v", err)
	}
	state, loaded := Read(w, note, out.ID)
	if len(state.Texts) != 2 || loaded.Version != 2 || loaded.Position != 2 || !loaded.UpdatedAt.Equal(w.Now) {
		t.Errorf("%+v, %+v", state, loaded)
	}
	if ids := w.IDs("note"); len(ids) != 2 || ids[0] != out.ID {
		t.Errorf("ids %v", ids)
	}
	w.Replay()
}

func TestWorldKeepsClientsApart(t *testing.T) {
	t.Parallel()
	w := NewWorld(t)
	out, err := w.Run(writeNote("a"))
	if err != nil {
		t.Fatal(err)
	}
	w.Client = "globex"
	_, err = w.Run(rewrite(out.ID, "a", "b"))
	Refused(t, err, domain.CodeNotFound)
	if _, err := w.Run(writeNote("a")); err != nil {
		t.Errorf("another client's value is taken: %v", err)
	}
}

func TestWorldRefusesTheLoserOfARace(t *testing.T) {
	t.Parallel()
	w := NewWorld(t)
	out, err := w.Run(writeNote("a"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := w.Begin(nil), w.Begin(nil)
	for _, u := range []*domain.UnitOfWork{first, second} {
		if err := rewrite(out.ID, "a", "b")(context.Background(), u); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(first); err != nil {
		t.Fatal(err)
	}
	_, err = w.Commit(second)
	Refused(t, err, domain.CodeConcurrentChange)
}

func TestWorldFailsTheTest(t *testing.T) {
	t.Parallel()
	wantFailure(t, "names no target", func(t T) {
		_, _ = NewWorld(t).Run(func(context.Context, *domain.UnitOfWork) error { return nil })
	})
	wantFailure(t, "doesn't hold", func(t T) {
		w := NewWorld(t)
		out, _ := w.Run(writeNote("a"))
		_, _ = w.Run(rewrite(out.ID, "b", "c"))
	})
	wantFailure(t, "in place", func(t T) {
		w := NewWorld(t)
		out, _ := w.Run(writeNote("a"))
		_, _ = w.Run(func(ctx context.Context, u *domain.UnitOfWork) error {
			n, err := domain.Open(ctx, u, note, out.ID)
			n.State().Texts[0] = "changed"
			return errors.Join(err, errors.New("x"))
		})
	})
	wantFailure(t, "encode", func(t T) {
		d := noteDefinition()
		d.Events = d.Events[1:]
		_, _ = NewWorld(t, d).Run(writeNote("a"))
	})
}

func goldens() []Golden {
	return append(Today(written{Text: "a", By: "b"}, erased{}),
		Golden{Version: 1, Event: written{Text: "a", By: "unknown"}})
}

// kept gives a directory with the golden files of the note.
func kept(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "events/note.written.v1.json", `{"text":"a"}`)
	g := goldenFiles{t: t, dir: dir, update: true}
	g.events(noteDefinition(), goldens())
	g.states(noteDefinition(), goldens())
	return dir
}

func put(t *testing.T, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGoldenEventsJudge(t *testing.T) {
	t.Parallel()
	dir := kept(t)
	check := func(d domain.Definition, goldens []Golden) func(T) {
		return func(t T) { goldenFiles{t: t, dir: dir}.events(d, goldens) }
	}
	wantFailure(t, "", check(noteDefinition(), goldens()))
	wantFailure(t, "note.written version 1 has no golden", check(noteDefinition(), goldens()[:2]))
	wantFailure(t, "has two goldens", check(noteDefinition(), append(goldens(), goldens()[0])))

	noUpcaster := noteDefinition()
	noUpcaster.Events[0] = domain.DefineEvent[written](func(data []byte) ([]byte, error) { return data, nil })
	wantFailure(t, "reads as another event", check(noUpcaster, goldens()))

	raised := noteDefinition()
	raised.Events[1] = domain.DefineEvent[erased](domain.AddMember("by", "null"))
	wantFailure(t, "note.erased.v2.json", check(raised, goldens()))

	put(t, dir, "events/note.written.v2.json", `{"by":"b","text":"a"}`+"\n")
	wantFailure(t, "raise its schema version", check(noteDefinition(), goldens()))
}

func TestGoldenUpdateKeepsThePast(t *testing.T) {
	t.Parallel()
	dir := kept(t)
	put(t, dir, "events/note.written.v1.json", `{"text":"old"}`)
	put(t, dir, "states/note.v1.json", `[]`)
	wantFailure(t, "note.written.v1.json reads as another event", func(t T) {
		goldenFiles{t: t, dir: dir, update: true}.events(noteDefinition(), goldens())
	})
	wantFailure(t, "raise StateVersion to 2", func(t T) {
		goldenFiles{t: t, dir: dir, update: true}.states(noteDefinition(), goldens())
	})
}

func TestGoldenStatesJudge(t *testing.T) {
	t.Parallel()
	dir := kept(t)
	data, err := os.ReadFile(filepath.Join(dir, "states/note.v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []struct{ After string }
	if err := json.Unmarshal(data, &steps); err != nil || len(steps) != 4 || steps[1].After != "note.written" {
		t.Errorf("the golden state is %s, %v", data, err)
	}
	other := *note
	other.Evolve = func(s noteState, e noteEvent) noteState {
		if _, ok := e.(erased); ok {
			return note.Initial()
		}
		return note.Evolve(s, e)
	}
	changed := domain.Definition{Aggregate: &other, Events: noteDefinition().Events}
	check := func(t T) { goldenFiles{t: t, dir: dir}.states(changed, goldens()) }
	wantFailure(t, "raise StateVersion to 2", check)
	other.StateVersion = 2
	wantFailure(t, "run the test with -update", check)
	goldenFiles{t: t, dir: dir, update: true}.states(changed, goldens())
	wantFailure(t, "", check)
}
