package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"annals/eventstore/integrity"
)

// MaxLine bounds a line of events.ndjson, in bytes: twice what the largest event needs.
const MaxLine = 4 << 20

// ErrBundle says that bytes aren't what a bundle or a proof may hold.
var ErrBundle = errors.New("not evidence of this format")

// payload is a salted value; without a salt it was left out.
type payload struct {
	salt, stored []byte
}

func (p payload) present() bool { return p.salt != nil }

// fits reports whether the payload is what a leaf's hash commits to.
func (p payload) fits(hash [32]byte) bool {
	return len(p.salt) == integrity.SaltBytes && integrity.Commitment(p.salt, p.stored) == hash
}

// entry is a line of an event.
type entry struct {
	leaf           []byte
	erasedAt       int64 // position of the receipt for a payload that was left out; 0: none is named
	data, metadata payload
}

// subtree is a line of a subtree that holds no selected event.
type subtree struct {
	node
	hash integrity.Hash
}

// appendEntry adds an event's line, with its line feed.
func appendEntry(b []byte, e *entry) []byte {
	b = append(append(b, `{"leaf":`...), e.leaf...)
	if e.erasedAt > 0 {
		b = strconv.AppendInt(append(b, `,"erased_at":`...), e.erasedAt, 10)
	}
	b = appendPayload(b, "data", e.data)
	b = appendPayload(b, "metadata", e.metadata)
	return append(b, "}\n"...)
}

func appendPayload(b []byte, name string, p payload) []byte {
	if !p.present() {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `_salt":"`...)
	b = append(append(append(hex.AppendEncode(b, p.salt), `","`...), name...), '"')
	if plain(p.stored) {
		return append(append(b, ':'), p.stored...)
	}
	b = append(b[:len(b)-1], `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, p.stored), '"')
}

// plain reports whether bytes are a JSON value that can be part of a line as they are.
func plain(stored []byte) bool {
	if len(stored) == 0 || bytes.ContainsAny(stored, "\n\r") || !utf8.Valid(stored) || !json.Valid(stored) {
		return false
	}
	space := func(b byte) bool { return b == ' ' || b == '\t' }
	return !space(stored[0]) && !space(stored[len(stored)-1])
}

// appendSubtree adds a subtree's line, with its line feed.
func appendSubtree(b []byte, s subtree) []byte {
	b = strconv.AppendInt(append(b, `{"level":`...), int64(s.level), 10)
	b = strconv.AppendInt(append(b, `,"index":`...), s.index, 10)
	b = base64.StdEncoding.AppendEncode(append(b, `,"hash":"`...), s.hash[:])
	return append(b, "\"}\n"...)
}

// lineJSON is either kind of line.
type lineJSON struct {
	Leaf           json.RawMessage `json:"leaf"`
	ErasedAt       int64           `json:"erased_at"`
	DataSalt       *string         `json:"data_salt"`
	Data           json.RawMessage `json:"data"`
	DataBase64     *string         `json:"data_base64"`
	MetadataSalt   *string         `json:"metadata_salt"`
	Metadata       json.RawMessage `json:"metadata"`
	MetadataBase64 *string         `json:"metadata_base64"`
	Level          *int            `json:"level"`
	Index          int64           `json:"index"`
	Hash           string          `json:"hash"`
}

// parseLine reads a line with its line feed, strictly: what it accepts would be written again byte for byte. One of the
// results is nil. It fails with ErrBundle.
func parseLine(line []byte) (*entry, *subtree, error) {
	var v lineJSON
	if err := json.Unmarshal(line, &v); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	var again []byte
	var e *entry
	var s *subtree
	if v.Level != nil {
		s = &subtree{node: node{*v.Level, v.Index}}
		raw, err := base64.StdEncoding.DecodeString(v.Hash)
		if err != nil || len(raw) != len(s.hash) || s.level < 0 || s.level > 62 || s.index < 0 || s.index > 1<<62>>s.level {
			return nil, nil, fmt.Errorf("%w: it isn't a subtree", ErrBundle)
		}
		copy(s.hash[:], raw)
		again = appendSubtree(make([]byte, 0, len(line)), *s)
	} else {
		data, err := v.payload(v.DataSalt, v.Data, v.DataBase64)
		if err != nil {
			return nil, nil, err
		}
		metadata, err := v.payload(v.MetadataSalt, v.Metadata, v.MetadataBase64)
		if err != nil {
			return nil, nil, err
		}
		e = &entry{leaf: v.Leaf, erasedAt: v.ErasedAt, data: data, metadata: metadata}
		again = appendEntry(make([]byte, 0, len(line)), e)
	}
	if !bytes.Equal(again, line) {
		return nil, nil, fmt.Errorf("%w: the line isn't written as the format demands", ErrBundle)
	}
	return e, s, nil
}

func (v *lineJSON) payload(salt *string, plain json.RawMessage, encoded *string) (p payload, err error) {
	if salt == nil {
		return payload{}, nil
	}
	if p.salt, err = hex.DecodeString(*salt); err != nil {
		return payload{}, fmt.Errorf("%w: a salt: %w", ErrBundle, err)
	}
	if p.stored = plain; encoded != nil {
		if p.stored, err = base64.StdEncoding.DecodeString(*encoded); err != nil {
			return payload{}, fmt.Errorf("%w: a payload: %w", ErrBundle, err)
		}
	}
	return p, nil
}
