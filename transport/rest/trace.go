package rest

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// traced begins a request's span, which continues the caller's trace, and gives the request that carries it. Without a
// tracer, and for the paths that machines ask at intervals, it does nothing.
func (s *server) traced(w *response, r *http.Request) (_ *http.Request, end func()) {
	if s.config.Tracer == nil || r.URL.Path == "/metrics" || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return r, func() {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := s.config.Tracer.Start(ctx, "request", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
	return r.WithContext(ctx), func() {
		method, route := r.Method, w.route
		if route == "" { // what the caller made up is no name
			method, route = "_OTHER", "none"
		}
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", w.status), attribute.String("annals.request_id", w.requestID))
		if w.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(w.status))
		}
		span.End()
	}
}
