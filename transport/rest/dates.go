package rest

import (
	"slices"

	"annals/domain"
)

// date reads a day; "" when it isn't sent.
func (q *query) date(name string) domain.Date {
	value, sent := q.take(name)
	if !sent {
		return ""
	}
	date, err := domain.ParseDate(value)
	if err != nil {
		q.fail(name, "%s", err)
	}
	return date
}

// require refuses a query string without the parameters.
func (q *query) require(names ...string) {
	for _, name := range names {
		if !slices.ContainsFunc(q.parameters, func(p parameter) bool { return p.name == name }) {
			q.fail(name, "is required")
		}
	}
}

// maxYears is how far apart the ends of a span may be.
const maxYears = 100

// span reads the days from and to, both required and inclusive, of which the second isn't before the first.
func (q *query) span() (from, to domain.Date) {
	q.require("from", "to")
	from, to = q.date("from"), q.date("to")
	if from == "" || to == "" {
		return from, to
	}
	if to < from {
		q.fail("to", "must not be before from")
	}
	if to.Time().After(from.Time().AddDate(maxYears, 0, 0)) {
		q.fail("to", "must be at most %d years after from", maxYears)
	}
	return from, to
}
