package rest

import (
	"net/url"
	"strings"
	"testing"
)

func TestTextCursor(t *testing.T) {
	t.Parallel()
	scope := cursorScope("kpis", "acme", "line")
	for _, key := range []string{"L1", "2026-W02", "ä/ö 日本", strings.Repeat("日", 200)} {
		cursor := encodeTextCursor(scope, key)
		if after, ok := decodeTextCursor(scope, cursor); !ok || after != key || cursor != url.QueryEscape(cursor) {
			t.Errorf("%q comes back as %q, %v from %s", key, after, ok, cursor)
		}
		if _, ok := decodeTextCursor(cursorScope("kpis", "other", "line"), cursor); ok {
			t.Errorf("the cursor of %q is taken in another scope", key)
		}
	}
	// The checksum is no secret: what no key can be must not reach the database.
	for name, key := range map[string]string{
		"empty": "", "NUL": "L\x00", "not UTF-8": "\xff", "too long": strings.Repeat("x", maxTextKey+1),
	} {
		if after, ok := decodeTextCursor(scope, encodeTextCursor(scope, key)); ok {
			t.Errorf("%s: taken as %q", name, after)
		}
	}
}

func FuzzTextCursor(f *testing.F) {
	f.Add("")
	f.Add(encodeTextCursor("scope", "L1"))
	f.Fuzz(func(t *testing.T, text string) {
		if after, ok := decodeTextCursor("scope", text); ok && encodeTextCursor("scope", after) != text {
			t.Fatalf("%q is another form of %q", text, after)
		}
	})
}
