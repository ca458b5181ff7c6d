package domain

import (
	"errors"
	"time"
)

// Date is a calendar day without a time zone in the form YYYY-MM-DD, years 0001 to 9999. Dates compare as strings do;
// the empty Date means "none".
type Date string

var errDate = errors.New("must be a date in the form YYYY-MM-DD")

// ParseDate reads a day that exists in the calendar. Its error is written for the caller.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return "", errDate
	}
	return Date(s), nil
}

// DateOf gives the UTC day of a moment.
func DateOf(t time.Time) Date { return Date(t.UTC().Format(time.DateOnly)) }

// Time gives the beginning of the day in UTC, and the zero time for the empty Date.
func (d Date) Time() time.Time {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return time.Time{}
	}
	return t
}
