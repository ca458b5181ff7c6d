package eventstore

import (
	"errors"
	"unicode/utf8"
)

// maxJSONDepth keeps PostgreSQL's recursive parser far from its stack limit, whatever the server's setting.
const maxJSONDepth = 256

var (
	errJSONSyntax    = errors.New("it is not valid JSON")
	errJSONDepth     = errors.New("it is nested too deeply")
	errJSONUTF8      = errors.New("it is not valid UTF-8")
	errJSONNUL       = errors.New("it holds a NUL character")
	errJSONSurrogate = errors.New("it holds half of a surrogate pair")
	errJSONObject    = errors.New("it is not an object")
)

// checkJSON accepts what PostgreSQL can store as json and also use: RFC 8259, UTF-8, without NUL and without unpaired
// surrogates in escapes, which the server takes but fails on when a value is read.
func checkJSON(b []byte, object bool) error {
	if !utf8.Valid(b) {
		return errJSONUTF8
	}
	c := jsonChecker{b: b}
	c.space()
	if object && (c.i >= len(b) || b[c.i] != '{') {
		return errJSONObject
	}
	if err := c.value(0); err != nil {
		return err
	}
	c.space()
	if c.i != len(b) {
		return errJSONSyntax
	}
	return nil
}

// jsonChecker walks over one text; i is the next byte.
type jsonChecker struct {
	b []byte
	i int
}

func (c *jsonChecker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

func (c *jsonChecker) value(depth int) error {
	if c.i >= len(c.b) {
		return errJSONSyntax
	}
	switch c.b[c.i] {
	case '{':
		return c.members(depth+1, '}')
	case '[':
		return c.members(depth+1, ']')
	case '"':
		return c.text()
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	default:
		return c.number()
	}
}

// members reads an object or an array from its opening bracket to its end.
func (c *jsonChecker) members(depth int, end byte) error {
	if depth > maxJSONDepth {
		return errJSONDepth
	}
	c.i++
	c.space()
	if c.i < len(c.b) && c.b[c.i] == end {
		c.i++
		return nil
	}
	for {
		if end == '}' {
			if err := c.name(); err != nil {
				return err
			}
		}
		if err := c.value(depth); err != nil {
			return err
		}
		c.space()
		if c.i >= len(c.b) {
			return errJSONSyntax
		}
		last := c.b[c.i]
		c.i++
		if last == end {
			return nil
		}
		if last != ',' {
			return errJSONSyntax
		}
		c.space()
	}
}

// name reads a member's name and the colon.
func (c *jsonChecker) name() error {
	if c.i >= len(c.b) || c.b[c.i] != '"' {
		return errJSONSyntax
	}
	if err := c.text(); err != nil {
		return err
	}
	c.space()
	if c.i >= len(c.b) || c.b[c.i] != ':' {
		return errJSONSyntax
	}
	c.i++
	c.space()
	return nil
}

func (c *jsonChecker) text() error {
	b, i := c.b, c.i+1
	for i < len(b) {
		ch := b[i]
		i++
		if ch > '\\' || ch > '"' && ch < '\\' { // nearly always
			continue
		}
		switch {
		case ch == '"':
			c.i = i
			return nil
		case ch == '\\':
			c.i = i
			if err := c.escape(); err != nil {
				return err
			}
			i = c.i
		case ch == 0:
			return errJSONNUL
		case ch < 0x20:
			return errJSONSyntax
		}
	}
	return errJSONSyntax
}

// escape reads what follows a backslash.
func (c *jsonChecker) escape() error {
	if c.i >= len(c.b) {
		return errJSONSyntax
	}
	ch := c.b[c.i]
	c.i++
	switch ch {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return errJSONSyntax
	}
	r, ok := c.hex4()
	switch {
	case !ok:
		return errJSONSyntax
	case r == 0:
		return errJSONNUL
	case r < 0xd800 || r > 0xdfff:
		return nil
	case r >= 0xdc00 || c.i+1 >= len(c.b) || c.b[c.i] != '\\' || c.b[c.i+1] != 'u':
		return errJSONSurrogate
	}
	c.i += 2
	low, ok := c.hex4()
	if !ok {
		return errJSONSyntax
	}
	if low < 0xdc00 || low > 0xdfff {
		return errJSONSurrogate
	}
	return nil
}

func (c *jsonChecker) hex4() (r rune, ok bool) {
	if len(c.b)-c.i < 4 {
		return 0, false
	}
	for _, ch := range c.b[c.i : c.i+4] {
		switch {
		case ch >= '0' && ch <= '9':
			r = r<<4 | rune(ch-'0')
		case ch >= 'a' && ch <= 'f':
			r = r<<4 | rune(ch-'a'+10)
		case ch >= 'A' && ch <= 'F':
			r = r<<4 | rune(ch-'A'+10)
		default:
			return 0, false
		}
	}
	c.i += 4
	return r, true
}

func (c *jsonChecker) word(w string) error {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		return errJSONSyntax
	}
	c.i += len(w)
	return nil
}

func (c *jsonChecker) number() error {
	if c.i < len(c.b) && c.b[c.i] == '-' {
		c.i++
	}
	switch {
	case c.i < len(c.b) && c.b[c.i] == '0':
		c.i++
	case c.digits() == 0:
		return errJSONSyntax
	}
	if c.i < len(c.b) && c.b[c.i] == '.' {
		c.i++
		if c.digits() == 0 {
			return errJSONSyntax
		}
	}
	if c.i < len(c.b) && (c.b[c.i] == 'e' || c.b[c.i] == 'E') {
		c.i++
		if c.i < len(c.b) && (c.b[c.i] == '+' || c.b[c.i] == '-') {
			c.i++
		}
		if c.digits() == 0 {
			return errJSONSyntax
		}
	}
	return nil
}

func (c *jsonChecker) digits() int {
	start := c.i
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		c.i++
	}
	return c.i - start
}
