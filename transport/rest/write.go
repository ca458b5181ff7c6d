package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// timestamp is a time as the API writes it: RFC 3339 in UTC, with up to six fraction digits.
type timestamp time.Time

// MarshalJSON implements json.Marshaler.
func (t timestamp) MarshalJSON() ([]byte, error) {
	return appendTime(make([]byte, 0, 32), time.Time(t)), nil
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05.999999Z")
	return append(b, '"')
}

// buffers are reused between answers; one that grew large is left to the collector.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const keepBuffer = 64 << 10

func release(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		b.Reset()
		buffers.Put(b)
	}
}

// encode appends a value's JSON and a line feed.
func encode(b *bytes.Buffer, v any) error {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, r *request, status int, v any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	if err := encode(b, v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	writeBody(w, r, status, mediaJSON, b.Bytes())
	return nil
}

// writeBody answers with a body that is complete. Of HEAD the body is left out.
func writeBody(w http.ResponseWriter, r *request, status int, media string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a caller that went away is no error of ours
	}
}

// pagePolicy keeps a page from loading anything.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// writePage answers with a page of HTML that loads nothing from anywhere else.
func writePage(w http.ResponseWriter, r *request, page *template.Template, data any) error {
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return fmt.Errorf("render the page: %w", err)
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	writeBody(w, r, http.StatusOK, mediaHTML+"; charset=utf-8", b.Bytes())
	return nil
}
