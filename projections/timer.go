package projections

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Timer is a policy that time drives instead of events. One node at a time runs it.
type Timer interface {
	// Spec is of kind KindPolicy.
	Spec() Spec
	// Every is the time from one tick to the next.
	Every() time.Duration
	// Tick does what is due, by commands with keys that derive from the cause, and gives the position it judged at. It
	// may run again with the same outcome.
	Tick(ctx context.Context) (position int64, err error)
}

// AddTimers adds timers to the group, before Run.
func (g *Group) AddTimers(timers ...Timer) error {
	for _, t := range timers {
		spec := t.Spec()
		if spec.Kind != KindPolicy || t.Every() <= 0 {
			return fmt.Errorf("timer %s: it must be a policy with an interval", spec.Name)
		}
		if err := g.register(spec); err != nil {
			return err
		}
		g.timers = append(g.timers, &timer{
			group: g, spec: spec, Timer: t,
		})
	}
	return nil
}

type timer struct {
	Timer
	group *Group
	spec  Spec
}

// run ticks while this node has the lease. The lease is kept between ticks, so that another node takes over within it.
func (t *timer) run(ctx context.Context) {
	defer t.group.release(t.spec)
	log := t.group.cfg.Logger.With("subscriber", t.spec.Name)
	var due time.Time
	failures := 0
	for ctx.Err() == nil {
		_, held, err := t.group.lease(ctx, t.spec)
		switch {
		case err != nil:
			failures++
		case !held:
			due = time.Time{}
		case !time.Now().Before(due):
			err = t.once(ctx)
			failures++
			if err == nil {
				due, failures = time.Now().Add(t.Every()), 0
			}
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("the timer can't go on for now", "attempts", failures, "error", err)
			pause(ctx, backoff(t.group.cfg.ErrorPause, failures))
			continue
		}
		pause(ctx, t.group.cfg.StandbyPause)
	}
}

// once ticks, and writes down how that went. An error that isn't transient is kept as the timer's failure.
func (t *timer) once(ctx context.Context) error {
	work, stop := t.group.renewing(ctx, t.spec)
	position, err := t.tick(work)
	stop()
	if err != nil && (ctx.Err() != nil || transient(err)) {
		return err
	}
	db := t.group.cfg.Policies
	if err == nil {
		_, err = db.ExecContext(ctx, `
			UPDATE annals.subscribers SET position = greatest(position, $3), updated_at = now(),
				status = CASE status WHEN 'failed' THEN 'running' ELSE status END, retry_at = NULL,
				failure_position = NULL, failure_error = NULL, failure_attempts = 0, failed_at = NULL
			WHERE name = $1 AND version = $2`, t.spec.Name, t.spec.Version, position)
		t.group.progress.set(t.spec.Name, position, StatusRunning)
		return err
	}
	t.group.cfg.Logger.Error("the timer failed", "subscriber", t.spec.Name, "error", err)
	_, err = db.ExecContext(ctx, `
		UPDATE annals.subscribers SET updated_at = now(), failure_position = 0, failure_event_type = '', failure_error = $3,
			status = CASE status WHEN 'paused' THEN status ELSE 'failed' END,
			failed_at = coalesce(failed_at, now()), failure_attempts = failure_attempts + 1,
			retry_at = now() + make_interval(secs => $4::float8 * 2 ^ least(failure_attempts, 8))
		WHERE name = $1 AND version = $2`,
		t.spec.Name, t.spec.Version, errorText(err), t.group.cfg.RetryPause.Seconds())
	return err
}

// tick runs the timer once. A panic is an error.
func (t *timer) tick(ctx context.Context) (position int64, err error) {
	defer func() {
		if r := recover(); r != nil {
			t.group.cfg.Logger.Error("the timer panicked", "panic", r, "stack", string(debug.Stack()))
			err = &PanicError{Value: r}
		}
	}()
	return t.Tick(ctx)
}
