package notifications_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/notifications"
)

var known = []string{"hold.created", "order.created"}

// memory keeps secrets and knows dead letters.
type memory struct {
	secrets map[domain.ID]string
	dead    []domain.ID
	failure error
}

func (m *memory) Keep(_ context.Context, client string, id domain.ID, secret string) error {
	m.secrets[id] = client + ": " + secret
	return m.failure
}

func (m *memory) Has(_ context.Context, _ string, _, event domain.ID) (bool, error) {
	return slices.Contains(m.dead, event), m.failure
}

func valid() notifications.RegisterWebhookCommand {
	return notifications.RegisterWebhookCommand{
		URL: "https://example.com/hook?team=7", EventTypes: known, Secret: "0123456789abcdef", Known: known,
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		change   func(*notifications.RegisterWebhookCommand)
		pointers []string
	}{
		{"all is well", func(*notifications.RegisterWebhookCommand) {}, nil},
		{"nothing", func(c *notifications.RegisterWebhookCommand) { *c = notifications.RegisterWebhookCommand{} },
			[]string{"/url", "/event_types", "/secret"}},
		{"an unknown type", func(c *notifications.RegisterWebhookCommand) { c.EventTypes = []string{"order.created", "x.y"} },
			[]string{"/event_types/1"}},
		{"a type twice", func(c *notifications.RegisterWebhookCommand) {
			c.EventTypes = []string{"order.created", "order.created"}
		}, []string{"/event_types/1"}},
		{"more types than there are", func(c *notifications.RegisterWebhookCommand) {
			c.EventTypes = []string{"order.created", "hold.created", "x.y"}
		}, []string{"/event_types"}},
		{"1 character", func(c *notifications.RegisterWebhookCommand) { c.Secret = "ä" }, nil},
		{"no character", func(c *notifications.RegisterWebhookCommand) { c.Secret = "" }, []string{"/secret"}},
		{"200 characters", func(c *notifications.RegisterWebhookCommand) { c.Secret = strings.Repeat("ä", 200) }, nil},
		{"201 characters", func(c *notifications.RegisterWebhookCommand) { c.Secret = strings.Repeat("ä", 201) }, []string{"/secret"}},
		{"a control character", func(c *notifications.RegisterWebhookCommand) { c.Secret = strings.Repeat("a", 20) + "\x00" },
			[]string{"/secret"}},
		{"a secret that isn't UTF-8", func(c *notifications.RegisterWebhookCommand) { c.Secret = strings.Repeat("a", 20) + "\xff" },
			[]string{"/secret"}},
	} {
		cmd := valid()
		c.change(&cmd)
		var err error
		if fields := cmd.Validate(); len(fields) > 0 {
			err = domain.InvalidFields(fields)
		}
		if len(c.pointers) == 0 && err != nil {
			t.Errorf("%s: %+v", c.name, cmd.Validate())
		} else if len(c.pointers) > 0 {
			domaintest.Refused(t, err, domain.CodeValidation, c.pointers...)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"http://localhost:8080":                 true,
		"http://127.0.0.1:1/":                   true,
		"HTTPS://[::1]:65535/a?b=c":             true,
		"https://xn--bcher-kva.example/":        true,
		"":                                      false,
		"/hook":                                 false,
		"//example.com/hook":                    false,
		"ftp://example.com/":                    false,
		"http:example.com":                      false,
		"http://":                               false,
		"http:///hook":                          false,
		"http://:80/":                           false,
		"http://user@example.com/":              false,
		"http://user:pass@example.com/":         false,
		"http://@example.com/":                  false,
		"http://example.com/#top":               false,
		"http://example.com/#":                  false,
		"http://example.com:/":                  false,
		"http://example.com:0/":                 false,
		"http://example.com:65536/":             false,
		"http://example.com:http/":              false,
		"http://exa mple.com/":                  false,
		"http://[::1/":                          false,
		"http://example.com/\n":                 false,
		"http://example.com/%zz":                false,
		"http://h/" + strings.Repeat("a", 1991): true,
		"http://h/" + strings.Repeat("a", 1992): false,
	} {
		cmd := valid()
		cmd.URL = url
		if fields := cmd.Validate(); ok != (len(fields) == 0) || len(fields) > 1 {
			t.Errorf("%q: %+v", url, fields)
		}
	}
}

func TestLifeOfAWebhook(t *testing.T) {
	t.Parallel()
	m := &memory{secrets: make(map[domain.ID]string)}
	w := domaintest.NewWorld(t, notifications.Definitions()...)
	made, err := w.Run(func(ctx context.Context, u *domain.UnitOfWork) error {
		return notifications.RegisterWebhook(ctx, u, m, valid())
	})
	if err != nil || !strings.HasSuffix(m.secrets[made.ID], ": 0123456789abcdef") {
		t.Fatalf("%+v, secrets %v: %v", made, m.secrets, err)
	}
	if strings.Contains(w.Dump(), "0123456789abcdef") {
		t.Errorf("the secret is in the log:\n%s", w.Dump())
	}
	event := domain.NameID(domain.ID{}, "event")
	redeliver := func(ctx context.Context, u *domain.UnitOfWork) error {
		return notifications.Redeliver(ctx, u, m, notifications.RedeliverCommand{WebhookID: made.ID, EventID: event})
	}
	remove := func(ctx context.Context, u *domain.UnitOfWork) error {
		return notifications.DeleteWebhook(ctx, u, notifications.DeleteWebhookCommand{WebhookID: made.ID})
	}
	_, err = w.Run(redeliver)
	domaintest.Refused(t, err, domain.CodeNotFound)
	m.dead = append(m.dead, event)
	for range 2 {
		if out, err := w.Run(redeliver); err != nil || len(out.Events) != 1 {
			t.Fatalf("%+v: %v", out, err)
		}
	}
	stale := &domain.Precondition{Versions: []int64{1}}
	_, err = w.RunMatching(stale, remove)
	domaintest.Refused(t, err, domain.CodeVersionMismatch)
	if _, err := w.Run(remove); err != nil {
		t.Fatal(err)
	}
	for _, use := range []func(context.Context, *domain.UnitOfWork) error{remove, redeliver} {
		_, err = w.RunMatching(stale, use) // it isn't found, rather than at another version
		domaintest.Refused(t, err, domain.CodeNotFound)
	}
	w.Replay()
}

func TestWebhookWithoutSecretIsNotMade(t *testing.T) {
	t.Parallel()
	m := &memory{secrets: make(map[domain.ID]string), failure: errors.New("the database is away")}
	w := domaintest.NewWorld(t, notifications.Definitions()...)
	_, err := w.Run(func(ctx context.Context, u *domain.UnitOfWork) error {
		return notifications.RegisterWebhook(ctx, u, m, valid())
	})
	if !errors.Is(err, m.failure) || len(w.IDs("webhook")) != 0 {
		t.Errorf("webhooks %v: %v", w.IDs("webhook"), err)
	}
}

func TestGoldens(t *testing.T) {
	t.Parallel()
	examples := domaintest.Today(
		notifications.Registered{URL: "https://example.com/hook?team=7", EventTypes: known},
		notifications.RedeliveryRequested{EventID: domain.MustParseID("018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f")},
		notifications.Deleted{},
	)
	domaintest.GoldenEvents(t, notifications.Definition(), examples...)
	domaintest.GoldenStates(t, notifications.Definition(), examples...)
}
