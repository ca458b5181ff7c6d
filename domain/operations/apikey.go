package operations

import (
	"context"
	"regexp"
	"slices"
	"time"

	"annals/domain"
)

// APIKeyEvent is a fact about an API key. None holds the secret or anything made of it.
type APIKeyEvent interface {
	domain.Event
	apiKeyEvent()
}

// APIKeyCreated: there is a key, and whoever sends it is Actor of Client, with Role.
type APIKeyCreated struct {
	KeyID     string     `json:"key_id"` // the key's public part
	Client    string     `json:"client"` // "*": every client
	Role      string     `json:"role"`
	Actor     string     `json:"actor"`
	Label     *string    `json:"label"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
}

// APIKeyRotated: the key has a new secret. The one before is taken until OldUntil.
type APIKeyRotated struct {
	KeyID    string    `json:"key_id"`
	OldUntil time.Time `json:"old_until"`
}

// APIKeyRevoked: the key isn't taken any more, for good.
type APIKeyRevoked struct {
	KeyID  string `json:"key_id"`
	Reason string `json:"reason"`
}

// EventType implements domain.Event.
func (APIKeyCreated) EventType() string { return "api_key.created" }

// EventType implements domain.Event.
func (APIKeyRotated) EventType() string { return "api_key.rotated" }

// EventType implements domain.Event.
func (APIKeyRevoked) EventType() string { return "api_key.revoked" }

func (APIKeyCreated) apiKeyEvent() {}
func (APIKeyRotated) apiKeyEvent() {}
func (APIKeyRevoked) apiKeyEvent() {}

// APIKeyState is what is known of a key.
type APIKeyState struct {
	KeyID   string `json:"key_id"`
	Client  string `json:"client"`
	Role    string `json:"role"`
	Actor   string `json:"actor"`
	Revoked bool   `json:"revoked"`
}

// APIKeyCommand is something that is done with a key.
type APIKeyCommand interface {
	decide(APIKeyState) ([]APIKeyEvent, error)
	key() string
	// Validate gives what is wrong with the command's values.
	Validate() []domain.FieldError
}

// CreateAPIKey makes a key.
type CreateAPIKey struct {
	KeyID     string
	Client    string
	Role      string
	Actor     string
	Label     *string
	ExpiresAt *time.Time
}

// RotateAPIKey gives a key a new secret.
type RotateAPIKey struct {
	KeyID    string
	OldUntil time.Time
}

// RevokeAPIKey ends a key. Revoked again, it stays as it is.
type RevokeAPIKey struct {
	KeyID  string
	Reason string
}

func (c CreateAPIKey) key() string { return c.KeyID }
func (c RotateAPIKey) key() string { return c.KeyID }
func (c RevokeAPIKey) key() string { return c.KeyID }

// KeyRoles are the roles that a key can have, the one that may least first.
func KeyRoles() []string { return []string{"viewer", "operator", "auditor", "admin"} }

// everyClient and systemClient are clients with a meaning: all of them, and the one of the system's own events.
const (
	everyClient  = "*"
	systemClient = "annals"
)

var clientPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// maxActor is how many characters an actor's name may have.
const maxActor = 255

// Validate implements APIKeyCommand.
func (c CreateAPIKey) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/key_id", c.KeyID, domain.MaxCode)
	v.OneOf("/role", c.Role, KeyRoles()...)
	v.Text("/actor", c.Actor, maxActor)
	v.OptionalText("/label", c.Label, domain.MaxText)
	reads := slices.Contains([]string{"auditor", "admin"}, c.Role)
	switch {
	case c.Client == everyClient && !reads:
		v.Fail("/client", "can be * for an auditor or an admin only")
	case c.Client == systemClient && c.Role != "auditor" && c.Role != "viewer":
		v.Fail("/client", "%s belongs to the system: for an auditor or a viewer only", systemClient)
	case c.Client != everyClient && !clientPattern.MatchString(c.Client):
		v.Fail("/client", "must have 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-'")
	}
	return v.Fields()
}

// Validate implements APIKeyCommand.
func (c RotateAPIKey) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/key_id", c.KeyID, domain.MaxCode)
	return v.Fields()
}

// Validate implements APIKeyCommand: a revocation needs a reason.
func (c RevokeAPIKey) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/key_id", c.KeyID, domain.MaxCode)
	v.Text("/reason", c.Reason, domain.MaxNote)
	return v.Fields()
}

func (c CreateAPIKey) decide(s APIKeyState) ([]APIKeyEvent, error) {
	if s.KeyID != "" {
		return nil, nil
	}
	return []APIKeyEvent{APIKeyCreated(c)}, nil
}

func (c RotateAPIKey) decide(s APIKeyState) ([]APIKeyEvent, error) {
	if s.KeyID == "" || s.Revoked {
		return nil, domain.NotFound(APIKey.Type, APIKeyID(c.KeyID))
	}
	return []APIKeyEvent{APIKeyRotated(c)}, nil
}

func (c RevokeAPIKey) decide(s APIKeyState) ([]APIKeyEvent, error) {
	if s.KeyID == "" {
		return nil, domain.NotFound(APIKey.Type, APIKeyID(c.KeyID))
	}
	if s.Revoked {
		return nil, nil
	}
	return []APIKeyEvent{APIKeyRevoked(c)}, nil
}

// APIKey holds the rules of a key's stream.
var APIKey = &domain.Aggregate[APIKeyState, APIKeyCommand, APIKeyEvent]{
	Type:         "api_key",
	StateVersion: 1,
	Initial:      func() APIKeyState { return APIKeyState{} },
	Decide:       func(s APIKeyState, c APIKeyCommand) ([]APIKeyEvent, error) { return c.decide(s) },
	Evolve:       evolveAPIKey,
}

func evolveAPIKey(s APIKeyState, event APIKeyEvent) APIKeyState {
	switch e := event.(type) {
	case APIKeyCreated:
		s = APIKeyState{KeyID: e.KeyID, Client: e.Client, Role: e.Role, Actor: e.Actor}
	case APIKeyRevoked:
		s.Revoked = true
	}
	return s
}

// ChangeAPIKey is the use case: it records what is done with a key.
func ChangeAPIKey(ctx context.Context, u *domain.UnitOfWork, c APIKeyCommand) error {
	if err := domain.Validate(c); err != nil {
		return err
	}
	key, err := domain.Open(ctx, u, APIKey, APIKeyID(c.key()))
	if err != nil {
		return err
	}
	if err := u.Target(key); err != nil {
		return err
	}
	_, err = key.Execute(c)
	return err
}
