package domain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
)

func lampRegistry(t *testing.T) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(lampDefinition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCodecReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	r := lampRegistry(t)
	for _, e := range []domain.Event{
		lampMade{Label: `<&> " é` + "\u2028", Watts: 1<<63 - 1, Note: ptr("n")},
		lampMade{},
		lampSwitched{On: true},
	} {
		encoded, err := r.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Decode(encoded.Type, encoded.SchemaVersion, encoded.Data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s reads as another event:\n%s", encoded.Data, diff)
		}
	}
}

func TestCodecWritesTodaysVersionCompactly(t *testing.T) {
	t.Parallel()
	got, err := lampRegistry(t).Encode(lampMade{Label: "<a>", Watts: 40})
	if err != nil {
		t.Fatal(err)
	}
	want := domain.EncodedEvent{
		Type: "lamp.made", SchemaVersion: 3, Data: []byte(`{"label":"<a>","watts":40,"note":null}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUpcastersAreTakenFromTheStoredVersion(t *testing.T) {
	t.Parallel()
	r := lampRegistry(t)
	tests := []struct {
		version int
		data    string
		want    lampMade
	}{
		{1, `{"label":"a"}`, lampMade{Label: "a", Watts: 60}},
		{2, `{"label":"a","watts":40}`, lampMade{Label: "a", Watts: 40}},
		{3, `{"label":"a","watts":40,"note":"n"}`, lampMade{Label: "a", Watts: 40, Note: ptr("n")}},
	}
	for _, test := range tests {
		data := []byte(test.data)
		got, err := r.Decode("lamp.made", test.version, data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(domain.Event(test.want), got); diff != "" {
			t.Errorf("version %d:\n%s", test.version, diff)
		}
		if !bytes.Equal(data, []byte(test.data)) {
			t.Errorf("version %d: the stored bytes were changed", test.version)
		}
	}
}

// FuzzAddMember holds what the upcaster makes against the members: those of before, and the new one.
func FuzzAddMember(f *testing.F) {
	for _, data := range []string{
		`{}`, ` {} `, `{"a":1}`, ` {"a":1}`, "{\"a\":1}\n", `{ "a":1 }`, `{"note":"old"}`, `{"a":{"note":1}}`, `{"a":"note"}`, `{"no\u0074e":1}`,
		`{"a":"}"}`, `{"a":"}`, `{"a":1}}`, `{"a":1,}`, `{"a"}`, `{"`, `{"}`, `[]`, `null`, `"a"`, ``, `{`, `}`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(data))
	}
	upcast := domain.AddMember("note", `{"new":[1]}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after map[string]any
		isObject := json.Unmarshal(data, &before) == nil && before != nil
		given := bytes.Clone(data)
		upcasted, err := upcast(data)
		if !bytes.Equal(data, given) {
			t.Fatalf("%q was changed to %q", given, data)
		}
		if err == nil {
			err = json.Unmarshal(upcasted, &after)
		}
		if isObject != (err == nil) {
			t.Fatalf("%q becomes %q: %v", data, upcasted, err)
		}
		if isObject {
			before["note"] = map[string]any{"new": []any{1.0}}
		}
		if diff := cmp.Diff(before, after); err == nil && diff != "" {
			t.Fatalf("%q becomes %q:\n%s", data, upcasted, diff)
		}
	})
}

// TestAddMemberReplaces: a member that is there already, however its name is written, doesn't stay beside the new one: of two,
// a null wouldn't win.
func TestAddMemberReplaces(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"note":"old"}`, `{"a":1,"no\u0074e":"old"}`} {
		upcasted, err := domain.AddMember("note", "null")([]byte(data))
		var got struct{ Note string }
		if err := errors.Join(err, json.Unmarshal(upcasted, &got)); err != nil || got.Note != "" {
			t.Errorf("%s becomes %s: %v", data, upcasted, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	r := lampRegistry(t)
	tests := []struct {
		name, eventType string
		version         int
		data            string
		unknown         bool
	}{
		{"unknown type", "lamp.sold", 1, `{}`, true},
		{"version 0", "lamp.made", 0, `{}`, true},
		{"later version", "lamp.made", 4, `{}`, true},
		{"not JSON", "lamp.switched", 1, `{`, false},
		{"not JSON for an upcaster", "lamp.made", 1, `{`, false},
		{"null for an upcaster", "lamp.made", 1, `null`, false},
		{"another type of member", "lamp.switched", 1, `{"on":"yes"}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := r.Decode(test.eventType, test.version, []byte(test.data))
			if err == nil || errors.Is(err, domain.ErrUnknownEvent) != test.unknown {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := r.Encode(strayEvent{}); !errors.Is(err, domain.ErrUnknownEvent) {
		t.Errorf("encode of an event that isn't registered: %v", err)
	}
}

// misnamed says it is of another aggregate; verbless has no past participle.
type (
	misnamed struct{ lampSwitched }
	verbless struct{ lampSwitched }
)

func (misnamed) EventType() string { return "torch.switched" }
func (verbless) EventType() string { return "lamp." }

func TestRegistryRefuses(t *testing.T) {
	t.Parallel()
	with := func(events ...domain.EventDefinition) []domain.Definition {
		return []domain.Definition{{Aggregate: lamp, Events: events}}
	}
	switched := domain.DefineEvent[lampSwitched]()
	tests := []struct {
		name        string
		definitions []domain.Definition
		want        string
	}{
		{"an aggregate twice", []domain.Definition{lampDefinition(), lampDefinition()}, "registered twice"},
		{"an event twice", with(switched, switched), "registered twice"},
		{"no events", with(), "no events"},
		{"another aggregate's name", with(domain.DefineEvent[misnamed]()), "must be lamp."},
		{"no past participle", with(domain.DefineEvent[verbless]()), "must be lamp."},
		{"an event outside the sealed interface", with(domain.DefineEvent[strayEvent]()), "doesn't belong"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := domain.NewRegistry(test.definitions...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestRegistryKnowsItsNames(t *testing.T) {
	t.Parallel()
	r := lampRegistry(t)
	if diff := cmp.Diff([]string{"lamp.made", "lamp.switched"}, r.EventTypes()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"lamp"}, r.AggregateTypes()); diff != "" {
		t.Error(diff)
	}
	if a, ok := r.Aggregate("lamp"); !ok || a.AggregateType() != "lamp" {
		t.Error("the lamp isn't found")
	}
	if _, ok := r.Aggregate("torch"); ok {
		t.Error("a torch is found")
	}
	if d, ok := r.EventDefinition("lamp.made"); !ok || d.SchemaVersion != 3 || d.Zero() != domain.Event(lampMade{}) {
		t.Errorf("lamp.made: %+v", d)
	}
}

func TestSnapshotFingerprint(t *testing.T) {
	t.Parallel()
	base := lampRegistry(t).SnapshotFingerprint("lamp")
	of := func(d domain.Definition) string {
		t.Helper()
		r, err := domain.NewRegistry(d)
		if err != nil {
			t.Fatal(err)
		}
		return r.SnapshotFingerprint("lamp")
	}
	reordered := lampDefinition()
	reordered.Events[0], reordered.Events[1] = reordered.Events[1], reordered.Events[0]
	if of(reordered) != base {
		t.Error("the order of registration changes the fingerprint")
	}
	raised := *lamp
	raised.StateVersion++
	if of(domain.Definition{Aggregate: &raised, Events: lampDefinition().Events}) == base {
		t.Error("another state version has the same fingerprint")
	}
	upcast := lampDefinition()
	upcast.Events[1] = domain.DefineEvent[lampSwitched](domain.AddMember("by", "null"))
	if of(upcast) == base {
		t.Error("another schema version has the same fingerprint")
	}
}

func TestEarlierVersionsAreDescribed(t *testing.T) {
	t.Parallel()
	type first struct{ On bool }
	d := domain.DefineEvent[lampSwitched](domain.AddMember("by", "null")).Formerly(first{})
	for version, want := range map[int]any{0: nil, 1: first{}, 2: lampSwitched{}, 3: nil} {
		if shape, ok := d.Shape(version); shape != want || ok != (want != nil) {
			t.Errorf("version %d: %v, %v", version, shape, ok)
		}
	}
	tooMany := lampDefinition()
	tooMany.Events[1] = d.Formerly(first{}, first{})
	if _, err := domain.NewRegistry(tooMany); err == nil {
		t.Error("more earlier versions than there are")
	}
}
