package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"annals/eventstore"
)

// traceFlushTimeout is how long the end of the server waits for the last spans to be taken.
const traceFlushTimeout = 3 * time.Second

// checkOTLP judges the flag's URL.
func checkOTLP(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q must be a URL such as http://127.0.0.1:4318", eventstore.MaskSecrets(endpoint))
	}
	return nil
}

// newTracing makes what sends spans to an OpenTelemetry collector, or nil when nobody asks for them. The rest is said by
// OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_HEADERS and OTEL_TRACES_SAMPLER.
func newTracing(ctx context.Context, endpoint string, logger *slog.Logger) (*sdktrace.TracerProvider, error) {
	wanted := endpoint != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	if !wanted || os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return nil, nil
	}
	var options []otlptracehttp.Option
	if endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(strings.TrimSuffix(endpoint, "/")+"/v1/traces"))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	what, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "annals")), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describe this server to the traces' collector: %w", err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporterWithLog{exporter, logger}), sdktrace.WithResource(what)), nil
}

// exporterWithLog says what wasn't sent in the server's own log, rather than to whom the whole process tells.
type exporterWithLog struct {
	sdktrace.SpanExporter
	logger *slog.Logger
}

// ExportSpans implements sdktrace.SpanExporter.
func (e exporterWithLog) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.logger.Warn("traces weren't sent", "spans", len(spans), "error", err)
	}
	return nil
}

// flushTraces sends what is left. That nobody takes it is no failure of the server.
func flushTraces(provider *sdktrace.TracerProvider, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), traceFlushTimeout)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		logger.Warn("the last traces weren't sent", "error", err)
	}
}
