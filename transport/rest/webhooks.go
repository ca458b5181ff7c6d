package rest

import (
	"context"
	"net/http"

	"annals/domain"
	"annals/domain/notifications"
	"annals/eventstore"
	"annals/projections"
	policy "annals/projections/policies/notifications"
	"annals/projections/webhooks"
	"annals/transport/rest/jsonbody"
)

// Webhooks reads the webhooks, as Products does. Deleted ones are not found.
type Webhooks interface {
	Get(ctx context.Context, client string, id domain.ID) (webhooks.Webhook, int64, error)
	List(ctx context.Context, client string, after int64, limit int) (projections.List[webhooks.Webhook], error)
}

// DeadLetters reads the deliveries that were given up.
type DeadLetters interface {
	notifications.DeadLetters
	// List gives at most limit dead letters of a webhook, ascending by the position of their events, after one.
	List(ctx context.Context, client string, webhook domain.ID, after int64, limit int) (projections.List[policy.DeadLetter], error)
}

const webhooksPath = "/v1/webhooks"

// webhookEndpoints are the routes of webhooks, all for administrators.
func (s *server) webhookEndpoints() []*endpoint {
	const one = webhooksPath + "/{id}"
	get := func(path, name string, prepare prepare) *endpoint {
		return &endpoint{method: http.MethodGet, path: path, name: name, tenancy: oneClient, produces: []string{mediaJSON},
			prepare: prepare}
	}
	endpoints := []*endpoint{
		get(webhooksPath, "listWebhooks", s.listWebhooks),
		get(one, "getWebhook", s.getWebhook),
		get(one+"/dead-letters", "listDeadLetters", s.listDeadLetters),
		s.command(command{method: http.MethodPost, path: webhooksPath, name: "registerWebhook", body: bodyRequired,
			location: webhooksPath + "/", decode: s.registerWebhook}),
		s.command(command{method: http.MethodDelete, path: one, name: "deleteWebhook", body: bodyOptional,
			decode: deleteWebhook}),
		s.command(command{method: http.MethodPost, path: one + "/dead-letters/{event_id}/redeliver", name: "redeliver",
			body: bodyOptional, decode: s.redeliver}),
	}
	for _, e := range endpoints {
		e.may = mayAdminister
	}
	return endpoints
}

func (s *server) registerWebhook(_ *request, f *jsonbody.Fields) (useCase, error) {
	cmd := notifications.RegisterWebhookCommand{
		URL: f.String("url"), EventTypes: f.Strings("event_types"), Secret: f.String("secret"), Known: s.config.EventTypes,
	}
	return uses(f, cmd, func(ctx context.Context, u *domain.UnitOfWork, cmd notifications.RegisterWebhookCommand) error {
		return notifications.RegisterWebhook(ctx, u, s.config.Secrets, cmd)
	}), nil
}

func deleteWebhook(r *request, _ *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "webhook")
	return runs(notifications.DeleteWebhookCommand{WebhookID: id}, notifications.DeleteWebhook), missing
}

func (s *server) redeliver(r *request, _ *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "webhook")
	event, missingLetter := r.resource("event_id", "dead letter")
	cmd := notifications.RedeliverCommand{WebhookID: id, EventID: event}
	return runs(cmd, func(ctx context.Context, u *domain.UnitOfWork, cmd notifications.RedeliverCommand) error {
		return notifications.Redeliver(ctx, u, s.config.DeadLetters, cmd)
	}), or(missing, missingLetter)
}

func (s *server) listWebhooks(r *request) (answer, error) {
	limit, cursor := r.query.limit(), r.query.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("webhooks", r.who.Client)
		return serveList(s, w, r, webhooks.Spec().Name, scope, cursor, webhookRow,
			func(ctx context.Context, after int64) (projections.List[webhooks.Webhook], error) {
				return s.config.Webhooks.List(ctx, r.who.Client, after, limit)
			})
	}, nil
}

func (s *server) getWebhook(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, webhooks.Spec().Name, "webhook", webhookRow, s.config.Webhooks.Get)
	}, nil
}

// listDeadLetters shows what was given up of the events that the policy has come to, which is behind the webhooks' read
// model.
func (s *server) listDeadLetters(r *request) (answer, error) {
	limit, cursor := r.query.limit(), r.query.cursor()
	return func(w http.ResponseWriter) error {
		id, err := r.resource("id", "webhook")
		if err != nil {
			return err
		}
		scope := cursorScope("dead letters", r.who.Client, id.String())
		return serveList(s, w, r, policy.Spec().Name, scope, cursor, deadLetterRow,
			func(ctx context.Context, after int64) (projections.List[policy.DeadLetter], error) {
				if _, position, err := s.config.Webhooks.Get(ctx, r.who.Client, id); err != nil {
					return projections.List[policy.DeadLetter]{Position: position}, err
				}
				return s.config.DeadLetters.List(ctx, r.who.Client, id, after, limit)
			})
	}, nil
}

// webhookView is a webhook as the API shows it: never with its secret.
type webhookView struct {
	ID         domain.ID            `json:"id"`
	URL        string               `json:"url"`
	EventTypes []string             `json:"event_types"`
	Status     notifications.Status `json:"status"`
	Version    int64                `json:"version"`
	CreatedAt  timestamp            `json:"created_at"`
	UpdatedAt  timestamp            `json:"updated_at"`
}

func webhookOf(at eventstore.StateAt, state notifications.WebhookState) webhookView {
	return webhookView{
		ID: at.ID, URL: state.URL, EventTypes: state.EventTypes, Status: state.Status, Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
}

func webhookRow(row webhooks.Webhook) webhookView {
	return webhookOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), notifications.WebhookState{
		URL: row.URL, EventTypes: row.EventTypes.Value, Status: row.Status,
	})
}

func (v webhookView) version() int64 { return v.Version }

// deadLetterView is a delivery that was given up.
type deadLetterView struct {
	EventID   domain.ID `json:"event_id"`
	EventType string    `json:"event_type"`
	Position  int64     `json:"position"`
	Attempts  int64     `json:"attempts"`
	Error     string    `json:"error"`
	QueuedAt  timestamp `json:"queued_at"`
	FailedAt  timestamp `json:"failed_at"`
}

func deadLetterRow(l policy.DeadLetter) deadLetterView {
	return deadLetterView{
		EventID: l.EventID, EventType: l.EventType, Position: l.Position, Attempts: l.Attempts, Error: l.Error,
		QueuedAt: timestamp(l.QueuedAt), FailedAt: timestamp(l.FailedAt),
	}
}
