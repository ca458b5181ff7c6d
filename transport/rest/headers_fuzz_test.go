package rest

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"annals/eventstore"
)

var clientPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// FuzzHeaders: of whatever a caller sends, only what the API allows gets in, and the rest is a 400.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{
		"acme", "A-Z.a_z-09", strings.Repeat("a", 64), strings.Repeat("a", 65), "*", "=1+1", "42", "-1", "+1", " 7", "9223372036854775808", "key\u00a0", "\x00", "a\xff", strings.Repeat("ä", 256),
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"application/json;q=0.5, */*", "text/event-stream", `application/json;a="\"`, "Bearer x", "attachment; charset=utf-8",
	} {
		f.Add(seed, "")
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		h := make(http.Header)
		for _, name := range []string{
			headerClient, headerActor, headerKey, headerMinPosition, headerRequestID, "Traceparent", "Authorization", "Content-Type",
		} {
			h[name] = []string{one}
			if two != "" {
				h[name] = append(h[name], two)
			}
		}
		refused := func(err error) bool {
			var p *Problem
			if err != nil && (!errors.As(err, &p) || p.Status != http.StatusBadRequest && p.Status != http.StatusUnsupportedMediaType) {
				t.Fatalf("%q, %q: %v", one, two, err)
			}
			return err != nil
		}
		if c, err := credentials(h); !refused(err) {
			if c.Client != one || one != eventstore.AllClients && !clientPattern.MatchString(one) || !utf8.ValidString(c.Actor) {
				t.Fatalf("%q: taken as %+v", one, c)
			}
		}
		if isClient(one) != clientPattern.MatchString(one) {
			t.Fatalf("%q: a client's name: %v", one, isClient(one))
		}
		if key, err := idempotencyKey(h); !refused(err) && (key != one || utf8.RuneCountInString(key) > maxHeaderText) {
			t.Fatalf("%q: the key is %q", one, key)
		}
		if n, err := minPosition(h); !refused(err) && n < 0 {
			t.Fatalf("%q: the position is %d", one, n)
		}
		if id := requestID(h); !visible(id) {
			t.Fatalf("%q: the request id is %q", one, id)
		}
		if tr := parseTrace(h); tr != (trace{}) && (len(tr.traceID) != 32 || len(tr.spanID) != 16 || !strings.Contains(one, tr.traceID)) {
			t.Fatalf("%q: the trace is %+v", one, tr)
		}
		refused(checkContentType(h))
		offers := []string{mediaJSON, "text/csv"}
		if offer, ok := negotiate(h["Content-Type"], offers); ok && offer != offers[0] && offer != offers[1] {
			t.Fatalf("%q: %q is offered", one, offer)
		}
	})
}
