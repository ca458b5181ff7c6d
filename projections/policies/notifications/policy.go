// Package notifications tells webhooks and, by mail, the operators of events. A policy turns each event into a delivery
// for each receiver that wants it; a sender on every node then delivers them, apart from everything else, so that a
// receiver that is slow or gone delays neither commands nor subscribers nor other receivers.
//
// Delivery is at least once: a node that ends between a receiver's answer and writing it down leads to another delivery
// of the same event under the same id.
package notifications

import (
	"context"
	"fmt"
	"slices"
	"time"

	"annals/domain"
	"annals/domain/commerce/order"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/kpi"
	"annals/domain/notifications"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/webhooks"
)

// Config is what the policy works with. All but MailSince and Queued are required.
type Config struct {
	Webhooks *webhooks.Queries
	Queue    *Queue
	Registry *domain.Registry
	// WaitFor waits until a subscriber has applied a position.
	WaitFor func(ctx context.Context, subscriber string, position int64) error
	// MailSince is the position after which events are sent by mail, as Queue.MailSince gives it. Nil: no mail is sent.
	MailSince *int64
	// Queued is called when there is something new to deliver. It must not block.
	Queued func()
}

// catchUpWait bounds the waiting for the read model; the page is tried again afterwards.
const catchUpWait = 5 * time.Second

// Policy is the policy that turns events into deliveries. It reads every event as it was recorded, so that one which this
// program can't decode is passed on all the same.
type Policy struct{ Config }

// New makes the policy.
func New(cfg Config) *Policy { return &Policy{cfg} }

// pagePause lets events gather: each page waits for the webhooks and reads them, and a delivery isn't hurt by it.
const pagePause = 100 * time.Millisecond

// Spec identifies the policy.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "notifications", Version: 1, Kind: projections.KindPolicy, Raw: true, Pause: pagePause,
	}
}

// Spec implements projections.PolicyHandler.
func (*Policy) Spec() projections.Spec { return Spec() }

// MailTypes are the types of the events that are sent by mail.
func MailTypes() []string {
	return []string{hold.Created{}.EventType(), kpi.ThresholdViolated{}.EventType(), order.Created{}.EventType()}
}

// Handle implements projections.PolicyHandler. Handled again, a page queues nothing twice.
func (p *Policy) Handle(ctx context.Context, page projections.Page) error {
	if len(page.Events) == 0 {
		return nil
	}
	hooks, err := p.webhooks(ctx, page)
	if err != nil {
		return err
	}
	var queue []queued
	mail := MailTypes()
	for _, e := range page.Events {
		for _, w := range hooks {
			if w.Wants(e.ClientID, e.EventType, e.Position) {
				queue = append(queue, queued{w.ID, e.Envelope})
			}
		}
		if p.MailSince != nil && e.Position > *p.MailSince && slices.Contains(mail, e.EventType) {
			queue = append(queue, queued{MailReceiver(), e.Envelope})
		}
	}
	if err := p.Queue.add(ctx, queue); err != nil {
		return err
	}
	asked, err := p.administer(ctx, page)
	if err == nil && p.Queued != nil && (asked || len(queue) > 0) {
		p.Queued()
	}
	return err
}

// webhooks gives the webhooks that the page's events may be for.
func (p *Policy) webhooks(ctx context.Context, page projections.Page) ([]webhooks.Webhook, error) {
	waiting, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if err := p.WaitFor(waiting, webhooks.Spec().Name, page.To); err != nil {
		return nil, err
	}
	var clients []string
	known := make(map[string]bool)
	for _, e := range page.Events {
		if !known[e.ClientID] {
			known[e.ClientID] = true
			clients = append(clients, e.ClientID)
		}
	}
	hooks, position, err := p.Webhooks.After(ctx, clients, page.From)
	if err == nil && position < page.To {
		err = fmt.Errorf("%w: the webhooks' read model stands at position %d, before %d", eventstore.ErrUnavailable,
			position, page.To)
	}
	return hooks, err
}

// administer does what the page's events say of webhooks themselves. asked: there is something to deliver again.
func (p *Policy) administer(ctx context.Context, page projections.Page) (asked bool, err error) {
	for _, e := range page.Events {
		if e.AggregateType != notifications.Webhook.Type {
			continue
		}
		event, err := p.Registry.Decode(e.EventType, e.SchemaVersion, e.Data)
		if err != nil {
			return asked, err
		}
		switch event := event.(type) {
		case notifications.RedeliveryRequested:
			asked, err = true, p.Queue.redeliver(ctx, e.AggregateID, event.EventID)
		case notifications.Deleted:
			err = p.Queue.forget(ctx, e.AggregateID)
		}
		if err != nil {
			return asked, err
		}
	}
	return asked, nil
}
