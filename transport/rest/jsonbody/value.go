// Package jsonbody reads the JSON of requests strictly. Parse takes exactly one object in UTF-8 and refuses what
// encoding/json lets pass: duplicate members, invalid UTF-8, and nesting without an end. Fields then binds the object to
// a command by declaration and collects everything that is wrong with it.
package jsonbody

import (
	"fmt"
	"slices"
	"strings"
)

// MaxDepth is how many levels of objects and arrays a body may have, the outermost included.
const MaxDepth = 32

// Kind is a value's JSON type.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// String names the kind as a caller would.
func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// Value is one JSON value. Only the members of its kind are set.
type Value struct {
	Kind Kind
	// Text is a string's characters, or a number's literal.
	Text string
	// True is a boolean's value.
	True bool
	// Unpaired: the string escapes a surrogate without its partner, so that no UTF-8 can hold it. Text has U+FFFD there.
	Unpaired bool
	// Items are an array's.
	Items []Value
	// Members are an object's, in the order of the text. Names are unique.
	Members []Member
}

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// SyntaxError says why a text isn't one JSON object. Detail is fit to be shown to the sender.
type SyntaxError struct {
	Offset int // in bytes
	Detail string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Detail, e.Offset) }

// AppendCanonical appends a form that is equal for requests that mean the same: members sorted, without white space, and
// without the members that are null, which equal omitted ones. Numbers keep their literal.
func (v Value) AppendCanonical(b []byte) []byte {
	switch v.Kind {
	case Null:
		return append(b, "null"...)
	case Bool:
		if v.True {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case Number:
		return append(b, v.Text...)
	case String:
		return appendString(b, v.Text)
	case Array:
		b = append(b, '[')
		for i, item := range v.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.AppendCanonical(b)
		}
		return append(b, ']')
	default:
		return appendObject(b, v.Members)
	}
}

func appendObject(b []byte, members []Member) []byte {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	b = append(b, '{')
	first := true
	for _, m := range sorted {
		if m.Value.Kind == Null {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, m.Name)
		b = append(b, ':')
		b = m.Value.AppendCanonical(b)
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
