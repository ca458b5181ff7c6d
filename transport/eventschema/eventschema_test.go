package eventschema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/manufacturing"
	"annals/domain/notifications"
	"annals/domain/operations"
	"annals/domain/privacy"
	"annals/transport/eventschema"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(slices.Concat(
		commerce.Definitions(), manufacturing.Definitions(), operations.Definitions(), notifications.Definitions(),
		privacy.Definitions())...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func compile(t testing.TB, s eventschema.Schema) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return compiled
}

func valid(t testing.TB, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

// Every golden event of every version fits the schema of its version, and no longer does with a member more or less.
func TestGoldenEventsFitTheirSchemas(t *testing.T) {
	t.Parallel()
	goldens := make(map[string]string)
	for _, pattern := range []string{"../../domain/*/testdata/events/*.json", "../../domain/*/*/testdata/events/*.json"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			goldens[strings.TrimSuffix(filepath.Base(path), ".json")] = path
		}
	}
	r := registry(t)
	for _, name := range r.EventTypes() {
		d, _ := r.EventDefinition(name)
		for version := 1; version <= d.SchemaVersion; version++ {
			key := fmt.Sprintf("%s.v%d", name, version)
			text, err := os.ReadFile(goldens[key])
			if err != nil {
				t.Fatalf("%s has no golden event: %v", key, err)
			}
			delete(goldens, key)
			s, err := eventschema.Of(d, version)
			if err != nil {
				t.Fatal(err)
			}
			compiled := compile(t, s)
			if err := valid(t, compiled, text); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			var event map[string]any
			if err := json.Unmarshal(text, &event); err != nil {
				t.Fatal(err)
			}
			event["no such member"] = 1
			if compiled.Validate(event) == nil {
				t.Errorf("%s takes any member", key)
			}
			delete(event, "no such member")
			for _, member := range s["required"].([]string) {
				less := make(map[string]any)
				for k, v := range event {
					if k != member {
						less[k] = v
					}
				}
				if compiled.Validate(less) == nil {
					t.Errorf("%s goes without %s", key, member)
				}
			}
		}
	}
	for key := range goldens {
		t.Errorf("the golden event %s belongs to no type", key)
	}
}

type inner struct {
	Deep *decimal.Decimal `json:"deep"`
}

type made struct {
	inner
	ID     domain.ID         `json:"id"`
	Day    domain.Date       `json:"day,omitempty"`
	Price  *domain.Amount    `json:"price"`
	At     time.Time         `json:"at"`
	Large  int64             `json:"large,string"`
	Parts  []inner           `json:"parts"`
	Notes  map[string]string `json:"notes,omitzero"`
	Plain  bool
	hidden int
	Not    string `json:"-"`
}

func (made) EventType() string { return "thing.made" }

func TestTypesAreDescribed(t *testing.T) {
	t.Parallel()
	s, err := eventschema.Of(domain.DefineEvent[made](), 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var shown, want any
	const deep = `{"type":["string","null"],"pattern":"^-?[0-9]+(\\.[0-9]+)?$"}`
	for text, into := range map[string]*any{
		string(got): &shown,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"urn:annals:event-type:thing.made:1","title":"thing.made",
			"type":"object","additionalProperties":false,"required":["deep","id","price","at","large","parts","Plain"],"properties":{
			"deep":` + deep + `,"id":{"type":"string","format":"uuid"},"day":{"type":"string","format":"date"},
			"price":{"type":["string","null"],"pattern":"^-?[0-9]+\\.[0-9]{2}$"},"at":{"type":"string","format":"date-time"},
			"large":{"type":"string","pattern":"^-?[0-9]+$"},"Plain":{"type":"boolean"},
			"parts":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["deep"],"properties":{"deep":` + deep + `}}},
			"notes":{"type":"object","additionalProperties":{"type":"string"}}}}`: &want,
	} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Error(diff)
	}
	event, err := json.Marshal(made{hidden: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(t, compile(t, s), bytes.Replace(event, []byte(`"parts":null`), []byte(`"parts":[]`), 1)); err != nil {
		t.Error(err)
	}
}

type measured struct {
	Value float64 `json:"value"`
}

func (measured) EventType() string { return "thing.measured" }

type custom struct{}

func (custom) MarshalText() ([]byte, error) { return nil, nil }

type wrapped struct {
	Value custom `json:"value"`
}

func (wrapped) EventType() string { return "thing.wrapped" }

type endless struct {
	Next *endless `json:"next"`
}

func (endless) EventType() string { return "thing.endless" }

func TestWhatCannotBeDescribed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		definition domain.EventDefinition
		version    int
		want       string
	}{
		{domain.DefineEvent[measured](), 1, "no place"},
		{domain.DefineEvent[wrapped](), 1, "writes itself"},
		{domain.DefineEvent[endless](), 1, "nested"},
		{domain.DefineEvent[made](domain.AddMember("x", "1")), 1, "Formerly"},
		{domain.DefineEvent[made](), 2, "Formerly"},
		{domain.DefineEvent[made](), 0, "Formerly"},
	} {
		if _, err := eventschema.Of(c.definition, c.version); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s version %d: %v, want %q", c.definition.Type, c.version, err, c.want)
		}
	}
}
