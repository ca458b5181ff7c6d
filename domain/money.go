package domain

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// Amount is an exact amount of money with two fraction digits, written in JSON as a string such as "999.90".
type Amount struct{ value decimal.Decimal }

const maxPrice = "999999999.99"

// ParseAmount reads a price: 0 to 999,999,999.99, at most two fraction digits, plain notation without a sign. Its error is
// written for the caller.
func ParseAmount(s string) (Amount, error) {
	d, err := ParseDecimal(s, 2)
	if err != nil {
		return Amount{}, err
	}
	if d.GreaterThan(decimal.RequireFromString(maxPrice)) {
		return Amount{}, fmt.Errorf("must be at most %s", maxPrice)
	}
	return Amount{d}, nil
}

// ParseDecimal reads a non-negative number in plain notation with at most fraction digits after the point: no sign, no
// exponent, no white space, at most 20 digits before the point. Its error is written for the caller.
func ParseDecimal(s string, fraction int) (decimal.Decimal, error) {
	whole, rest, pointed := strings.Cut(s, ".")
	if whole == "" || len(whole) > 20 || !digits(whole) || pointed && (rest == "" || !digits(rest)) {
		return decimal.Decimal{}, fmt.Errorf("must be a non-negative decimal number such as \"12.50\"")
	}
	if len(rest) > fraction {
		return decimal.Decimal{}, fmt.Errorf("must have at most %d fraction digits", fraction)
	}
	return decimal.NewFromString(s)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// MustAmount is ParseAmount for constants; it panics on text that isn't a price.
func MustAmount(s string) Amount {
	a, err := ParseAmount(s)
	if err != nil {
		panic("domain: amount " + s + " " + err.Error())
	}
	return a
}

// Times gives the amount for a number of pieces, exactly.
func (a Amount) Times(quantity int64) Amount {
	return Amount{a.value.Mul(decimal.NewFromInt(quantity))}
}

// Plus adds two amounts.
func (a Amount) Plus(b Amount) Amount { return Amount{a.value.Add(b.value)} }

// Equal compares by value.
func (a Amount) Equal(b Amount) bool { return a.value.Equal(b.value) }

// Decimal gives the amount as a decimal number.
func (a Amount) Decimal() decimal.Decimal { return a.value }

// String writes the amount with two fraction digits.
func (a Amount) String() string { return a.value.StringFixed(2) }

// MarshalJSON writes a string with two fraction digits.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }

// UnmarshalJSON reads an amount that Annals wrote. It is not bounded as a price is: totals are larger.
func (a *Amount) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("an amount is a string: %w", err)
	}
	d, err := decimal.NewFromString(s)
	if err != nil {
		return fmt.Errorf("amount %q: %w", s, err)
	}
	a.value = d
	return nil
}
