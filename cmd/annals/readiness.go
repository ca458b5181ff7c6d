package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/projections"
	"annals/transport/rest"
)

// readiness says whether the server can serve. It starts to say no when the server drains, before it stops to listen, so
// that whoever sends it requests looks elsewhere.
type readiness struct {
	pool     *sqlx.DB
	group    *projections.Group
	maxLag   int64
	draining atomic.Bool
}

var _ rest.Readiness = (*readiness)(nil)

const readinessTimeout = 2 * time.Second

// Check implements rest.Readiness.
func (r *readiness) Check(ctx context.Context) []rest.Check {
	ctx, cancel := context.WithTimeout(ctx, readinessTimeout)
	defer cancel()
	checks := []rest.Check{{Name: "server", Ready: !r.draining.Load(), Detail: "serving"}}
	if !checks[0].Ready {
		checks[0].Detail = "shutting down"
	}
	database := rest.Check{Name: "database", Ready: true, Detail: "reachable and migrated"}
	if err := r.pool.PingContext(ctx); err != nil {
		database.Ready, database.Detail = false, "can't be reached"
		return append(checks, database)
	}
	checks = append(checks, database)
	states, err := r.group.Status(ctx)
	if err != nil {
		return append(checks, rest.Check{Name: "projections", Detail: "their state can't be read"})
	}
	for _, s := range states {
		checks = append(checks, r.projection(s))
	}
	return checks
}

// projection judges one subscriber. A paused one is what an operator wants; a failed one or one far behind is not.
func (r *readiness) projection(s projections.State) rest.Check {
	c := rest.Check{Name: "projection " + s.Name, Ready: true, Detail: fmt.Sprintf("%s, %d behind", s.Status, s.Lag)}
	switch {
	case s.Position > s.Head:
		c.Ready = false
		c.Detail = fmt.Sprintf("at position %d, above the head %d: the log lost its tail", s.Position, s.Head)
	case s.Status == projections.StatusFailed:
		c.Ready = false
		c.Detail = fmt.Sprintf("failed; see /v1/projections/%s/failures", s.Name)
	case s.Status == projections.StatusRunning && s.Lag > r.maxLag:
		c.Ready = false
		c.Detail = fmt.Sprintf("%d events behind, more than %d", s.Lag, r.maxLag)
	}
	return c
}
