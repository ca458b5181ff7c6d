package notifications

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore"
	"annals/projections/webhooks"
)

// MailReceiver is the receiver that stands for the operators' mailboxes.
func MailReceiver() domain.ID {
	return domain.NameID(domain.MustParseID("b1e6a3c4-93c0-5a58-8a0e-6f7cf9f0a6d2"), "mail")
}

// Queue keeps what is to be delivered, and the secrets of webhooks, in tables of its own. A row is claimed for a time
// rather than locked, so that a slow receiver holds neither a transaction nor a connection; a claim that nobody settles
// runs out.
type Queue struct{ db *sqlx.DB }

// NewQueue makes the queue over a pool whose sessions have the role annals_app.
func NewQueue(db *sqlx.DB) *Queue { return &Queue{db} }

// queued is an event for a receiver.
type queued struct {
	receiver domain.ID
	event    eventstore.Envelope
}

// add queues events. One that was queued for the receiver before stays as it is.
func (q *Queue) add(ctx context.Context, queue []queued) error {
	if len(queue) == 0 {
		return nil
	}
	receivers, events, clients := make([]string, len(queue)), make([]string, len(queue)), make([]string, len(queue))
	positions := make([]int64, len(queue))
	for i, entry := range queue {
		receivers[i], events[i] = entry.receiver.String(), entry.event.EventID.String()
		clients[i], positions[i] = entry.event.ClientID, entry.event.Position
	}
	return q.exec(ctx, "queue events", `
		INSERT INTO annals.deliveries (receiver_id, event_id, position, client_id)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[])
		ON CONFLICT (receiver_id, event_id) DO NOTHING`,
		pq.Array(receivers), pq.Array(events), pq.Array(positions), pq.Array(clients))
}

// redeliver makes a delivery that was given up due again, with all its attempts before it.
func (q *Queue) redeliver(ctx context.Context, receiver, event domain.ID) error {
	return q.exec(ctx, "redeliver an event", `
		UPDATE annals.deliveries SET state = 'pending', attempts = 0, next_attempt_at = now(), settled_at = NULL
		WHERE receiver_id = $1 AND event_id = $2 AND state = 'dead'`, receiver.String(), event.String())
}

// forget removes everything of a deleted webhook.
func (q *Queue) forget(ctx context.Context, webhook domain.ID) error {
	return q.exec(ctx, "forget a webhook", `
		WITH secret AS (DELETE FROM annals.webhook_secrets WHERE webhook_id = $1)
		DELETE FROM annals.deliveries WHERE receiver_id = $1`, webhook.String())
}

// Keep implements the use cases' Secrets.
func (q *Queue) Keep(ctx context.Context, client string, webhook domain.ID, secret string) error {
	return q.exec(ctx, "keep a secret", `INSERT INTO annals.webhook_secrets (webhook_id, client_id, secret) VALUES ($1, $2, $3)`,
		webhook.String(), client, secret)
}

// MailSince gives the position after which events are sent by mail: the log's end when mail was configured first.
func (q *Queue) MailSince(ctx context.Context) (position int64, err error) {
	err = q.exec(ctx, "begin with mail", `
		INSERT INTO annals.mail_receiver (since) SELECT coalesce(max(position), 0) FROM annals.events
		ON CONFLICT (singleton) DO NOTHING`)
	if err == nil {
		err = q.db.QueryRowContext(ctx, `SELECT since FROM annals.mail_receiver`).Scan(&position)
	}
	if err != nil {
		return 0, fmt.Errorf("begin with mail: %w", err)
	}
	return position, nil
}

// due lists the receivers with something to deliver. It goes from receiver to receiver along the index, however long
// their queues are.
func (q *Queue) due(ctx context.Context) (receivers []domain.ID, err error) {
	rows, err := q.db.QueryContext(ctx, `
		WITH RECURSIVE queues AS (
			(SELECT receiver_id FROM annals.deliveries WHERE state = 'pending' ORDER BY receiver_id LIMIT 1)
			UNION ALL
			SELECT (SELECT d.receiver_id FROM annals.deliveries d
			        WHERE d.state = 'pending' AND d.receiver_id > queues.receiver_id ORDER BY d.receiver_id LIMIT 1)
			FROM queues WHERE queues.receiver_id IS NOT NULL
		)
		SELECT q.receiver_id::text FROM queues q
		WHERE q.receiver_id IS NOT NULL AND EXISTS (SELECT FROM annals.deliveries d
			WHERE d.receiver_id = q.receiver_id AND d.state = 'pending' AND d.next_attempt_at <= now())`)
	if err != nil {
		return nil, fmt.Errorf("look for deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("look for deliveries: %w", err)
		}
		id, err := domain.ParseID(text)
		if err != nil {
			return nil, fmt.Errorf("look for deliveries: %w", err)
		}
		receivers = append(receivers, id)
	}
	return receivers, rows.Err()
}

// claim takes up to limit deliveries of a receiver that are due, for a time, and counts the attempt. Of a webhook that
// was deleted there are none: the log says so from the instant of the deletion on.
func (q *Queue) claim(ctx context.Context, receiver domain.ID, limit int, lease time.Duration) (batch []Delivery, err error) {
	rows, err := q.db.QueryContext(ctx, `
		WITH due AS (
			SELECT d.event_id FROM annals.deliveries d
			WHERE d.receiver_id = $1 AND d.state = 'pending' AND d.next_attempt_at <= now()
			  AND NOT EXISTS (SELECT FROM annals.events e
			                  WHERE e.aggregate_id = $1 AND e.event_type = 'webhook.deleted')
			ORDER BY d.next_attempt_at, d.position LIMIT $2
			FOR UPDATE SKIP LOCKED
		), claimed AS (
			UPDATE annals.deliveries d
			SET attempts = d.attempts + 1, next_attempt_at = now() + make_interval(secs => $3)
			FROM due WHERE d.receiver_id = $1 AND d.event_id = due.event_id
			RETURNING d.position, d.attempts
		)
		SELECT c.attempts, e.position, e.event_id::text, e.event_type, e.schema_version, e.aggregate_type,
		       e.aggregate_id::text, e.aggregate_version, e.client_id, e.actor_id, e.occurred_at, e.recorded_at,
		       e.correlation_id, e.causation_id, e.request_id, e.data
		FROM claimed c JOIN annals.events e ON e.position = c.position ORDER BY e.position`,
		receiver.String(), limit, lease.Seconds())
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		d := Delivery{Receiver: receiver}
		var event, aggregate string
		e := &d.Event
		err := rows.Scan(&d.Attempt, &e.Position, &event, &e.EventType, &e.SchemaVersion, &e.AggregateType, &aggregate,
			&e.AggregateVersion, &e.ClientID, &e.ActorID, &e.OccurredAt, &e.RecordedAt, &e.CorrelationID, &e.CausationID,
			&e.RequestID, (*[]byte)(&e.Data))
		if err == nil {
			e.EventID, err = domain.ParseID(event)
		}
		if err == nil {
			e.AggregateID, err = domain.ParseID(aggregate)
		}
		if err != nil {
			return nil, fmt.Errorf("claim deliveries: %w", err)
		}
		e.OccurredAt, e.RecordedAt = e.OccurredAt.UTC(), e.RecordedAt.UTC()
		batch = append(batch, d)
	}
	return batch, rows.Err()
}

// target gives where a webhook's events go, and the secret that signs them.
func (q *Queue) target(ctx context.Context, webhook domain.ID) (url, secret string, err error) {
	err = q.db.QueryRowContext(ctx, `
		SELECT w.url, s.secret FROM `+webhooks.Spec().Schema()+`.webhooks w
		JOIN annals.webhook_secrets s ON s.webhook_id = w.id WHERE w.id = $1`, webhook.String()).Scan(&url, &secret)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", &Failure{Reason: "the webhook's secret is missing"}
	}
	if err != nil {
		return "", "", fmt.Errorf("read the webhook's target: %w", err)
	}
	return url, secret, nil
}

// delivered settles a delivery that the receiver took.
func (q *Queue) delivered(ctx context.Context, d Delivery) error {
	return q.exec(ctx, "settle a delivery", `
		UPDATE annals.deliveries SET state = 'delivered', settled_at = now(), last_error = NULL
		WHERE receiver_id = $1 AND event_id = $2 AND state <> 'delivered'`, d.Receiver.String(), d.Event.EventID.String())
}

// failed settles an attempt that failed: the next one is due after a pause, or, when last, there is none. An attempt that
// another one has followed, because its claim ran out, settles nothing.
func (q *Queue) failed(ctx context.Context, d Delivery, reason string, last bool, pause time.Duration) error {
	return q.exec(ctx, "settle a delivery", `
		UPDATE annals.deliveries SET last_error = $4, next_attempt_at = now() + make_interval(secs => $6),
			state = CASE WHEN $5 THEN 'dead' ELSE state END, settled_at = CASE WHEN $5 THEN now() END
		WHERE receiver_id = $1 AND event_id = $2 AND state = 'pending' AND attempts = $3`,
		d.Receiver.String(), d.Event.EventID.String(), d.Attempt, reason, last, pause.Seconds())
}

// release gives a claim back whose attempt was broken off because the node stops. It doesn't count.
func (q *Queue) release(ctx context.Context, d Delivery) error {
	return q.exec(ctx, "release a delivery", `
		UPDATE annals.deliveries SET next_attempt_at = now(), attempts = attempts - 1
		WHERE receiver_id = $1 AND event_id = $2 AND state = 'pending' AND attempts = $3`,
		d.Receiver.String(), d.Event.EventID.String(), d.Attempt)
}

// sweep removes what was delivered longer ago than an age, but not what the policy may yet queue again, and secrets as
// old of webhooks that never came to exist.
func (q *Queue) sweep(ctx context.Context, age time.Duration) error {
	err := q.exec(ctx, "remove old deliveries", `
		DELETE FROM annals.deliveries WHERE state = 'delivered' AND settled_at < now() - make_interval(secs => $1)
		AND position <= (SELECT min(position) FROM annals.subscribers WHERE name = $2)`, age.Seconds(), Spec().Name)
	if err != nil {
		return err
	}
	return q.exec(ctx, "remove secrets without a webhook", `
		DELETE FROM annals.webhook_secrets s WHERE s.created_at < now() - make_interval(secs => $1)
		AND NOT EXISTS (SELECT FROM annals.events e WHERE e.aggregate_id = s.webhook_id)`, age.Seconds())
}

func (q *Queue) exec(ctx context.Context, what, statement string, args ...any) error {
	if _, err := q.db.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
