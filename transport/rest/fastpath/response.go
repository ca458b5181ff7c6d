package fastpath

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// wholeAnswer is the most that is kept of an answer before it is sent. A body without a declared length goes out in chunks
// when it is longer.
const wholeAnswer = 32 << 10

// response is an answer. One that is small goes out at its end, in one piece.
type response struct {
	conn    *conn
	header  http.Header // as the handler has it
	fields  http.Header // as they are sent; nil: there is no status yet
	status  int         // 0: none was given yet
	length  int64       // of the body, as declared; -1: it wasn't
	written int64       // of the body
	begun   bool        // the head was written
	chunked bool
	failed  error
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. Interim answers aren't sent.
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %d", status))
	}
	if w.status != 0 || status < http.StatusOK || w.failed != nil {
		return
	}
	w.status, w.length, w.fields = status, -1, w.header
	if declared := w.header.Get("Content-Length"); declared != "" && !w.bodiless() {
		length, err := strconv.ParseInt(declared, 10, 64)
		if err != nil || length < 0 {
			delete(w.header, "Content-Length")
		} else {
			w.length = length
		}
	}
	if w.length >= 0 && w.typed() {
		w.head()
	} else {
		w.fields = w.header.Clone() // what is missing comes with the body; what the handler changes now comes too late
	}
}

// bodiless reports whether answers of the status have no body.
func (w *response) bodiless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// typed reports whether the handler has said what the body is, if only that nothing is to be said.
func (w *response) typed() bool {
	_, typed := w.fields["Content-Type"]
	return typed || len(w.fields["Content-Encoding"]) > 0
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.failed != nil:
		return 0, w.failed
	case len(b) == 0:
		return 0, nil
	case w.bodiless():
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(b)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	c := w.conn
	if w.length < 0 && !w.begun && len(c.body)+len(b) <= wholeAnswer {
		c.body = append(c.body, b...) // its length may be known at the end
		return len(b), nil
	}
	w.begin(b)
	w.add(b)
	if len(c.out) > wholeAnswer {
		w.send(c.out)
		c.out = c.out[:0]
	}
	return len(b), w.failed
}

// FlushError sends what there is of the answer; http.ResponseController finds it.
func (w *response) FlushError() error {
	if w.failed != nil {
		return w.failed
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.begin(nil)
	w.send(w.conn.out)
	w.conn.out = w.conn.out[:0]
	return w.failed
}

// SetWriteDeadline is http.ResponseController's. The deadline holds until the answer's end.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.conn.writeUntil = time.Time{}
	return w.conn.SetWriteDeadline(t)
}

// begin writes the head, once, of an answer that isn't at its end. next is what comes of the body after what there is.
func (w *response) begin(next []byte) {
	if w.begun {
		return
	}
	w.conn.watchCaller(math.MaxInt64) // such an answer may take long
	w.chunked = w.length < 0 && !w.bodiless()
	w.detectType(next)
	w.head()
	w.add(w.conn.body)
}

// detectType says what the body is, when the handler doesn't. next follows on what there is of it.
func (w *response) detectType(next []byte) {
	first := w.conn.body
	if len(first) == 0 {
		first = next
	}
	if len(first) > 0 && !w.typed() {
		w.fields.Set("Content-Type", http.DetectContentType(first))
	}
}

// end sends what is left of the answer. After an error the connection is of no more use.
func (w *response) end() (err error) {
	defer func() { err, w.failed = w.failed, errEnded }() // whoever writes still, writes nothing
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	c := w.conn
	if !w.begun {
		w.detectType(nil)
		if w.length < 0 && !w.bodiless() {
			w.fields.Set("Content-Length", strconv.Itoa(len(c.body)))
		}
		w.head()
		w.add(c.body)
	}
	if w.chunked {
		c.out = append(c.out, "0\r\n\r\n"...)
	}
	w.send(c.out)
	if w.failed == nil && w.length >= 0 && w.written != w.length {
		w.failed = errLength
	}
	return w.failed
}

var (
	errLength = errors.New("the answer isn't as long as it said")
	errEnded  = errors.New("the request was answered already")
)

// add puts a part of the body into the buffer, or sends it when it is large.
func (w *response) add(b []byte) {
	c := w.conn
	if len(b) == 0 { // as a chunk it would be the last
		return
	}
	if w.chunked {
		c.out = append(strconv.AppendInt(c.out, int64(len(b)), 16), "\r\n"...)
	}
	if len(b) > wholeAnswer {
		w.send(c.out)
		w.send(b)
		c.out = c.out[:0]
	} else {
		c.out = append(c.out, b...)
	}
	if w.chunked {
		c.out = append(c.out, "\r\n"...)
	}
}

// send writes to the connection. Where that fails, the caller has gone.
func (w *response) send(b []byte) {
	if w.failed != nil || len(b) == 0 {
		return
	}
	if _, w.failed = w.conn.Write(b); w.failed != nil {
		w.conn.gone()
	}
}

// head puts the status and the header into the buffer.
func (w *response) head() {
	w.begun = true
	c, h := w.conn, w.fields
	b := append(strconv.AppendInt(append(c.out, "HTTP/1.1 "...), int64(w.status), 10), ' ')
	b = append(append(b, http.StatusText(w.status)...), "\r\n"...)
	if _, dated := h["Date"]; !dated {
		b = append(append(append(b, "Date: "...), date()...), "\r\n"...)
	}
	if w.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case h.Get("Connection") == "close":
		c.last = true
	case c.listener.draining.Load():
		c.last = true
		b = append(b, "Connection: close\r\n"...)
	}
	c.out = append(w.appendFields(b), "\r\n"...)
}

// sends reports whether a field goes out. Not those that are said here, or that there is nothing to say of.
func (w *response) sends(name string) bool {
	switch name {
	case "", "Transfer-Encoding", "Trailer":
		return false
	case "Content-Length":
		return !w.bodiless()
	case "Content-Type":
		return w.status != http.StatusNotModified
	}
	return consists(name, inName)
}

// appendFields writes a header's fields in the order of their names.
func (w *response) appendFields(b []byte) []byte {
	var room [16]string
	names := room[:0]
	for name := range w.fields {
		if w.sends(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range w.fields[name] {
			b = append(append(append(b, name...), ": "...), oneLine(value)...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

var newlines = strings.NewReplacer("\n", " ", "\r", " ")

// oneLine keeps a value from beginning another line.
func oneLine(value string) string {
	if strings.ContainsAny(value, "\r\n") {
		value = newlines.Replace(value)
	}
	return strings.Trim(value, " \t")
}

// lastDate is the Date of answers in the present second.
var lastDate atomic.Pointer[dated]

type dated struct {
	second int64
	text   string
}

func date() string {
	now := time.Now()
	last := lastDate.Load()
	if last == nil || last.second != now.Unix() {
		last = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastDate.Store(last)
	}
	return last.text
}
