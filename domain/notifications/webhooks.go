package notifications

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"annals/domain"
)

// Lengths of a webhook's values in characters.
const (
	MaxURL    = 2_000
	MinSecret = 1
	MaxSecret = 200
)

// Secrets keeps the secrets of webhooks apart from the log.
type Secrets interface {
	// Keep stores a webhook's secret before the webhook exists. The secret of one that never comes to exist is of no
	// consequence.
	Keep(ctx context.Context, client string, webhook domain.ID, secret string) error
}

// DeadLetters knows the events that were given up.
type DeadLetters interface {
	// Has reports whether the delivery of an event to a webhook was given up.
	Has(ctx context.Context, client string, webhook, event domain.ID) (bool, error)
}

// RegisterWebhookCommand asks for a webhook.
type RegisterWebhookCommand struct {
	URL        string   `json:"url"`
	EventTypes []string `json:"event_types"`
	Secret     string   `json:"secret"`
	Known      []string `json:"-"` // every event type there is
}

// Validate judges the command's values.
func (c RegisterWebhookCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.validateURL(&v)
	c.validateTypes(&v)
	switch n := utf8.RuneCountInString(c.Secret); {
	case !utf8.ValidString(c.Secret):
		v.Fail("/secret", "must be valid UTF-8")
	case n < MinSecret || n > MaxSecret:
		v.Fail("/secret", "must have %d to %d characters", MinSecret, MaxSecret)
	case strings.ContainsFunc(c.Secret, unicode.IsControl):
		v.Fail("/secret", "must not contain control characters")
	}
	return v.Fields()
}

// validateTypes wants each type to be known, and named once.
func (c RegisterWebhookCommand) validateTypes(v *domain.Validator) {
	const pointer = "/event_types"
	switch n := len(c.EventTypes); {
	case n == 0:
		v.Fail(pointer, "must name at least one event type")
		return
	case n > len(c.Known): // not looked through, however long it is
		v.Fail(pointer, "must not name more types than there are")
		return
	}
	for i, eventType := range c.EventTypes {
		switch at := pointer + "/" + strconv.Itoa(i); {
		case !slices.Contains(c.Known, eventType):
			v.Fail(at, "must be an event type such as \"order.created\"")
		case slices.Contains(c.EventTypes[:i], eventType):
			v.Fail(at, "must not be named twice")
		}
	}
}

// validateURL wants an absolute http or https URL. A password in it would end up in the log.
func (c RegisterWebhookCommand) validateURL(v *domain.Validator) {
	const pointer = "/url"
	before := len(v.Fields())
	if v.Text(pointer, c.URL, MaxURL); len(v.Fields()) > before {
		return
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		v.Fail(pointer, "must be an absolute http or https URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Opaque != "", u.Hostname() == "", strings.ContainsFunc(u.Host, unicode.IsSpace):
		v.Fail(pointer, "must be an absolute http or https URL")
	case u.User != nil:
		v.Fail(pointer, "must not contain a user name or a password")
	case strings.Contains(c.URL, "#"):
		v.Fail(pointer, "must not contain a fragment")
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && !validPort(u.Port()):
		v.Fail(pointer, "must have a port from 1 to 65535, or none")
	}
}

func validPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// RegisterWebhook makes a webhook exist: it is sent the events that come after.
func RegisterWebhook(ctx context.Context, u *domain.UnitOfWork, secrets Secrets, cmd RegisterWebhookCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	w := domain.OpenNew(u, Webhook)
	u.Create(w)
	if err := secrets.Keep(ctx, u.Client, w.ID(), cmd.Secret); err != nil {
		return fmt.Errorf("keep the webhook's secret: %w", err)
	}
	_, err := w.Execute(register{URL: cmd.URL, EventTypes: cmd.EventTypes})
	return err
}

// DeleteWebhookCommand asks to send nothing more.
type DeleteWebhookCommand struct{ WebhookID domain.ID }

// DeleteWebhook ends a webhook. One that was deleted is not found.
func DeleteWebhook(ctx context.Context, u *domain.UnitOfWork, cmd DeleteWebhookCommand) error {
	w, err := open(ctx, u, cmd.WebhookID)
	if err != nil {
		return err
	}
	if err := u.Target(w); err != nil {
		return err
	}
	_, err = w.Execute(remove{})
	return err
}

// RedeliverCommand asks to try an event again that couldn't be delivered.
type RedeliverCommand struct{ WebhookID, EventID domain.ID }

// Redeliver requests another delivery of an event. It refuses with not-found when the event's delivery to the webhook
// wasn't given up.
func Redeliver(ctx context.Context, u *domain.UnitOfWork, letters DeadLetters, cmd RedeliverCommand) error {
	w, err := open(ctx, u, cmd.WebhookID)
	if err != nil {
		return err
	}
	dead, err := letters.Has(ctx, u.Client, cmd.WebhookID, cmd.EventID)
	if err != nil {
		return fmt.Errorf("look for the dead letter: %w", err)
	}
	if !dead {
		return domain.Refuse(domain.CodeNotFound, "the webhook has no dead letter %s", cmd.EventID)
	}
	if err := u.Target(w); err != nil {
		return err
	}
	_, err = w.Execute(redeliver{EventID: cmd.EventID})
	return err
}

// open opens a webhook that exists and isn't deleted, else it refuses with not-found.
func open(ctx context.Context, u *domain.UnitOfWork, id domain.ID) (
	*domain.Stream[WebhookState, WebhookCommand, WebhookEvent], error,
) {
	w, err := domain.OpenExisting(ctx, u, Webhook, id)
	if err == nil && w.State().Status == StatusDeleted {
		return nil, domain.NotFound(Webhook.Type, id)
	}
	return w, err
}
