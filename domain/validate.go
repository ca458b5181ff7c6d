package domain

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"
)

// Lengths of text in characters, and ranges, as the API promises them.
const (
	MaxText     = 200           // names, addresses, references
	MaxCode     = 64            // sku, work order number, line, shift
	MaxNote     = 2_000         // reason, notes, resolution
	MaxQuantity = 1_000_000     // pieces on one cart line
	MaxCount    = 1_000_000_000 // any other count
	maxHours    = 1_000_000
)

// Validator collects what is wrong with the values of one command, each with the pointer of its member in the request.
// The zero value is ready to use. Methods that read a value give its zero value when they find it wrong.
type Validator struct{ fields []FieldError }

// Fields gives the findings in the order in which they were made; nil when there are none.
func (v *Validator) Fields() []FieldError { return v.fields }

// Fail adds a finding with a detail formatted as by fmt.Sprintf.
func (v *Validator) Fail(pointer, format string, args ...any) {
	v.fields = append(v.fields, FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// Text wants 1 to limit characters of UTF-8 without control characters.
func (v *Validator) Text(pointer, value string, limit int) {
	switch {
	case !utf8.ValidString(value):
		v.Fail(pointer, "must be valid UTF-8")
	case value == "" || utf8.RuneCountInString(value) > limit:
		v.Fail(pointer, "must have 1 to %d characters", limit)
	case strings.ContainsFunc(value, unicode.IsControl):
		v.Fail(pointer, "must not contain control characters")
	}
}

// OptionalText is Text for a member that may be absent.
func (v *Validator) OptionalText(pointer string, value *string, limit int) {
	if value != nil {
		v.Text(pointer, *value, limit)
	}
}

// PersonalText is Text for a personal text.
func (v *Validator) PersonalText(pointer string, value Personal, limit int) {
	v.Text(pointer, string(value), limit)
}

// OptionalPersonalText is OptionalText for a personal text.
func (v *Validator) OptionalPersonalText(pointer string, value *Personal, limit int) {
	v.OptionalText(pointer, (*string)(value), limit)
}

// Count wants a whole number from low to high.
func (v *Validator) Count(pointer string, value, low, high int64) {
	if value < low || value > high {
		v.Fail(pointer, "must be a whole number from %d to %d", low, high)
	}
}

// RequiredCount is Count for a member whose absence differs from 0.
func (v *Validator) RequiredCount(pointer string, value *int64, low, high int64) int64 {
	if value == nil {
		v.Fail(pointer, "is required")
		return 0
	}
	v.Count(pointer, *value, low, high)
	return *value
}

// Price wants an amount as ParseAmount reads it.
func (v *Validator) Price(pointer, value string) Amount {
	amount, err := ParseAmount(value)
	if err != nil {
		v.Fail(pointer, "%s", err)
	}
	return amount
}

// Hours wants 0 to 1,000,000 in plain notation with at most four fraction digits.
func (v *Validator) Hours(pointer, value string) decimal.Decimal {
	hours, err := ParseDecimal(value, 4)
	switch {
	case err != nil:
		v.Fail(pointer, "%s", err)
	case hours.GreaterThan(decimal.NewFromInt(maxHours)):
		v.Fail(pointer, "must be at most %d", maxHours)
	default:
		return hours
	}
	return decimal.Decimal{}
}

// Currency wants three capitals.
func (v *Validator) Currency(pointer, value string) {
	if len(value) != 3 || strings.ContainsFunc(value, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		v.Fail(pointer, "must be three capital letters such as \"USD\"")
	}
}

// Country wants two letters.
func (v *Validator) Country(pointer, value string) {
	notLetter := func(r rune) bool { return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') }
	if len(value) != 2 || strings.ContainsFunc(value, notLetter) {
		v.Fail(pointer, "must be a two-letter country code such as \"US\"")
	}
}

// Date wants YYYY-MM-DD.
func (v *Validator) Date(pointer, value string) Date {
	date, err := ParseDate(value)
	if err != nil {
		v.Fail(pointer, "%s", err)
	}
	return date
}

// ID wants a UUID in canonical form.
func (v *Validator) ID(pointer, value string) ID {
	id, err := ParseID(value)
	if err != nil {
		v.Fail(pointer, "must be a UUID")
	}
	return id
}

// OneOf wants one of the allowed values.
func (v *Validator) OneOf(pointer, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.Fail(pointer, "must be one of %s", strings.Join(allowed, ", "))
	}
}

// Validate gives the refusal of a command whose values aren't allowed, or nil. Use cases call it first: values are
// judged before anything is loaded.
func Validate(command interface{ Validate() []FieldError }) error {
	if fields := command.Validate(); len(fields) > 0 {
		return InvalidFields(fields)
	}
	return nil
}
