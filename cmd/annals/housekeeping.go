package main

import (
	"context"
	"time"

	"annals/projections"
	"annals/transport/access"
	"annals/transport/rest"
)

// housekeepingInterval is how often a node removes what has served its time.
const housekeepingInterval = 10 * time.Minute

// minIdempotencyRetention is what callers are promised.
const minIdempotencyRetention = 24 * time.Hour

// clockMargin is how far the database's clock may have been set back without a policy's key going before its time.
const clockMargin = time.Hour

// housekeeping removes old idempotency keys until ctx ends. Several nodes may do so at once.
func (n *node) housekeeping(ctx context.Context, retention time.Duration) {
	ticker := time.NewTicker(housekeepingInterval)
	defer ticker.Stop()
	for {
		if err := n.removeExpiredKeys(ctx, retention); err != nil && ctx.Err() == nil {
			n.logger.Warn("old idempotency keys were not removed; they are tried again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// removeExpiredKeys removes keys older than the retention. The database's clock judges, as it dated them: this machine's
// clock may be wrong by more than the retention.
func (n *node) removeExpiredKeys(ctx context.Context, retention time.Duration) error {
	var now time.Time
	if err := n.store.Commands.GetContext(ctx, &now, `SELECT clock_timestamp()`); err != nil {
		return err
	}
	return n.removeOldKeys(ctx, now, retention)
}

// removeOldKeys removes keys that are older at a time than the retention: those of requests, of reads that were recorded,
// and of policies. As long as a policy may see an event again, its key keeps it from acting on it twice. A key is younger than
// its event: those of the events to come are kept, if the first of them is younger than what is removed. A policy that was
// stopped keeps all.
func (n *node) removeOldKeys(ctx context.Context, now time.Time, retention time.Duration) error {
	scopes := []string{rest.KeyScope, rest.OperationScope, access.Scope}
	states, err := n.group.Status(ctx) // after now: LagSeconds is no less than at that time
	if err != nil {
		return err
	}
	for _, s := range states {
		if s.Kind == projections.KindPolicy && s.Status == projections.StatusRunning &&
			s.LagSeconds < (retention-clockMargin).Seconds() {
			scopes = append(scopes, "policy:"+s.Name)
		}
	}
	for _, scope := range scopes {
		removed, err := n.store.DeleteIdempotencyKeys(ctx, scope, now.Add(-retention))
		if err != nil {
			return err
		}
		if removed > 0 {
			n.logger.Info("old idempotency keys removed", "scope", scope, "keys", removed)
		}
	}
	return nil
}
