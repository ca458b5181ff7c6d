package rest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"annals/domain"
)

// headerText reads header values by the grammar of RFC 9110, section 5.6.
type headerText struct {
	text string
	at   int
}

func (h *headerText) done() bool { return h.at >= len(h.text) }

func (h *headerText) space() {
	for !h.done() && (h.text[h.at] == ' ' || h.text[h.at] == '\t') {
		h.at++
	}
}

// skip steps over a character when it is next.
func (h *headerText) skip(c byte) bool {
	if h.done() || h.text[h.at] != c {
		return false
	}
	h.at++
	return true
}

const tokenCharacters = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// token reads a token, "" when none is next.
func (h *headerText) token() string {
	start := h.at
	for !h.done() && strings.IndexByte(tokenCharacters, h.text[h.at]) >= 0 {
		h.at++
	}
	return h.text[start:h.at]
}

// quoted reads a quoted-string after its opening quote.
func (h *headerText) quoted() (string, bool) {
	var out []byte
	for ; !h.done(); h.at++ {
		switch c := h.text[h.at]; {
		case c == '"':
			h.at++
			return string(out), true
		case c == '\\':
			if h.at++; h.done() {
				return "", false
			}
			out = append(out, h.text[h.at])
		case c < ' ' && c != '\t' || c == 0x7f:
			return "", false
		default:
			out = append(out, c)
		}
	}
	return "", false
}

// word reads a token or a quoted-string.
func (h *headerText) word() (string, bool) {
	if h.skip('"') {
		return h.quoted()
	}
	word := h.token()
	return word, word != ""
}

// parseIfMatch reads If-Match (RFC 9110, section 13.1.1): * or a list of entity tags. Weak tags and tags that aren't a
// version of ours parse, and match nothing. It gives nil when the header wasn't sent.
func parseIfMatch(values []string) (*domain.Precondition, error) {
	if len(values) == 0 {
		return nil, nil
	}
	h := headerText{text: strings.Join(values, ",")}
	wrong := malformed(`If-Match must be * or a list of entity tags such as "3"`)
	h.space()
	if h.skip('*') {
		if h.space(); !h.done() {
			return nil, wrong
		}
		return &domain.Precondition{Any: true}, nil
	}
	p, tags := &domain.Precondition{}, 0
	for {
		if h.space(); h.skip(',') { // empty elements are allowed
			continue
		}
		if h.done() {
			break
		}
		tag, weak, ok := h.entityTag()
		if h.space(); !ok || !h.done() && !h.skip(',') {
			return nil, wrong
		}
		tags++
		if version, ok := versionOf(tag); ok && !weak {
			p.Versions = append(p.Versions, version)
		}
	}
	if tags == 0 {
		return nil, wrong
	}
	return p, nil
}

// versionOf reads the version in an entity tag of ours.
func versionOf(tag string) (int64, bool) {
	version, err := strconv.ParseInt(tag, 10, 64)
	return version, err == nil && version > 0 && strconv.FormatInt(version, 10) == tag
}

func (h *headerText) entityTag() (tag string, weak, ok bool) {
	if strings.HasPrefix(h.text[h.at:], "W/") {
		weak = true
		h.at += 2
	}
	if !h.skip('"') {
		return "", weak, false
	}
	start := h.at
	for !h.done() {
		switch c := h.text[h.at]; {
		case c == '"':
			h.at++
			return h.text[start : h.at-1], weak, true
		case c < 0x21 || c == 0x7f:
			return "", weak, false
		}
		h.at++
	}
	return "", weak, false
}

// etag writes a version as an entity tag.
func etag(version int64) string {
	return string(append(strconv.AppendInt([]byte{'"'}, version, 10), '"'))
}

// headerETag is spelled as its RFC does, which isn't the form that Header.Set would give it.
const headerETag = "ETag"

func setETag(h http.Header, version int64) { h[headerETag] = []string{etag(version)} }

// noneMatch reports whether If-None-Match holds the version, so that a GET can answer 304. What doesn't parse matches
// nothing.
func noneMatch(values []string, version int64) bool {
	if len(values) == 0 {
		return false
	}
	h := headerText{text: strings.Join(values, ",")}
	h.space()
	if h.skip('*') {
		h.space()
		return h.done()
	}
	for {
		if h.space(); h.skip(',') {
			continue
		}
		tag, _, ok := h.entityTag() // compared weakly
		if !ok {
			return false
		}
		if v, ok := versionOf(tag); ok && v == version {
			return true
		}
	}
}

// maxWait is how long Prefer: wait can make a GET wait.
const maxWait = 30 * time.Second

// preferences are what Prefer asks for, as far as it is known here.
type preferences struct {
	representation bool
	minimal        bool
	wait           time.Duration
	hasWait        bool
}

// parsePrefer reads Prefer (RFC 7240). Unknown preferences, and known ones with a value that means nothing here, are
// ignored, as the RFC asks; of a preference that appears twice the first counts. wait is at most maxWait.
func parsePrefer(values []string) (p preferences, err error) {
	if len(values) == 0 {
		return p, nil
	}
	h := headerText{text: strings.Join(values, ",")}
	hasReturn := false
	for {
		if h.space(); h.skip(',') {
			continue
		}
		if h.done() {
			return p, nil
		}
		name, value, ok := h.preference()
		if !ok {
			return preferences{}, malformed("Prefer must be a list of preferences such as return=representation, wait=5")
		}
		switch strings.ToLower(name) {
		case "return":
			if !hasReturn {
				hasReturn = true
				p.representation, p.minimal = value == "representation", value == "minimal"
			}
		case "wait":
			if seconds, err := parsePosition(value); err == nil && !p.hasWait {
				p.hasWait = true
				p.wait = time.Duration(min(seconds, int64(maxWait/time.Second))) * time.Second
			}
		}
	}
}

// preference reads token [= word] *(; parameter) up to the next comma.
func (h *headerText) preference() (name, value string, ok bool) {
	if name, value, ok = h.pair(); !ok {
		return "", "", false
	}
	for {
		h.space()
		switch {
		case h.done() || h.skip(','):
			return name, value, true
		case !h.skip(';'):
			return "", "", false
		}
		h.space()
		if h.done() || h.text[h.at] == ';' || h.text[h.at] == ',' {
			continue
		}
		if _, _, ok := h.pair(); !ok {
			return "", "", false
		}
	}
}

func (h *headerText) pair() (name, value string, ok bool) {
	if name = h.token(); name == "" {
		return "", "", false
	}
	h.space()
	if !h.skip('=') {
		return name, "", true
	}
	h.space()
	value, ok = h.word()
	return name, value, ok
}
