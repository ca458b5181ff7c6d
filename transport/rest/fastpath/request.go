package fastpath

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// verdict says what the bytes of a connection begin with.
type verdict int

const (
	ordinary verdict = iota
	partial          // what may become an ordinary request
	other            // anything else, which is net/http's
	none             // nothing more is to come
)

// maxFields bounds the fields of an ordinary request's header.
const maxFields = 24

// The bytes that the parts of an ordinary request's head consist of: fewer than HTTP allows, never more.
const (
	inName   = 1 << iota // a token (RFC 9110, 5.6.2)
	inValue              // visible ASCII, space and tab
	inTarget             // visible ASCII
	inHost               // of names, addresses and ports
)

var class = func() (table [256]byte) {
	for b := byte(0x21); b < 0x7f; b++ {
		table[b] = inValue | inTarget
	}
	table[' '], table['\t'] = inValue, inValue
	mark := func(text string, as byte) {
		for i := range len(text) {
			table[text[i]] |= as
		}
	}
	const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark(alphanumeric+"!#$%&'*+-.^_`|~", inName)
	mark(alphanumeric+".-_:[]", inHost)
	return table
}()

func consists(text string, of byte) bool {
	for i := range len(text) {
		if class[text[i]]&of == 0 {
			return false
		}
	}
	return true
}

// message is a request as it was sent.
type message struct {
	method, target string
	url            *url.URL
	host           string
	fields         int // of the header, without Host
	names, values  [maxFields]string
	body           []byte
}

var headEnd = []byte("\r\n\r\n")

// parse reads the request that b begins with. size is what it takes as a whole, as far as that is known.
func (m *message) parse(b []byte) (size int, v verdict) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return 0, partial
	}
	line, rest, _ := strings.Cut(string(b[:end]), "\r\n")
	if !m.start(line) {
		return 0, other
	}
	m.host, m.fields = "", 0
	length := -1
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if !m.field(line, &length) {
			return 0, other
		}
	}
	if m.host == "" {
		return 0, other
	}
	head := end + len(headEnd)
	size = head + max(0, length)
	if len(b) < size {
		return size, partial
	}
	m.body = b[head:size]
	return size, ordinary
}

// start takes a request's first line.
func (m *message) start(line string) bool {
	method, rest, _ := strings.Cut(line, " ")
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	target, protocol, _ := strings.Cut(rest, " ")
	if protocol != "HTTP/1.1" || !strings.HasPrefix(target, "/") || !consists(target, inTarget) {
		return false
	}
	var err error
	m.method, m.target = method, target
	m.url, err = url.ParseRequestURI(target)
	return err == nil
}

// field takes a line of the header. What says more of the connection or of the body than its length isn't ordinary.
func (m *message) field(line string, length *int) bool {
	name, value, found := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	if !found || name == "" || !consists(name, inName) || !consists(value, inValue) {
		return false
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Host":
		known := m.host != ""
		m.host = value
		return !known && value != "" && consists(value, inHost)
	case "Content-Length":
		n, ok := smallNumber(value)
		if !ok || *length >= 0 {
			return false
		}
		*length = n
	case "Connection":
		if !strings.EqualFold(value, "keep-alive") {
			return false
		}
	case "Transfer-Encoding", "Trailer", "Expect", "Pragma":
		return false
	}
	if m.fields == maxFields {
		return false
	}
	m.names[m.fields], m.values[m.fields] = name, value
	m.fields++
	return true
}

// smallNumber reads up to four digits.
func smallNumber(text string) (n int, ok bool) {
	if text == "" || len(text) > 4 {
		return 0, false
	}
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		n = 10*n + int(digit)
	}
	return n, true
}

// exchange is a request and its answer, which live as long as anybody holds on to them.
type exchange struct {
	request  *http.Request
	response response
	values   [maxFields]string
}

// open makes the request of what was read. base has what it has in common with others.
func (m *message) open(base *http.Request, ctx context.Context) *exchange {
	x := &exchange{request: base.WithContext(ctx), values: m.values}
	r := x.request
	r.Method, r.URL, r.RequestURI, r.Host = m.method, m.url, m.target, m.host
	r.Header = make(http.Header, m.fields)
	for i, name := range m.names[:m.fields] {
		if earlier, more := r.Header[name]; more {
			r.Header[name] = append(earlier, m.values[i])
		} else {
			r.Header[name] = x.values[i : i+1 : i+1]
		}
	}
	r.Body = http.NoBody
	if len(m.body) > 0 {
		r.ContentLength = int64(len(m.body))
		r.Body = io.NopCloser(bytes.NewReader(bytes.Clone(m.body))) // the connection's buffer is the next request's, too
	}
	return x
}
