package jsonbody

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads one JSON object. Every error is a *SyntaxError.
func Parse(data []byte) (Value, error) {
	p := parser{text: string(data)}
	if !utf8.ValidString(p.text) {
		return Value{}, p.fail("the body is not UTF-8")
	}
	p.space()
	if p.at == len(p.text) {
		return Value{}, p.fail("the body is empty; it must be a JSON object")
	}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	p.space()
	if p.at < len(p.text) {
		return Value{}, p.fail("there is more after the JSON value")
	}
	if v.Kind != Object {
		p.at = 0
		return Value{}, p.fail("the body is %s; it must be a JSON object", v.Kind)
	}
	return v, nil
}

type parser struct {
	text string
	at   int
}

// fail makes the error for the place where the parser stands.
func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{Offset: p.at, Detail: fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// peek gives the next byte, 0 at the end. A zero byte in the text fails like any other unexpected one.
func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *parser) value(depth int) (Value, error) {
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		return p.string()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case strings.HasPrefix(p.text[p.at:], "true"):
		p.at += 4
		return Value{Kind: Bool, True: true}, nil
	case strings.HasPrefix(p.text[p.at:], "false"):
		p.at += 5
		return Value{Kind: Bool}, nil
	case strings.HasPrefix(p.text[p.at:], "null"):
		p.at += 4
		return Value{Kind: Null}, nil
	}
	return Value{}, p.unexpected("a value")
}

func (p *parser) unexpected(wanted string) error {
	if p.at >= len(p.text) {
		return p.fail("the body ends where %s is expected", wanted)
	}
	return p.fail("%s is expected", wanted)
}

func (p *parser) object(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, p.fail("the body has more than %d levels", MaxDepth)
	}
	v := Value{Kind: Object}
	var seen names
	p.at++
	p.space()
	if p.peek() == '}' {
		p.at++
		return v, nil
	}
	for {
		start := p.at
		if p.peek() != '"' {
			return Value{}, p.unexpected("a member's name")
		}
		name, err := p.string()
		if err != nil {
			return Value{}, err
		}
		if seen.add(v.Members, name.Text) {
			p.at = start
			return Value{}, p.fail("a member appears twice")
		}
		p.space()
		if p.peek() != ':' {
			return Value{}, p.unexpected("a colon")
		}
		p.at++
		p.space()
		member, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		v.Members = append(v.Members, Member{Name: name.Text, Value: member})
		if more, err := p.next('}'); err != nil || !more {
			return v, err
		}
	}
}

func (p *parser) array(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, p.fail("the body has more than %d levels", MaxDepth)
	}
	v := Value{Kind: Array}
	p.at++
	p.space()
	if p.peek() == ']' {
		p.at++
		return v, nil
	}
	for {
		item, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		v.Items = append(v.Items, item)
		if more, err := p.next(']'); err != nil || !more {
			return v, err
		}
	}
}

// next steps over a comma, or over the end of an array or object, of which it reports false.
func (p *parser) next(end byte) (more bool, err error) {
	p.space()
	switch p.peek() {
	case ',':
		p.at++
		p.space()
		return true, nil
	case end:
		p.at++
		return false, nil
	}
	return false, p.unexpected("a comma or the end")
}

// names finds duplicates: by looking through the members while they are few, by a set past that.
type names struct{ set map[string]struct{} }

func (n *names) add(members []Member, name string) (duplicate bool) {
	const few = 16
	if len(members) < few {
		for i := range members {
			if members[i].Name == name {
				return true
			}
		}
		return false
	}
	if n.set == nil {
		n.set = make(map[string]struct{}, 4*few)
		for i := range members {
			n.set[members[i].Name] = struct{}{}
		}
	}
	_, duplicate = n.set[name]
	n.set[name] = struct{}{}
	return duplicate
}

func (p *parser) number() (Value, error) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	switch c := p.peek(); {
	case c == '0':
		p.at++
	case c >= '1' && c <= '9':
		p.digits()
	default:
		return Value{}, p.unexpected("a digit")
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return Value{}, p.unexpected("a digit")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return Value{}, p.unexpected("a digit")
		}
	}
	return Value{Kind: Number, Text: p.text[start:p.at]}, nil
}

func (p *parser) digits() bool {
	start := p.at
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at > start
}

// string reads a string from its opening quote. One without escapes is a part of the text, not a copy.
func (p *parser) string() (Value, error) {
	p.at++
	start := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			v := Value{Kind: String, Text: p.text[start:p.at]}
			p.at++
			return v, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return Value{}, p.fail("a string holds a control character that isn't escaped")
		}
		p.at++
	}
	return Value{}, p.fail("the body ends within a string")
}

func (p *parser) escaped(start int) (Value, error) {
	v := Value{Kind: String}
	out := append(make([]byte, 0, p.at-start+32), p.text[start:p.at]...)
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			v.Text = string(out)
			return v, nil
		case c == '\\':
			r, paired, err := p.escape()
			if err != nil {
				return Value{}, err
			}
			v.Unpaired = v.Unpaired || !paired
			out = utf8.AppendRune(out, r)
		case c < ' ':
			return Value{}, p.fail("a string holds a control character that isn't escaped")
		default:
			out = append(out, c)
			p.at++
		}
	}
	return Value{}, p.fail("the body ends within a string")
}

// escape reads one escape sequence, or two that make a surrogate pair.
func (p *parser) escape() (r rune, paired bool, err error) {
	p.at++
	c := p.peek()
	if simple := strings.IndexByte(`"\/bfnrt`, c); c != 0 && simple >= 0 {
		p.at++
		return rune("\"\\/\b\f\n\r\t"[simple]), true, nil
	}
	if c != 'u' {
		return 0, false, p.unexpected("an escape sequence")
	}
	p.at++
	unit, ok := p.hex()
	if !ok {
		return 0, false, p.unexpected("four hexadecimal digits")
	}
	p.at += 4
	if !utf16.IsSurrogate(unit) {
		return unit, true, nil
	}
	if strings.HasPrefix(p.text[p.at:], `\u`) {
		p.at += 2
		low, ok := p.hex()
		if pair := utf16.DecodeRune(unit, low); ok && pair != utf8.RuneError {
			p.at += 4
			return pair, true, nil
		}
		p.at -= 2
	}
	return utf8.RuneError, false, nil
}

// hex reads four hexadecimal digits without stepping over them.
func (p *parser) hex() (rune, bool) {
	if len(p.text)-p.at < 4 {
		return 0, false
	}
	digits := p.text[p.at : p.at+4]
	for i := range len(digits) {
		if !strings.Contains("0123456789abcdefABCDEF", digits[i:i+1]) {
			return 0, false
		}
	}
	unit, err := strconv.ParseUint(digits, 16, 16)
	return rune(unit), err == nil
}
