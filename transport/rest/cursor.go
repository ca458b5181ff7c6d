package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// cursorScope is what a cursor is bound to: the list, the client and the filters. Each part counts for itself, so that two
// filters can't add up to another two.
func cursorScope(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.Write(binary.AppendUvarint(nil, uint64(len(part))))
		b.WriteString(part)
	}
	return b.String()
}

const cursorSum = 8 // bytes

// encodeCursor makes the cursor that leads on after a key. It is opaque and URL-safe. The checksum tells a cursor of other
// filters, or one that somebody made up, from a good one; a cursor holds nothing that its bearer may not know.
func encodeCursor(scope string, after int64) string {
	key := binary.AppendUvarint(nil, uint64(after))
	return base64.RawURLEncoding.EncodeToString(append(cursorChecksum(scope, key), key...))
}

func cursorChecksum(scope string, key []byte) []byte {
	h := sha256.New()
	h.Write([]byte("annals cursor 1\x00"))
	h.Write(key)
	h.Write([]byte{0})
	h.Write([]byte(scope))
	return h.Sum(nil)[:cursorSum]
}

// decodeCursor reads a cursor of the scope.
func decodeCursor(scope, cursor string) (after int64, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= cursorSum || len(raw) > cursorSum+binary.MaxVarintLen64 {
		return 0, false
	}
	if base64.RawURLEncoding.EncodeToString(raw) != cursor { // line feeds are skipped by the decoder
		return 0, false
	}
	key := raw[cursorSum:]
	n, length := binary.Uvarint(key)
	if length != len(key) || int64(n) < 0 || string(cursorChecksum(scope, key)) != string(raw[:cursorSum]) {
		return 0, false
	}
	return int64(n), true
}

// cursor is a cursor as it was sent. It is read once the client is known, which is a part of its scope.
type cursor struct {
	text string
	sent bool
}

func (q *query) cursor() cursor {
	text, sent := q.take("cursor")
	return cursor{text: text, sent: sent}
}

// after gives the key to go on after.
func (c cursor) after(scope string) (int64, error) {
	if !c.sent {
		return 0, nil
	}
	after, ok := decodeCursor(scope, c.text)
	if !ok {
		return 0, malformed("the cursor isn't one of this list with these filters")
	}
	return after, nil
}
