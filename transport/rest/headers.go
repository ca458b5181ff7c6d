package rest

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"annals/eventstore"
)

// Names of headers in their canonical form.
const (
	headerRequestID   = "X-Request-Id"
	headerClient      = "Annals-Client"
	headerActor       = "Annals-Actor"
	headerMinPosition = "Annals-Min-Position"
	headerPosition    = "Annals-Position"
	headerSynchronous = "Annals-Synchronous"
	headerKey         = "Idempotency-Key"
	headerReplayed    = "Idempotency-Replayed"
	headerPrefer      = "Prefer"
	headerApplied     = "Preference-Applied"
)

// maxHeaderText is how many characters an actor and an idempotency key may have.
const maxHeaderText = 255

// isClient reports whether a client can be called so.
func isClient(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= 64
}

// single gives a header that may be sent once; ok is false when it wasn't sent.
func single(h http.Header, name string) (value string, ok bool, err error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	}
	return "", false, malformed(name + " is sent more than once")
}

// requestID takes the caller's id when it is 1 to 128 visible ASCII characters, else makes one.
func requestID(h http.Header) string {
	if values := h[headerRequestID]; len(values) == 1 && visible(values[0]) {
		return values[0]
	}
	id, err := uuid.NewV7()
	if err != nil { // no randomness: the operating system is broken, but the request isn't
		return uuid.Nil.String()
	}
	return id.String()
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// printable takes 1 to 255 printable characters, the space included.
func printable(name, value string) error {
	if n := utf8.RuneCountInString(value); n < 1 || n > maxHeaderText || !utf8.ValidString(value) ||
		strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return malformed(fmt.Sprintf("%s must have 1 to %d printable characters", name, maxHeaderText))
	}
	return nil
}

// credentials reads who the request says it comes from.
func credentials(h http.Header) (c Credentials, err error) {
	if c.Client, _, err = single(h, headerClient); err != nil {
		return c, err
	}
	if _, sent := h[headerClient]; sent && c.Client != eventstore.AllClients && !isClient(c.Client) {
		return c, malformed(headerClient + " must have 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-'")
	}
	actor, sent, err := single(h, headerActor)
	if err != nil {
		return c, err
	}
	if sent {
		if err := printable(headerActor, actor); err != nil {
			return c, err
		}
	}
	c.Actor = actor
	c.Authorization, _, err = single(h, "Authorization")
	return c, err
}

// idempotencyKey reads the caller's key, "" when there is none.
func idempotencyKey(h http.Header) (string, error) {
	key, sent, err := single(h, headerKey)
	if err != nil || !sent {
		return "", err
	}
	return key, printable(headerKey, key)
}

// minPosition reads the position that a read model must have applied; 0 asks for nothing.
func minPosition(h http.Header) (int64, error) {
	text, sent, err := single(h, headerMinPosition)
	if err != nil || !sent {
		return 0, err
	}
	n, err := parsePosition(text)
	if err != nil {
		return 0, malformed(headerMinPosition + " must be a position: a whole number from 0 on")
	}
	return n, nil
}

// maxDigits is what the largest position has.
const maxDigits = 19

// parsePosition reads a non-negative whole number without sign, of no more digits than a position can have.
func parsePosition(s string) (int64, error) {
	if s == "" || s[0] == '+' || s[0] == '-' || len(s) > maxDigits {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(s, 10, 64)
}

// trace is what the caller's traceparent says; both are empty when there is none.
type trace struct{ traceID, spanID string }

var traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

// parseTrace reads a W3C traceparent. One that doesn't parse is ignored, as its specification asks.
func parseTrace(h http.Header) trace {
	values := h["Traceparent"]
	if len(values) != 1 {
		return trace{}
	}
	m := traceparent.FindStringSubmatch(values[0])
	if m == nil || m[1] == "ff" || m[1] == "00" && m[4] != "" ||
		strings.Trim(m[2], "0") == "" || strings.Trim(m[3], "0") == "" {
		return trace{}
	}
	return trace{traceID: m[2], spanID: m[3]}
}

// metadata gives the members of an event's metadata that come from the trace.
func (t trace) metadata() map[string]string {
	if t.traceID == "" {
		return nil
	}
	return map[string]string{"trace_id": t.traceID, "parent_span_id": t.spanID}
}
