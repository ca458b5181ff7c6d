package domain_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
)

func FuzzParseID(f *testing.F) {
	f.Add("0190a000-0000-7000-8000-00000000000c")
	f.Add("0190A000-0000-7000-8000-00000000000C")
	for _, dash := range []int{8, 13, 18, 23} {
		s := []byte("0190a000-0000-7000-8000-00000000000c")
		s[dash] = '0'
		f.Add(string(s))
	}
	f.Add("{0190a000-0000-7000-8000-00000000000}")
	f.Add("0190a00000007000800000000000000c")
	f.Add("")
	canonical := regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	f.Fuzz(func(t *testing.T, s string) {
		id, err := domain.ParseID(s)
		if want := canonical.MatchString(s) && !strings.HasSuffix(s, "\n"); (err == nil) != want {
			t.Fatalf("ParseID(%q): %v", s, err)
		}
		if err != nil {
			if !errors.Is(err, domain.ErrInvalidID) || !id.IsZero() {
				t.Fatalf("ParseID(%q) = %v, %v", s, id, err)
			}
			return
		}
		if id.String() != strings.ToLower(s) || id.String() != uuid.UUID(id).String() {
			t.Fatalf("ParseID(%q) reads %s", s, id)
		}
	})
}

func TestIDAsJSON(t *testing.T) {
	t.Parallel()
	id := domain.MustParseID("0190a000-0000-7000-8000-00000000000c")
	data, err := json.Marshal(map[domain.ID]domain.ID{id: id})
	if want := `{"` + id.String() + `":"` + id.String() + `"}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
	var back map[domain.ID]domain.ID
	if err := json.Unmarshal(data, &back); err != nil || back[id] != id {
		t.Errorf("got %v, %v", back, err)
	}
	var one domain.ID
	if err := json.Unmarshal([]byte(`"x"`), &one); !errors.Is(err, domain.ErrInvalidID) {
		t.Errorf("got %v", err)
	}
}

func TestConstantsPanicWhenWrong(t *testing.T) {
	t.Parallel()
	for name, parse := range map[string]func(){
		"id":     func() { domain.MustParseID("x") },
		"amount": func() { domain.MustAmount("-1") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a wrong %s doesn't panic", name)
				}
			}()
			parse()
		}()
	}
}

func TestNameID(t *testing.T) {
	t.Parallel()
	namespace := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	for _, name := range []string{"", "python.org", "acme/ppm/L1"} {
		want := uuid.NewSHA1(namespace, []byte(name)).String()
		if got := domain.NameID(domain.ID(namespace), name).String(); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{
		"0", "0.00", "999999999.99", "1000000000", "1.005", ".5", "5.", "-1", "+1", "1e3", " 1", "1_0", "١", "00.50", "",
		"999999999.990", "0x10", "NaN", "1,5", strings.Repeat("9", 21),
	} {
		f.Add(s)
	}
	plain := regexp.MustCompile(`^[0-9]{1,20}(\.[0-9]{1,2})?$`)
	highest := decimal.RequireFromString("999999999.99")
	f.Fuzz(func(t *testing.T, s string) {
		amount, err := domain.ParseAmount(s)
		want := plain.MatchString(s) && !strings.HasSuffix(s, "\n") &&
			decimal.RequireFromString(s).LessThanOrEqual(highest)
		if (err == nil) != want {
			t.Fatalf("ParseAmount(%q): %v", s, err)
		}
		if err != nil {
			return
		}
		if !amount.Decimal().Equal(decimal.RequireFromString(s)) {
			t.Fatalf("ParseAmount(%q) reads %s", s, amount)
		}
		again, err := domain.ParseAmount(amount.String())
		if err != nil || !again.Equal(amount) {
			t.Fatalf("%q is written as %s: %v", s, amount, err)
		}
	})
}

func TestAmountIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cents := rapid.Int64Range(0, 99_999_999_999).Draw(t, "cents")
		other := rapid.Int64Range(0, 99_999_999_999).Draw(t, "other")
		quantity := rapid.Int64Range(0, domain.MaxQuantity).Draw(t, "quantity")
		amount := func(c int64) domain.Amount { return domain.MustAmount(decimal.New(c, -2).StringFixed(2)) }
		sum := amount(cents).Times(quantity).Plus(amount(other))
		if want := decimal.New(cents*quantity+other, -2).StringFixed(2); sum.String() != want {
			t.Fatalf("got %s, want %s", sum, want)
		}
		data, err := json.Marshal(sum)
		if err != nil || string(data) != `"`+sum.String()+`"` {
			t.Fatalf("JSON %s, %v", data, err)
		}
		var back domain.Amount
		if err := json.Unmarshal(data, &back); err != nil || !back.Equal(sum) {
			t.Fatalf("%s reads as %s, %v", data, back, err)
		}
		if amount(cents).Equal(amount(other)) != (cents == other) {
			t.Fatalf("%d and %d cents", cents, other)
		}
	})
}

func TestAmountIsAJSONString(t *testing.T) {
	t.Parallel()
	var a domain.Amount
	for _, data := range []string{`1.5`, `"x"`, `{}`, `""`} {
		if err := json.Unmarshal([]byte(data), &a); err == nil {
			t.Errorf("%s reads as %s", data, a)
		}
	}
	if got := (domain.Amount{}).String(); got != "0.00" {
		t.Errorf("the zero amount is %s", got)
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"2026-01-31", "2024-02-29", "0001-01-01", "9999-12-31"} {
		if d, err := domain.ParseDate(s); err != nil || string(d) != s || d.Time().Format(time.DateOnly) != s {
			t.Errorf("%s reads as %q, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "2026-1-31", "2026-02-29", "2026-13-01", "0000-01-01", "2026-01-31T00:00:00Z", " 2026-01-31", "10000-01-01", "20260131"} {
		if d, err := domain.ParseDate(s); err == nil {
			t.Errorf("%q reads as %s", s, d)
		}
	}
	late := time.Date(2026, 1, 5, 23, 30, 0, 0, time.FixedZone("", -3600))
	if got := domain.DateOf(late); got != "2026-01-06" {
		t.Errorf("the UTC day of %s is %s", late, got)
	}
	if !domain.Date("").Time().IsZero() {
		t.Error("no date is some time")
	}
}
