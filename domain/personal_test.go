package domain_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
)

type person struct {
	Name domain.Personal
	Nick *domain.Personal
	Age  int
}

type Card struct {
	person2
	Owner    person
	Others   []person
	Partner  *person
	Note     string
	Parent   *Card
	Children []Card
}

type person2 struct{ Hidden int }

func TestPersonalFields(t *testing.T) {
	t.Parallel()
	nick := domain.Personal("N")
	card := Card{
		Owner: person{Name: "A", Nick: &nick, Age: 1}, Others: []person{{Name: "B"}, {Name: ""}},
		Partner: &person{Name: "C"}, Note: "A",
	}
	before := card
	before.Others = append([]person(nil), card.Others...)
	fields, err := domain.PersonalFieldsOf(reflect.TypeFor[Card]())
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	fields.Each(card, func(text domain.Personal) { seen = append(seen, string(text)) })
	if got := strings.Join(seen, " "); got != "A N B C" {
		t.Errorf("found %s", got)
	}
	changed := fields.Map(card, func(text domain.Personal) domain.Personal { return text + "!" }).(Card)
	if changed.Owner.Name != "A!" || *changed.Owner.Nick != "N!" || changed.Others[0].Name != "B!" ||
		changed.Others[1].Name != "" || changed.Partner.Name != "C!" || changed.Note != "A" || changed.Owner.Age != 1 {
		t.Errorf("changed to %+v", changed)
	}
	if card.Owner != before.Owner || nick != "N" || card.Others[0].Name != "B" || card.Partner.Name != "C" {
		t.Errorf("the value that was copied changed: %+v", card)
	}
}

func TestPersonalFieldsInPlacesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		of    reflect.Type
		fails bool
	}{
		"none":                {reflect.TypeFor[struct{ A, B string }](), false},
		"a map without":       {reflect.TypeFor[struct{ M map[string]int }](), false},
		"a map":               {reflect.TypeFor[struct{ M map[string]domain.Personal }](), true},
		"an array":            {reflect.TypeFor[struct{ A [2]person }](), true},
		"an unexported field": {reflect.TypeFor[struct{ a person }](), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, err := domain.PersonalFieldsOf(c.of)
			if fields != nil || (err != nil) != c.fails {
				t.Errorf("gives %v, %v", fields, err)
			}
		})
	}
}

type named struct {
	Name domain.Personal `json:"name"`
}

type plain struct {
	Name string `json:"name"`
}

func (named) EventType() string { return "member.named" }
func (plain) EventType() string { return "member.named" }

var members = &domain.Aggregate[int, int, domain.Event]{
	Type: "member", StateVersion: 1, Initial: func() int { return 0 },
	Decide: func(int, int) ([]domain.Event, error) { return nil, nil },
	Evolve: func(s int, _ domain.Event) int { return s },
}

// An event's type and its definition must say the same of persons, or the program doesn't start.
func TestPersonalEventsAreDeclared(t *testing.T) {
	t.Parallel()
	ofNamed := func(e named, id domain.ID) domain.Subject {
		return domain.Subject{Kind: "member", Reference: id.String()}
	}
	ofPlain := func(plain, domain.ID) domain.Subject { return domain.Subject{} }
	for name, c := range map[string]struct {
		event domain.EventDefinition
		says  string
	}{
		"personal":             {domain.DefinePersonalEvent(ofNamed), ""},
		"plain":                {domain.DefineEvent[plain](), ""},
		"undeclared":           {domain.DefineEvent[named](), "DefinePersonalEvent"},
		"without such a text":  {domain.DefinePersonalEvent(ofPlain), "no member of type Personal"},
		"formerly in a map":    {domain.DefineEvent[plain](domain.AddMember("x", "1")).Formerly(map[string]domain.Personal{}), "can't be replaced"},
		"formerly, not today":  {domain.DefineEvent[plain](domain.AddMember("x", "1")).Formerly(named{}), ""},
		"today, not formerly":  {domain.DefinePersonalEvent(ofNamed, domain.AddMember("x", "1")).Formerly(plain{}), ""},
		"undeclared, formerly": {domain.DefineEvent[named](domain.AddMember("x", "1")).Formerly(plain{}), "DefinePersonalEvent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry, err := domain.NewRegistry(domain.Definition{Aggregate: members, Events: []domain.EventDefinition{c.event}})
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("want an error with %q, got %v", c.says, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d, _ := registry.EventDefinition("member.named")
			want := name != "plain"
			if d.Sealed() != want || (d.Personal() != nil) != (want && name != "formerly, not today") {
				t.Errorf("sealed %t, personal %v", d.Sealed(), d.Personal())
			}
		})
	}
}

func TestSubjectOfAnEvent(t *testing.T) {
	t.Parallel()
	id := domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	d := domain.DefinePersonalEvent(func(e named, id domain.ID) domain.Subject {
		return domain.Subject{Kind: string(e.Name), Reference: id.String()}
	})
	want := domain.Subject{Kind: "x", Reference: id.String()}
	if diff := cmp.Diff(want, d.Subject(named{Name: "x"}, id)); diff != "" {
		t.Error(diff)
	}
	if got := domain.DefineEvent[plain]().Subject(plain{}, id); got != (domain.Subject{}) {
		t.Errorf("an event about nobody is about %v", got)
	}
}
