package projections

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/lib/pq"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"annals/eventstore"
)

// Bounds of the links of a page's span: maxLinks traces, looked for in the first linkedEvents events.
const (
	maxLinks     = 32
	linkedEvents = 256
)

// traced gives each page a span of a trace of its own, linked to those that wrote its events. Without a tracer it is the
// handler itself.
func (f *feed) traced(handle message.NoPublishHandlerFunc) message.NoPublishHandlerFunc {
	tracer := f.group.cfg.Tracer
	if tracer == nil {
		return handle
	}
	return func(msg *message.Message) error {
		count := 0
		if len(msg.Payload) >= headerSize {
			count = int(binary.BigEndian.Uint32(msg.Payload[17:]))
		}
		if count == 0 { // the checkpoint passes over events that the subscriber doesn't want
			return handle(msg)
		}
		ctx, span := tracer.Start(msg.Context(), "apply "+f.spec.Name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer))
		defer span.End()
		if span.IsRecording() {
			if err := f.link(ctx, msg, span, count); err != nil {
				return fmt.Errorf("look for the traces of a page: %w", err)
			}
		}
		msg.SetContext(ctx)
		err := handle(msg)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		return err
	}
}

// link links a page's span to the traces of its events.
func (f *feed) link(ctx context.Context, msg *message.Message, span trace.Span, count int) error {
	var b bounds
	var db Executor
	if page, ok := pageTxOf(msg); ok {
		b, db = page.bounds, page.tx
	} else if delivery, ok := ctx.Value(deliveryKey{}).(*policyDelivery); ok {
		b, db = delivery.bounds, f.group.cfg.Policies
	} else {
		return nil
	}
	span.SetAttributes(attribute.String("annals.subscriber", f.spec.Name), attribute.Int("annals.events", count),
		attribute.Int64("annals.position.from", b.from), attribute.Int64("annals.position.to", b.to))
	var types any
	if f.spec.EventTypes != nil {
		types = pq.Array(f.spec.EventTypes)
	}
	rows, err := db.QueryContext(ctx, `SELECT e.traceparent FROM (
			SELECT position, metadata ->> $5 AS traceparent FROM annals.events
			WHERE position > $1 AND position <= $2 AND ($3::text[] IS NULL OR event_type = ANY ($3::text[]))
			ORDER BY position LIMIT $4
		) e WHERE e.traceparent IS NOT NULL ORDER BY e.position`,
		b.from, b.to, types, linkedEvents, eventstore.MetadataTraceParent)
	if err != nil {
		return err
	}
	defer rows.Close()
	linked := make(map[trace.SpanID]bool)
	for rows.Next() && len(linked) < maxLinks {
		carrier := make(propagation.MapCarrier, 1)
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		carrier["traceparent"] = text
		cause := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
		if cause.IsValid() && !linked[cause.SpanID()] {
			linked[cause.SpanID()] = true
			span.AddLink(trace.Link{SpanContext: cause})
		}
	}
	return rows.Err()
}
