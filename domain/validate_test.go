package domain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
)

func TestValidator(t *testing.T) {
	t.Parallel()
	text := func(s string) func(*domain.Validator) {
		return func(v *domain.Validator) { v.Text("/p", s, 3) }
	}
	hours := func(s string) func(*domain.Validator) {
		return func(v *domain.Validator) { v.Hours("/p", s) }
	}
	currency := func(s string) func(*domain.Validator) {
		return func(v *domain.Validator) { v.Currency("/p", s) }
	}
	country := func(s string) func(*domain.Validator) {
		return func(v *domain.Validator) { v.Country("/p", s) }
	}
	count := func(n int64) func(*domain.Validator) {
		return func(v *domain.Validator) { v.Count("/p", n, -1, 2) }
	}
	tests := []struct {
		name  string
		check func(*domain.Validator)
		ok    bool
	}{
		{"text of characters", text("é☃💻"), true},
		{"text too long", text("abcd"), false},
		{"empty text", text(""), false},
		{"blank text", text(" "), true},
		{"formula", text("=1"), true},
		{"line break", text("a\nb"), false},
		{"NUL", text("\x00"), false},
		{"delete", text("\x7f"), false},
		{"control character of Latin-1", text("\u0085"), false},
		{"broken UTF-8", text("\xff"), false},
		{"no text", func(v *domain.Validator) { v.OptionalText("/p", nil, 3) }, true},
		{"empty optional text", func(v *domain.Validator) { v.OptionalText("/p", ptr(""), 3) }, false},
		{"lowest count", count(-1), true},
		{"highest count", count(2), true},
		{"count too low", count(-2), false},
		{"count too high", count(3), false},
		{"missing count", func(v *domain.Validator) { v.RequiredCount("/p", nil, 0, 2) }, false},
		{"count of 0", func(v *domain.Validator) { v.RequiredCount("/p", ptr(int64(0)), 0, 2) }, true},
		{"required count too high", func(v *domain.Validator) { v.RequiredCount("/p", ptr(int64(3)), 0, 2) }, false},
		{"price", func(v *domain.Validator) { v.Price("/p", "12.5") }, true},
		{"no price", func(v *domain.Validator) { v.Price("/p", "") }, false},
		{"hours", hours("8.2525"), true},
		{"most hours", hours("1000000"), true},
		{"hours too many", hours("1000000.0001"), false},
		{"hours too fine", hours("0.00001"), false},
		{"negative hours", hours("-1"), false},
		{"no hours", hours(""), false},
		{"currency", currency("EUR"), true},
		{"lower-case currency", currency("eur"), false},
		{"currency of four", currency("EURO"), false},
		{"currency of bytes", currency("é1"), false},
		{"country", country("DE"), true},
		{"lower-case country", country("de"), true},
		{"country of three", country("DEU"), false},
		{"country of digits", country("D1"), false},
		{"country of one character in two bytes", country("é"), false},
		{"date", func(v *domain.Validator) { v.Date("/p", "2026-01-31") }, true},
		{"no date", func(v *domain.Validator) { v.Date("/p", "") }, false},
		{"id", func(v *domain.Validator) { v.ID("/p", domain.ID{}.String()) }, true},
		{"no id", func(v *domain.Validator) { v.ID("/p", "") }, false},
		{"one of", func(v *domain.Validator) { v.OneOf("/p", "b", "a", "b") }, true},
		{"none of", func(v *domain.Validator) { v.OneOf("/p", "", "a", "b") }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var v domain.Validator
			test.check(&v)
			fields := v.Fields()
			if (len(fields) == 0) != test.ok {
				t.Fatalf("findings %v", fields)
			}
			if !test.ok && (len(fields) != 1 || fields[0].Pointer != "/p" || fields[0].Detail == "") {
				t.Errorf("findings %v", fields)
			}
		})
	}
}

func TestValidatorGivesWhatItRead(t *testing.T) {
	t.Parallel()
	var v domain.Validator
	id := domain.MustParseID("0190a000-0000-7000-8000-00000000000c")
	if v.ID("/p", id.String()) != id || v.Price("/p", "1.5").String() != "1.50" || v.Hours("/p", "8.50").String() != "8.5" ||
		v.Date("/p", "2026-01-31") != "2026-01-31" || v.RequiredCount("/p", ptr(int64(7)), 0, 9) != 7 {
		t.Error("a value is read as another one")
	}
	if !v.Hours("/p", "2000000").IsZero() {
		t.Error("hours that are wrong are given")
	}
}

type sample struct{ fields []domain.FieldError }

func (s sample) Validate() []domain.FieldError { return s.fields }

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := domain.Validate(sample{}); err != nil {
		t.Errorf("a command without findings is refused: %v", err)
	}
	fields := []domain.FieldError{{Pointer: "/a", Detail: "x"}, {Pointer: "/b", Detail: "y"}}
	var refusal *domain.Error
	if err := domain.Validate(sample{fields}); !errors.As(err, &refusal) || refusal.Code != domain.CodeValidation {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff(fields, refusal.Fields); diff != "" {
		t.Error(diff)
	}
}

// Text counts characters as a reader does, whatever their bytes.
func TestTextLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom([]rune{'a', 'é', '☃', '💻', '\u2028', '<'}).Draw(t, "rune")
		n := rapid.IntRange(0, 2*domain.MaxText).Draw(t, "n")
		var v domain.Validator
		v.Text("/p", strings.Repeat(string(r), n), domain.MaxText)
		if want := n >= 1 && n <= domain.MaxText; (len(v.Fields()) == 0) != want {
			t.Fatalf("%d characters: %v", n, v.Fields())
		}
	})
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	refusal := domain.Refuse(domain.CodeCartEmpty, "%d items", 0)
	if got := domain.CodeOf(errors.Join(errors.New("x"), refusal)); got != domain.CodeCartEmpty {
		t.Errorf("got %q", got)
	}
	if refusal.Error() != "cart-empty: 0 items" {
		t.Errorf("got %q", refusal.Error())
	}
	if got := domain.CodeOf(errors.New("cart-empty")); got != "" {
		t.Errorf("got %q", got)
	}
	if got := domain.CodeOf(nil); got != "" {
		t.Errorf("got %q", got)
	}
}
