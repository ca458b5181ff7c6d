// Package policies holds what reacts to events or to time with commands. A policy is never replayed; its commands carry
// keys that derive from their cause, so that each takes effect once.
package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"annals/domain"
	"annals/domain/commerce"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/carts"
)

// CartExpiryConfig is what the expiry of carts works with. All but the durations and Logger are required.
type CartExpiryConfig struct {
	Carts    *carts.Queries
	Commands eventstore.Runner
	// Head gives the log's last position.
	Head func(ctx context.Context) (int64, error)
	// WaitFor waits until a subscriber has applied a position.
	WaitFor func(ctx context.Context, subscriber string, position int64) error
	// Lifetime is how long a cart may be idle; 24 h.
	Lifetime time.Duration
	// Every is the time between looks; 30 s.
	Every  time.Duration
	Logger *slog.Logger // default: slog.Default
}

// Bounds of a look.
const (
	expiryBatch   = 500             // carts looked up at a time
	expiryWorkers = 8               // commands at a time
	expiryWait    = 5 * time.Second // for the carts' read model
)

// CartExpiry is the timer that expires carts which have been idle for longer than their lifetime. Which carts those are is
// judged by the database's clock, and again by the cart itself.
type CartExpiry struct{ CartExpiryConfig }

// NewCartExpiry makes the timer.
func NewCartExpiry(cfg CartExpiryConfig) *CartExpiry {
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = 24 * time.Hour
	}
	if cfg.Every <= 0 {
		cfg.Every = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &CartExpiry{cfg}
}

// Spec implements projections.Timer.
func (*CartExpiry) Spec() projections.Spec {
	return projections.Spec{Name: "cart_expiry", Version: 1, Kind: projections.KindPolicy}
}

// Every implements projections.Timer.
func (t *CartExpiry) Every() time.Duration { return t.CartExpiryConfig.Every }

// Tick implements projections.Timer: it expires every cart that is due.
func (t *CartExpiry) Tick(ctx context.Context) (position int64, err error) {
	head, err := t.Head(ctx)
	if err != nil {
		return 0, err
	}
	for {
		if err := t.catchUp(ctx, head); err != nil {
			return 0, err
		}
		idle, position, err := t.Carts.Idle(ctx, t.Lifetime, expiryBatch)
		if err != nil {
			return 0, err
		}
		expired, last, err := t.expireAll(ctx, idle)
		if expired > 0 {
			t.Logger.Info("idle carts expired", "carts", expired)
		}
		if err != nil {
			return 0, err
		}
		if len(idle) < expiryBatch || expired == 0 {
			return position, nil
		}
		head = last // the next look must not find the same carts
	}
}

// catchUp waits for the carts' read model.
func (t *CartExpiry) catchUp(ctx context.Context, position int64) error {
	ctx, cancel := context.WithTimeout(ctx, expiryWait)
	defer cancel()
	return t.WaitFor(ctx, carts.Spec().Name, position)
}

// expireAll expires carts and gives how many were expired, and the last position that was written.
func (t *CartExpiry) expireAll(ctx context.Context, idle []carts.Idle) (expired, last int64, err error) {
	var count, highest atomic.Int64
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(expiryWorkers)
	for _, c := range idle {
		work.Go(func() error {
			position, err := t.expire(ctx, c)
			if err != nil || position == 0 {
				return err
			}
			count.Add(1)
			for seen := highest.Load(); position > seen && !highest.CompareAndSwap(seen, position); {
				seen = highest.Load()
			}
			return nil
		})
	}
	err = work.Wait()
	return count.Load(), highest.Load(), err
}

// errNotIdle: the cart itself says that it isn't due. As an error, it keeps the answer from being stored under the key:
// the same cart at the same version becomes due later.
var errNotIdle = errors.New("the cart is not due")

// expire expires one cart and gives the position of its last event; 0 when the cart wasn't due after all.
func (t *CartExpiry) expire(ctx context.Context, c carts.Idle) (position int64, err error) {
	const scope = "policy:cart_expiry"
	key := fmt.Sprintf("%s:%d", c.ID, c.Version)
	result, err := t.Commands.Run(ctx, eventstore.Command{
		Name: scope, Client: c.ClientID, Actor: scope, RequestID: scope + ":" + key,
		Key: &eventstore.CommandKey{Scope: scope, Key: key, Fingerprint: []byte("expire")},
	}, func(ctx context.Context, u *domain.UnitOfWork) error {
		err := commerce.ExpireCart(ctx, u, commerce.ExpireCartCommand{CartID: c.ID, Lifetime: t.Lifetime})
		if err != nil {
			return err
		}
		for _, change := range u.Work().Changes {
			if len(change.Events) > 0 {
				return nil
			}
		}
		return errNotIdle
	})
	switch {
	case errors.Is(err, errNotIdle):
		return 0, nil
	case domain.CodeOf(err) != "":
		t.Logger.Warn("an idle cart refuses to expire", "cart", c.ID, "client", c.ClientID, "error", err)
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("expire cart %s of %s: %w", c.ID, c.ClientID, err)
	case result.Replayed:
		return 0, nil
	}
	return result.Position, nil
}
