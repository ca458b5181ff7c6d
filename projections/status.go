package projections

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"

	"annals/domain"
)

// State is a subscriber as the API shows it.
type State struct {
	Name       string   `json:"name"`
	Kind       Kind     `json:"kind"`
	Version    int      `json:"version"`
	Status     Status   `json:"status"`
	Position   int64    `json:"position"`    // applied up to here
	Head       int64    `json:"head"`        // the log's last position
	Lag        int64    `json:"lag"`         // positions
	LagSeconds float64  `json:"lag_seconds"` // since the first event not yet applied was recorded
	Failure    *Failure `json:"failure"`
}

// States reads subscribers' states in one statement: positions and head belong together. It gives those of specs that
// have a checkpoint, in that order.
func States(ctx context.Context, db Executor, specs []Spec) ([]State, error) {
	found, err := readStates(ctx, db, specs)
	if err != nil {
		return nil, err
	}
	list := make([]State, 0, len(specs))
	for _, spec := range specs {
		if s, ok := found[spec.Name]; ok {
			list = append(list, s)
		}
	}
	return list, nil
}

// Status lists the group's subscribers, timers included, wherever they run.
func (g *Group) Status(ctx context.Context) ([]State, error) {
	states, err := States(ctx, g.cfg.DB, g.Specs())
	if err != nil {
		return nil, err
	}
	for i, s := range states {
		// A timer reads no page: it is behind only when it doesn't work.
		if g.isTimer(s.Name) && s.Failure == nil {
			states[i].Position, states[i].Lag, states[i].LagSeconds = s.Head, 0, 0
		}
	}
	return states, nil
}

func (g *Group) isTimer(name string) bool {
	for _, t := range g.timers {
		if t.spec.Name == name {
			return true
		}
	}
	return false
}

func (g *Group) states(ctx context.Context) (map[string]State, error) {
	return readStates(ctx, g.cfg.DB, g.Specs())
}

// selectStates asks for the head by ORDER BY … LIMIT 1: the pool makes plans once, and on a log that was analysed while it
// was empty max(position) is planned as a walk over all positions (migration 00010).
const selectStates = `
	SELECT s.name, s.kind, s.version, s.position, h.head,
		CASE WHEN s.status = 'running' AND EXISTS (
			SELECT FROM annals.running_builds b WHERE b.name = s.name AND b.version = s.version
		) THEN 'rebuilding' ELSE s.status END,
		coalesce((SELECT greatest(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)::float8
			FROM annals.events e WHERE e.position = s.position + 1), 0),
		s.failure_position, s.failure_event_id, s.failure_event_type, s.failure_error, s.failure_attempts, s.failed_at,
		CASE WHEN s.status = 'failed' THEN s.retry_at END
	FROM unnest($1::text[], $2::integer[]) AS wanted (name, version)
	JOIN annals.subscribers s USING (name, version)
	CROSS JOIN (SELECT coalesce((SELECT position FROM annals.events ORDER BY position DESC LIMIT 1), 0) AS head) h`

func readStates(ctx context.Context, db Executor, specs []Spec) (map[string]State, error) {
	names, versions := make([]string, len(specs)), make([]int64, len(specs))
	for i, spec := range specs {
		names[i], versions[i] = spec.Name, int64(spec.Version)
	}
	rows, err := db.QueryContext(ctx, selectStates, pq.Array(names), pq.Array(versions))
	if err != nil {
		return nil, fmt.Errorf("read the subscribers: %w", err)
	}
	defer rows.Close()
	found := make(map[string]State, len(specs))
	for rows.Next() {
		var s State
		var position sql.NullInt64
		var id []byte
		var eventType, text sql.NullString
		var attempts int
		var failed, retry sql.NullTime
		err := rows.Scan(&s.Name, &s.Kind, &s.Version, &s.Position, &s.Head, &s.Status, &s.LagSeconds,
			&position, &id, &eventType, &text, &attempts, &failed, &retry)
		if err != nil {
			return nil, fmt.Errorf("read the subscribers: %w", err)
		}
		s.Lag = max(s.Head-s.Position, 0)
		if position.Valid {
			s.Failure = &Failure{
				Position: position.Int64, EventType: eventType.String, Error: text.String, Attempts: attempts,
				FailedAt: failed.Time.UTC(), RetryAt: timeOrNil(retry),
			}
			if err := s.Failure.EventID.UnmarshalText(orZeroID(id)); err != nil {
				return nil, fmt.Errorf("read the failure of %s: %w", s.Name, err)
			}
		}
		found[s.Name] = s
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the subscribers: %w", err)
	}
	return found, nil
}

func timeOrNil(t sql.NullTime) *time.Time {
	if !t.Valid {
		return nil
	}
	utc := t.Time.UTC()
	return &utc
}

func orZeroID(id []byte) []byte {
	if id == nil {
		return []byte(domain.ID{}.String())
	}
	return id
}
