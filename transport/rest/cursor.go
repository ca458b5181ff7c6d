package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"annals/domain"
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
	return sealCursor(scope, binary.AppendUvarint(nil, uint64(after)))
}

// encodeTextCursor is encodeCursor for a list whose keys are text.
func encodeTextCursor(scope, after string) string { return sealCursor(scope, []byte(after)) }

func sealCursor(scope string, key []byte) string {
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
	key, ok := openCursor(scope, cursor, binary.MaxVarintLen64)
	if !ok {
		return 0, false
	}
	n, length := binary.Uvarint(key)
	if length != len(key) || int64(n) < 0 {
		return 0, false
	}
	return int64(n), true
}

// maxTextKey is how many bytes a key that is text may have.
const maxTextKey = domain.MaxText * utf8.UTFMax

// decodeTextCursor reads a cursor of the scope whose key is text, such as a column may hold.
func decodeTextCursor(scope, cursor string) (after string, ok bool) {
	key, ok := openCursor(scope, cursor, maxTextKey)
	if !ok || !utf8.Valid(key) || bytes.IndexByte(key, 0) >= 0 {
		return "", false
	}
	return string(key), true
}

// openCursor takes the key out of a cursor of the scope. It has at least one byte.
func openCursor(scope, cursor string, longest int) (key []byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= cursorSum || len(raw) > cursorSum+longest {
		return nil, false
	}
	if base64.RawURLEncoding.EncodeToString(raw) != cursor { // line feeds are skipped by the decoder
		return nil, false
	}
	key = raw[cursorSum:]
	return key, string(cursorChecksum(scope, key)) == string(raw[:cursorSum])
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
		return 0, errCursor()
	}
	return after, nil
}

// afterText gives the key to go on after, of a list whose keys are text.
func (c cursor) afterText(scope string) (string, error) {
	if !c.sent {
		return "", nil
	}
	after, ok := decodeTextCursor(scope, c.text)
	if !ok {
		return "", errCursor()
	}
	return after, nil
}

func errCursor() error { return malformed("the cursor isn't one of this list with these filters") }
