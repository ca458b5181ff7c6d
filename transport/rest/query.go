package rest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"annals/domain"
)

// Bounds of a page.
const (
	maxLimit     = 500
	defaultLimit = 50
)

// query is a query string, read strictly. Each accessor declares one parameter; end then refuses those that none
// declared. The first fault wins and is a malformed-request.
type query struct {
	parameters []parameter
	fault      error
}

type parameter struct {
	name, value string
	taken       bool
}

// parseQuery takes a query string apart. It refuses what net/url would drop: bad escapes, repeated parameters, and
// values that aren't UTF-8.
func parseQuery(raw string) (query, error) {
	var q query
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		switch {
		case nameErr != nil || valueErr != nil:
			return query{}, malformed("the query string has an escape that isn't % and two hexadecimal digits")
		case !utf8.ValidString(name) || !utf8.ValidString(value):
			return query{}, malformed("the query string is not UTF-8")
		case slices.ContainsFunc(q.parameters, func(p parameter) bool { return p.name == name }):
			return query{}, malformed(fmt.Sprintf("the query parameter %.64q is sent more than once", name))
		case len(q.parameters) == maxParameters:
			return query{}, malformed("the query string has too many parameters")
		}
		q.parameters = append(q.parameters, parameter{name: name, value: value})
	}
	return q, nil
}

// maxParameters is more than any route knows.
const maxParameters = 64

// end gives the first fault, an unknown parameter included.
func (q *query) end() error {
	for _, p := range q.parameters {
		if !p.taken {
			return malformed(fmt.Sprintf("the query parameter %.64q is not known here", p.name))
		}
	}
	return q.fault
}

func (q *query) fail(name, format string, args ...any) {
	if q.fault == nil {
		q.fault = malformed("the query parameter " + name + " " + fmt.Sprintf(format, args...))
	}
}

func (q *query) take(name string) (string, bool) {
	for i := range q.parameters {
		if p := &q.parameters[i]; p.name == name {
			p.taken = true
			return p.value, true
		}
	}
	return "", false
}

// text reads 1 to 200 characters without control characters; "" when it isn't sent.
func (q *query) text(name string) string {
	value, sent := q.take(name)
	var v domain.Validator
	if v.Text("", value, domain.MaxText); sent && len(v.Fields()) > 0 {
		q.fail(name, "%s", v.Fields()[0].Detail)
	}
	return value
}

// actor reads an actor's name, which may be longer than other text.
func (q *query) actor(name string) string {
	value, sent := q.take(name)
	if sent && printable(name, value) != nil {
		q.fail(name, "must have 1 to %d printable characters", maxHeaderText)
	}
	return value
}

// enum reads one of the values; "" when it isn't sent.
func (q *query) enum(name string, values ...string) string {
	value, sent := q.take(name)
	if sent && !slices.Contains(values, value) {
		q.fail(name, "must be one of %s", strings.Join(values, ", "))
	}
	return value
}

// list reads one or more texts with commas between them.
func (q *query) list(name string) []string {
	value, sent := q.take(name)
	if !sent {
		return nil
	}
	items := strings.Split(value, ",")
	for _, item := range items {
		var v domain.Validator
		if v.Text("", item, domain.MaxText); len(v.Fields()) > 0 {
			q.fail(name, "must be one or more values with commas between them")
			break
		}
	}
	return items
}

// id reads a UUID; nil when it isn't sent.
func (q *query) id(name string) *domain.ID {
	value, sent := q.take(name)
	if !sent {
		return nil
	}
	id, err := domain.ParseID(value)
	if err != nil {
		q.fail(name, "must be a UUID")
	}
	return &id
}

// position reads a position or version of at least low.
func (q *query) position(name string, low int64) (n int64, sent bool) {
	value, sent := q.take(name)
	if !sent {
		return 0, false
	}
	n, err := parsePosition(value)
	if err != nil || n < low {
		q.fail(name, "must be a whole number from %d on", low)
	}
	return n, true
}

// required is position for a parameter that must be sent.
func (q *query) required(name string, low int64) int64 {
	n, sent := q.position(name, low)
	if !sent {
		q.fail(name, "is needed")
	}
	return n
}

// time reads an RFC 3339 time; the zero time when it isn't sent.
func (q *query) time(name string) time.Time {
	value, sent := q.take(name)
	if !sent {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || t.Year() < 1 {
		q.fail(name, "must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
		return time.Time{}
	}
	if t.IsZero() { // means not sent; the log knows microseconds, and nothing from then
		t = t.Add(time.Microsecond)
	}
	return t.UTC()
}

// limit reads how many items a page may have. It is refused, never clamped.
func (q *query) limit() int {
	n, _ := q.optionalLimit()
	return n
}

func (q *query) optionalLimit() (limit int, sent bool) {
	value, sent := q.take("limit")
	if !sent {
		return defaultLimit, false
	}
	n, err := parsePosition(value)
	if err != nil || n < 1 || n > maxLimit {
		q.fail("limit", "must be a whole number from 1 to %d", maxLimit)
		return defaultLimit, true
	}
	return int(n), true
}
