package projections

import (
	"context"
	"database/sql"
	"errors"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
)

// AddPolicies adds policies to the group, before Run.
func (g *Group) AddPolicies(policies ...PolicyHandler) error {
	for _, p := range policies {
		spec := p.Spec()
		if spec.Kind != KindPolicy {
			return errors.New("projection " + spec.Name + " is not a policy")
		}
		if err := g.add(&feed{spec: spec, policy: p}); err != nil {
			return err
		}
	}
	return nil
}

// lease makes this node the one that works for a policy, or keeps it so, and gives the checkpoint. held is false while
// another node has it, or when the policy isn't to run. The database's clock judges; a lease beyond what anybody takes is
// from before that clock jumped back, and counts for nothing.
func (g *Group) lease(ctx context.Context, spec Spec) (position int64, held bool, err error) {
	err = g.cfg.Policies.QueryRowContext(ctx, `
		UPDATE annals.subscribers SET lease_holder = $3, lease_until = clock_timestamp() + make_interval(secs => $4)
		WHERE name = $1 AND version = $2
		  AND (status IN ('running', 'rebuilding') OR status = 'failed' AND `+retryDue+`)
		  AND (lease_holder = $3 OR lease_until IS NULL OR lease_until <= clock_timestamp()
		       OR lease_until > clock_timestamp() + make_interval(secs => $4::float8 * 2))
		RETURNING position`,
		spec.Name, spec.Version, g.node, g.cfg.Lease.Seconds()).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return position, err == nil, err
}

// release ends this node's lease, so that another takes over at once.
func (g *Group) release(spec Spec) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := g.cfg.Policies.ExecContext(ctx, `
		UPDATE annals.subscribers SET lease_holder = NULL, lease_until = NULL
		WHERE name = $1 AND version = $2 AND lease_holder = $3`, spec.Name, spec.Version, g.node)
	if err != nil {
		g.cfg.Logger.Debug("a lease wasn't released and runs out", "subscriber", spec.Name, "error", err)
	}
}

// renewing keeps a lease while work is done, however long that takes. The context it gives ends when the lease is lost.
func (g *Group) renewing(ctx context.Context, spec Spec) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		ticker := time.NewTicker(g.cfg.Lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			result, err := g.cfg.Policies.ExecContext(ctx, `
				UPDATE annals.subscribers SET lease_until = clock_timestamp() + make_interval(secs => $4)
				WHERE name = $1 AND version = $2 AND lease_holder = $3`,
				spec.Name, spec.Version, g.node, g.cfg.Lease.Seconds())
			if err != nil {
				continue // the command's own connection decides; the next try may succeed
			}
			if n, err := result.RowsAffected(); err == nil && n == 0 {
				cancel()
				return
			}
		}
	}()
	return ctx, cancel
}

// policySubscriber gives a policy's pages to Watermill, without a transaction.
type policySubscriber struct{ feed *feed }

// Subscribe implements message.Subscriber.
func (s *policySubscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		f := s.feed
		for f.await(ctx) == nil {
			if err := f.deliver(ctx, out); err != nil && ctx.Err() == nil {
				f.rolledBack(bounds{}, err)
			}
			if looked := f.group.cfg.looked; looked != nil {
				looked(f.spec.Name)
			}
		}
		f.group.release(f.spec)
	}()
	return out, nil
}

// Close implements message.Subscriber. The router ends the subscriber's context when it closes.
func (*policySubscriber) Close() error { return nil }

// deliver looks for a page, gives it to the handler and waits until that is done with it.
func (f *feed) deliver(ctx context.Context, out chan<- *message.Message) error {
	from, held, err := f.group.lease(ctx, f.spec)
	if err != nil {
		return err
	}
	if !held {
		f.rolledBack(bounds{}, nil)
		return nil
	}
	b, frame, correlation, err := readPage(ctx, f.group.cfg.Policies, f, from)
	if err != nil {
		return err
	}
	if b.to <= b.from {
		f.rolledBack(b, nil)
		return nil
	}
	work, stop := f.group.renewing(ctx, f.spec)
	defer stop()
	delivery := &policyDelivery{bounds: b}
	msg := message.NewMessage(watermill.NewUUID(), frame)
	msg.SetContext(context.WithValue(work, deliveryKey{}, delivery))
	middleware.SetCorrelationID(correlation, msg)
	select {
	case out <- msg:
	case <-ctx.Done():
		return nil
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	case <-ctx.Done():
		return nil
	}
	if !delivery.settled {
		f.rolledBack(b, errNotApplied) // a middleware kept it from the handler
	}
	return nil
}

// policyDelivery is what the handler knows of its page. settled is written before the message is acknowledged and read
// after it.
type policyDelivery struct {
	bounds  bounds
	settled bool
}

type deliveryKey struct{}

// handlePolicy is the Watermill handler of a policy: it handles the page and then moves the checkpoint by
// compare-and-set. A page that is handled twice takes effect once, because commands carry keys.
func (f *feed) handlePolicy(msg *message.Message) error {
	ctx := msg.Context()
	delivery, ok := ctx.Value(deliveryKey{}).(*policyDelivery)
	if !ok {
		return errors.New("a page arrived without its bounds")
	}
	page, err := readFrame(msg.Payload, nil)
	if err != nil {
		return err
	}
	to, failure, err := f.handleEvents(ctx, page)
	delivery.settled = true
	if err != nil {
		f.rolledBack(delivery.bounds, err)
		return err
	}
	f.committed(delivery.bounds, to, failure)
	return nil
}

func (f *feed) handleEvents(ctx context.Context, page Page) (to int64, failure *Failure, err error) {
	good, failed := f.group.decoder.Decode(f.spec, page.Events)
	done, cause, fatal := bisect(0, good, func(low, high int) (cause, fatal error) {
		if err := f.handleOnce(ctx, cut(page, low, high)); transient(err) {
			return nil, err
		} else {
			return err, nil
		}
	})
	if fatal != nil {
		return 0, nil, fatal
	}
	if cause != nil {
		good, failed = done, cause
	}
	db := f.group.cfg.Policies
	if failed == nil {
		return page.To, nil, f.group.advance(ctx, db, f.spec, page.From, page.To)
	}
	failure, err = f.group.fail(ctx, db, f.spec, page.From, page.Events[good], failed)
	return page.Events[good].Position - 1, failure, err
}

// handleOnce handles a part of a page. A panic is an error.
func (f *feed) handleOnce(ctx context.Context, part Page) (err error) {
	defer func() {
		if r := recover(); r != nil {
			f.log.Error("the policy panicked", "panic", r, "stack", string(debug.Stack()))
			err = &PanicError{Value: r}
		}
	}()
	return f.policy.Handle(ctx, part)
}
