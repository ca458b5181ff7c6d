package operations_test

import (
	"testing"
	"time"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/operations"
)

var (
	label   = "the till"
	expires = time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	created = operations.APIKeyCreated{
		KeyID: "k7f3m2q9x4bc", Client: "acme", Role: "operator", Actor: "ada", Label: &label, ExpiresAt: &expires,
	}
	rotated = operations.APIKeyRotated{KeyID: "k7f3m2q9x4bc", OldUntil: expires}
)

func TestLifeOfAKey(t *testing.T) {
	t.Parallel()
	none := domaintest.Given(t, operations.APIKey)
	none.When(operations.RotateAPIKey(rotated)).ThenRefused(domain.CodeNotFound)
	none.When(operations.RevokeAPIKey{KeyID: "k7f3m2q9x4bc", Reason: "r"}).ThenRefused(domain.CodeNotFound)
	key := none.When(operations.CreateAPIKey(created)).Then(created)
	key.When(operations.CreateAPIKey(created)).ThenNothing()
	key = key.When(operations.RotateAPIKey(rotated)).Then(rotated)
	key = key.When(operations.RevokeAPIKey{KeyID: "k7f3m2q9x4bc", Reason: "r"}).
		Then(operations.APIKeyRevoked{KeyID: "k7f3m2q9x4bc", Reason: "r"})
	key.When(operations.RevokeAPIKey{KeyID: "k7f3m2q9x4bc", Reason: "again"}).ThenNothing()
	key.When(operations.RotateAPIKey(rotated)).ThenRefused(domain.CodeNotFound)
}

func TestKeysOfClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		client, role string
		pointers     []string
	}{
		{"acme", "viewer", nil}, {"acme", "admin", nil}, {"*", "auditor", nil}, {"*", "admin", nil}, {"annals", "auditor", nil},
		{"annals", "viewer", nil},
		{"acme", "root", []string{"/role"}}, {"*", "operator", []string{"/client"}}, {"*", "viewer", []string{"/client"}},
		{"annals", "operator", []string{"/client"}}, {"annals", "admin", []string{"/client"}},
		{"", "viewer", []string{"/client"}}, {"a b", "viewer", []string{"/client"}},
	} {
		cmd := operations.CreateAPIKey{KeyID: "k", Client: c.client, Role: c.role, Actor: "ada"}
		err := domain.Validate(cmd)
		if len(c.pointers) == 0 {
			if err != nil {
				t.Errorf("%s of %s: %v", c.role, c.client, err)
			}
			continue
		}
		domaintest.Refused(t, err, domain.CodeValidation, c.pointers...)
	}
	domaintest.Refused(t, domain.Validate(operations.CreateAPIKey{KeyID: "k", Client: "c", Role: "admin", Actor: "a\x00"}),
		domain.CodeValidation, "/actor")
	domaintest.Refused(t, domain.Validate(operations.RevokeAPIKey{KeyID: "k"}), domain.CodeValidation, "/reason")
}
