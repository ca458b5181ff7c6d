package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	otlpcollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"annals/eventstore/pgtest"
)

// traceCollector takes spans as an OpenTelemetry collector does.
type traceCollector struct {
	url string

	mu    sync.Mutex
	spans []*otlp.Span
}

func collectTraces(t *testing.T) *traceCollector {
	c := &traceCollector{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request otlpcollector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *traceCollector) all() []*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// spanNamed gives the only span of a name and, unless it is empty, a trace.
func spanNamed(t *testing.T, spans []*otlp.Span, name, traceID string) *otlp.Span {
	t.Helper()
	var found []*otlp.Span
	for _, s := range spans {
		if s.Name == name && (traceID == "" || hex.EncodeToString(s.TraceId) == traceID) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %q in trace %q", len(found), name, traceID)
	}
	return found[0]
}

func TestTracesGoFromTheRequestToTheProjection(t *testing.T) {
	t.Parallel()
	collected := collectTraces(t)
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN, "--otlp-endpoint", collected.url)
	c := server.caller("acme")
	const traceID, parentID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	c.send("POST", "/v1/products", `{"sku":"T-1","name":"Traced","price":"1.00"}`,
		"traceparent: 00-"+traceID+"-"+parentID+"-01").is(http.StatusCreated)
	own := c.send("POST", "/v1/products", `{"sku":"T-2","name":"Untraced","price":"1.00"}`).is(http.StatusCreated).done()
	c.get("/v1/products", own.Position).is(http.StatusOK)
	server.stop() // sends what is left
	spans := collected.all()

	request := spanNamed(t, spans, "POST /v1/products", traceID)
	if request.Kind != otlp.Span_SPAN_KIND_SERVER || hex.EncodeToString(request.ParentSpanId) != parentID {
		t.Errorf("the request's span %v doesn't continue the caller's", request)
	}
	command := spanNamed(t, spans, "command", traceID)
	appended := spanNamed(t, spans, "append", traceID)
	for _, c := range []struct{ child, parent *otlp.Span }{
		{command, request}, {spanNamed(t, spans, "decide", traceID), command}, {appended, command},
		{spanNamed(t, spans, "append wait", traceID), appended}, {spanNamed(t, spans, "append batch", traceID), appended},
	} {
		if !slices.Equal(c.child.ParentSpanId, c.parent.SpanId) || c.child.StartTimeUnixNano < c.parent.StartTimeUnixNano ||
			c.child.EndTimeUnixNano > c.parent.EndTimeUnixNano || c.child.StartTimeUnixNano > c.child.EndTimeUnixNano {
			t.Errorf("%q isn't a part of %q", c.child.Name, c.parent.Name)
		}
	}
	for position, e := range tracesOfEvents(t, db) {
		if position == 0 { // the caller's
			if want := "00-" + traceID + "-" + hex.EncodeToString(command.SpanId) + "-01"; e.TraceParent != want || e.TraceID != traceID {
				t.Errorf("the event has the trace %+v, want %s", e, want)
			}
		} else if len(e.TraceID) != 32 || e.TraceID == traceID || !strings.Contains(e.TraceParent, e.TraceID) {
			t.Errorf("the event of a request without a trace has %+v", e)
		}
	}
	for _, name := range []string{"apply audit_log", "apply products"} {
		links := 0
		for _, s := range spans {
			if s.Name != name {
				continue
			}
			if len(s.ParentSpanId) != 0 || hex.EncodeToString(s.TraceId) == traceID {
				t.Errorf("a page's span isn't the root of its trace: %v", s)
			}
			for _, l := range s.Links {
				if slices.Equal(l.SpanId, command.SpanId) && hex.EncodeToString(l.TraceId) == traceID {
					links++
				}
			}
		}
		if links != 1 {
			t.Errorf("%d spans %q link to the command's", links, name)
		}
	}
}

type eventTrace struct {
	TraceID     string `db:"trace_id"`
	TraceParent string
}

// tracesOfEvents reads which traces wrote the products' events.
func tracesOfEvents(t *testing.T, db *pgtest.DB) (found []eventTrace) {
	t.Helper()
	err := db.Select(&found, `SELECT coalesce(metadata ->> 'trace_id', '') AS trace_id,
		coalesce(metadata ->> 'traceparent', '') AS traceparent
		FROM annals.events WHERE event_type = 'product.registered' ORDER BY position`)
	if err != nil || len(found) != 2 {
		t.Fatalf("%d events, %v", len(found), err)
	}
	return found
}

// A collector that doesn't answer takes nothing from the callers, and the server ends all the same.
func TestServerWorksWithoutItsCollector(t *testing.T) {
	t.Parallel()
	collected := httptest.NewServer(nil)
	collected.Close()
	server := serveHere(t, "--database-url", pgtest.New(t).DSN, "--otlp-endpoint", collected.URL)
	server.caller("acme").product("T-1", 1)
	server.stop()
	if !strings.Contains(server.stderr.String(), "traces weren't sent") {
		t.Error("the log doesn't say that traces weren't sent")
	}
}

func TestTracesAreOffByDefault(t *testing.T) {
	t.Parallel()
	tracing, err := newTracing(t.Context(), "", nil)
	if tracing != nil || err != nil {
		t.Errorf("%v, %v", tracing, err)
	}
	for endpoint, ok := range map[string]bool{"http://127.0.0.1:4318": true, "https://otel": true, "127.0.0.1:4318": false, "http://": false, "ftp://x": false} {
		if err := checkOTLP(endpoint); (err == nil) != ok {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
