package rest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"

	"annals/eventstore"
	"annals/transport/cloudevents"
)

// headerNextAfter leads on from a batch, which has no place for it.
const headerNextAfter = "Annals-Next-After"

// writeBatch answers with a page of events as a CloudEvents batch.
func writeBatch(w http.ResponseWriter, r *request, events []eventstore.Envelope) error {
	batch := make([]cloudevents.Event, len(events))
	for i, e := range events {
		batch[i] = cloudevents.Of(e)
	}
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	if err := encode(b, batch); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	writeBody(w, r, http.StatusOK, mediaCloudEvents, b.Bytes())
	return nil
}

// linkNext points to the next page: the same request with one parameter set to another value (RFC 8288).
func linkNext(h http.Header, r *request, name, value string) {
	q, _ := url.ParseQuery(r.URL.RawQuery) // parsed before, more strictly
	q.Set(name, value)
	h.Set("Link", "<"+r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
}
