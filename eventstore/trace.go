package eventstore

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"annals/domain"
)

// Members of an event's metadata that say which trace it belongs to.
const (
	MetadataTraceID     = "trace_id"
	MetadataTraceParent = "traceparent" // W3C, of the span that wrote it; only where traces are recorded
)

// AppendTiming says how an append travelled, for those who trace it.
type AppendTiming struct {
	Sent  time.Time // when a batch took it; zero: none did
	Batch int       // appends in that batch
}

// startSpan begins a part of the span in ctx. Where nothing is traced, it costs a look into ctx, and end does nothing.
func startSpan(ctx context.Context, name string) (_ context.Context, end func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, endNothing
	}
	ctx, span := parent.TracerProvider().Tracer("annals").Start(ctx, name)
	return ctx, func(err error) {
		if err != nil && domain.CodeOf(err) == "" { // a refusal is an answer
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func endNothing(error) {}

// traced names a command in the span in ctx, and gives the metadata of its events with that span.
func traced(ctx context.Context, command string, metadata map[string]string) map[string]string {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return metadata
	}
	span.SetAttributes(attribute.String("annals.command", command))
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	metadata[MetadataTraceID], metadata[MetadataTraceParent] = span.SpanContext().TraceID().String(), carrier["traceparent"]
	return metadata
}

// append sends a request to the log. Its span has the parts wait, until a batch takes it, and batch.
func (x *execution) append(ctx context.Context, request AppendRequest) (AppendOutcome, error) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return x.r.Appender.Append(ctx, request)
	}
	timing := new(AppendTiming)
	request.Timing = timing
	ctx, end := startSpan(ctx, "append")
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int("annals.events", len(request.Events)))
	start := time.Now()
	outcome, err := x.r.Appender.Append(ctx, request)
	done := time.Now()
	if !timing.Sent.IsZero() {
		tracer := parent.TracerProvider().Tracer("annals")
		_, wait := tracer.Start(ctx, "append wait", trace.WithTimestamp(start))
		wait.End(trace.WithTimestamp(timing.Sent))
		_, batch := tracer.Start(ctx, "append batch", trace.WithTimestamp(timing.Sent),
			trace.WithAttributes(attribute.Int("annals.batch", timing.Batch)))
		batch.End(trace.WithTimestamp(done))
	}
	end(err)
	return outcome, err
}
