package rest

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestQueryIsStrict(t *testing.T) {
	t.Parallel()
	// Each query string is read as a list with a text t, an enum e, an id i, a position p, times from and to, and a limit.
	tests := map[string]struct {
		raw   string
		wrong string // part of the detail; "" for a good one
	}{
		"empty":             {"", ""},
		"all":               {"t=a&e=x&i=018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f&p=0&from=2026-01-01T00:00:00Z&limit=500", ""},
		"escapes":           {"t=a%20b+c%C3%A4", ""},
		"empty pairs":       {"&&t=a&", ""},
		"bad escape":        {"%%%", "escape"},
		"bad escape value":  {"t=%zz", "escape"},
		"cut off escape":    {"t=%2", "escape"},
		"not UTF-8":         {"t=%ff", "UTF-8"},
		"unknown":           {"t=a&x=1", "not known"},
		"other case":        {"T=a", "not known"},
		"unknown empty":     {"x", "not known"},
		"twice":             {"t=a&t=b", "more than once"},
		"twice escaped":     {"t=a&%74=b", "more than once"},
		"empty text":        {"t=", "1 to 200"},
		"text without sign": {"t", "1 to 200"},
		"NUL":               {"t=%00", "control"},
		"too long":          {"t=" + strings.Repeat("a", 201), "1 to 200"},
		"enum":              {"e=z", "one of"},
		"id":                {"i=7", "UUID"},
		"position":          {"p=-1", "whole number"},
		"position sign":     {"p=%2B1", "whole number"},
		"position fraction": {"p=1.0", "whole number"},
		"position overflow": {"p=9223372036854775808", "whole number"},
		"position empty":    {"p=", "whole number"},
		"time":              {"from=yesterday", "RFC 3339"},
		"time without zone": {"from=2026-01-01T00:00:00", "RFC 3339"},
		"limit 0":           {"limit=0", "1 to 500"},
		"limit 501":         {"limit=501", "1 to 500"},
		"limit -1":          {"limit=-1", "1 to 500"},
		"limit text":        {"limit=ten", "1 to 500"},
		"limit empty":       {"limit=", "1 to 500"},
		"limit hex":         {"limit=0x10", "1 to 500"},
		"many":              {strings.Repeat("a&", 10) + manyParameters(70), "too many"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := readSample(test.raw)
			switch {
			case test.wrong == "" && err != nil:
				t.Fatal(err)
			case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
				t.Fatalf("%v, want %q", err, test.wrong)
			case err != nil && problemOf(err).Type != "/problems/malformed-request":
				t.Fatal(problemOf(err).Type)
			}
		})
	}
}

func manyParameters(n int) string {
	var names []string
	for i := range n {
		names = append(names, "x"+strings.Repeat("y", i))
	}
	return strings.Join(names, "&")
}

func readSample(raw string) error {
	q, err := parseQuery(strings.TrimPrefix(raw, strings.Repeat("a&", 10)))
	if err != nil {
		return err
	}
	q.text("t")
	q.enum("e", "x", "y")
	q.id("i")
	q.position("p", 0)
	q.time("from")
	q.limit()
	q.cursor()
	q.list("event_type")
	q.actor("actor_id")
	return q.end()
}

func TestQueryGivesValues(t *testing.T) {
	t.Parallel()
	q, err := parseQuery("t=a+b%26&p=7&from=2026-01-01T01:00:00%2B01:00&limit=5&event_type=a.b,c.d&actor_id=%3D1%2B1")
	if err != nil {
		t.Fatal(err)
	}
	if got := q.text("t"); got != "a b&" {
		t.Error(got)
	}
	if got, sent := q.position("p", 1); got != 7 || !sent {
		t.Error(got)
	}
	if got := q.time("from"); !got.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || got.Location() != time.UTC {
		t.Error(got)
	}
	if got := q.limit(); got != 5 {
		t.Error(got)
	}
	if got := q.list("event_type"); len(got) != 2 || got[1] != "c.d" {
		t.Error(got)
	}
	if got := q.actor("actor_id"); got != "=1+1" {
		t.Error(got)
	}
	if err := q.end(); err != nil {
		t.Error(err)
	}
}

// FuzzQuery holds the parser against net/url: what it takes, net/url reads alike, with each name once.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "a=b", "%%%", "a=%20+&b=%C3%A4", "a&a", "limit=5&cursor=x", "t=%00", "a=b;c=d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		_ = readSample(raw)
		q, err := parseQuery(raw)
		if err != nil {
			return
		}
		want, err := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
		if err != nil {
			t.Fatalf("took %q: %v", raw, err)
		}
		if len(want) != len(q.parameters) {
			t.Fatalf("%q has %d names, not %d", raw, len(want), len(q.parameters))
		}
		for _, p := range q.parameters {
			if values := want[p.name]; len(values) != 1 || values[0] != p.value || !utf8.ValidString(p.value) {
				t.Fatalf("%q: %q is %q, not %q", raw, p.name, values, p.value)
			}
		}
	})
}

func TestCursorIsBoundToItsScope(t *testing.T) {
	t.Parallel()
	scope := cursorScope("orders", "acme", "c-1", "")
	cursor := encodeCursor(scope, 4711)
	if after, ok := decodeCursor(scope, cursor); !ok || after != 4711 {
		t.Fatal(after, ok)
	}
	if cursor != url.QueryEscape(cursor) {
		t.Fatalf("%s isn't URL-safe", cursor)
	}
	for name, other := range map[string]string{
		"list": cursorScope("products", "acme", "c-1", ""), "client": cursorScope("orders", "other", "c-1", ""),
		"filter": cursorScope("orders", "acme", "c-2", ""), "moved filter": cursorScope("orders", "acme", "", "c-1"),
		"joined": cursorScope("orders", "acmec-1", "", ""), "none": "",
	} {
		if _, ok := decodeCursor(other, cursor); ok {
			t.Errorf("taken with another %s", name)
		}
	}
	for i := range len(cursor) {
		forged := []byte(cursor)
		if forged[i]++; forged[i] == '`' || forged[i] > 'z' {
			forged[i] = 'A'
		}
		if after, ok := decodeCursor(scope, string(forged)); ok {
			t.Errorf("%s is taken as %d", forged, after)
		}
	}
	for _, wrong := range []string{"", "x", cursor + "A", cursor + "=", cursor[1:], cursor + "\n", "\n" + cursor, cursor + cursor} {
		if _, ok := decodeCursor(scope, wrong); ok {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("", int64(0))
	f.Add(encodeCursor("scope", 1), int64(1))
	f.Add(encodeCursor("scope", 1<<62), int64(1<<62))
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if after, ok := decodeCursor("scope", text); ok && encodeCursor("scope", after) != text {
			t.Fatalf("%q is another form of %d", text, after)
		}
		if n < 0 {
			return
		}
		if after, ok := decodeCursor("scope", encodeCursor("scope", n)); !ok || after != n {
			t.Fatalf("%d comes back as %d, %v", n, after, ok)
		}
	})
}
