// Package domain is the kernel every aggregate is written against: deciders, the codec of their events, the unit of
// work that collects them, error codes, identifiers, money and quantities. It is pure: no clock, no I/O, no SQL.
package domain

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
)

// ID identifies a stream, an event or a command: a UUID in its 16-byte form. The zero ID means "none".
type ID [16]byte

// ErrInvalidID reports text that isn't a UUID in its canonical form of 36 characters.
var ErrInvalidID = errors.New("not a UUID")

// ParseID reads a UUID in canonical form (8-4-4-4-12 hexadecimal digits, either case).
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, ErrInvalidID
	}
	hexDigits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(hexDigits)); err != nil {
		return ID{}, ErrInvalidID
	}
	return id, nil
}

// MustParseID is ParseID for constants; it panics on text that isn't a UUID.
func MustParseID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic("domain: " + s + " is " + err.Error())
	}
	return id
}

// NameID derives the version 5 UUID of a name in a namespace (RFC 9562, section 5.5), for streams whose identity follows
// from what they describe.
func NameID(namespace ID, name string) ID {
	h := sha1.New()
	h.Write(namespace[:])
	h.Write([]byte(name))
	var id ID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsZero reports whether the ID is absent.
func (id ID) IsZero() bool { return id == ID{} }

// String gives the canonical lower-case form.
func (id ID) String() string {
	var b [36]byte
	id.encode(&b)
	return string(b[:])
}

func (id ID) encode(b *[36]byte) {
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
}

// MarshalText writes the canonical form, so that JSON carries ids as strings.
func (id ID) MarshalText() ([]byte, error) {
	var b [36]byte
	id.encode(&b)
	return b[:], nil
}

// UnmarshalText reads the canonical form.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
