package operations

import (
	"context"
	"slices"

	"annals/domain"
)

// SigningKeyEvent is a fact about the keys that sign the log's checkpoints.
type SigningKeyEvent interface {
	domain.Event
	signingKeyEvent()
}

// SigningKeyCreated: the log got its first key.
type SigningKeyCreated struct {
	Origin      string `json:"origin"`       // of the log, in checkpoints
	VerifierKey string `json:"verifier_key"` // the public key, as C2SP signed notes write it
}

// SigningKeyRotated: a new key takes the place of the one before.
type SigningKeyRotated struct {
	Origin      string `json:"origin"`
	VerifierKey string `json:"verifier_key"`
	Replaces    string `json:"replaces"` // the verifier key of the one before
	// Statement is a signed note that names both keys, signed by both, so that who trusts the old key can trust the new one.
	// The old key's signature is missing when it was lost.
	Statement string `json:"statement"`
	Reason    string `json:"reason"`
}

// EventType implements domain.Event.
func (SigningKeyCreated) EventType() string { return "signing_key.created" }

// EventType implements domain.Event.
func (SigningKeyRotated) EventType() string { return "signing_key.rotated" }

func (SigningKeyCreated) signingKeyEvent() {}
func (SigningKeyRotated) signingKeyEvent() {}

// SigningKeyState is which keys the log has had.
type SigningKeyState struct {
	VerifierKeys []string `json:"verifier_keys"` // the last one is the log's; none before the first
}

// Current is the log's verifier key; "" before the first.
func (s SigningKeyState) Current() string {
	if len(s.VerifierKeys) == 0 {
		return ""
	}
	return s.VerifierKeys[len(s.VerifierKeys)-1]
}

// SigningKeyCommand makes a key the log's. Both kinds change nothing when it is already.
type SigningKeyCommand interface {
	decide(SigningKeyState) ([]SigningKeyEvent, error)
	// Validate gives what is wrong with the command's values.
	Validate() []domain.FieldError
}

// CreateSigningKey records the first key.
type CreateSigningKey struct{ Origin, VerifierKey string }

// RotateSigningKey records a key that takes the place of another.
type RotateSigningKey struct{ Origin, VerifierKey, Replaces, Statement, Reason string }

// Validate implements SigningKeyCommand.
func (c CreateSigningKey) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/origin", c.Origin, domain.MaxText)
	v.Text("/verifier_key", c.VerifierKey, domain.MaxNote)
	return v.Fields()
}

// Validate implements SigningKeyCommand: a rotation needs a reason.
func (c RotateSigningKey) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/origin", c.Origin, domain.MaxText)
	v.Text("/verifier_key", c.VerifierKey, domain.MaxNote)
	v.Text("/replaces", c.Replaces, domain.MaxNote)
	v.Text("/reason", c.Reason, domain.MaxNote)
	return v.Fields()
}

func (c CreateSigningKey) decide(s SigningKeyState) ([]SigningKeyEvent, error) {
	switch s.Current() {
	case c.VerifierKey:
		return nil, nil
	case "":
		return []SigningKeyEvent{SigningKeyCreated(c)}, nil
	}
	return nil, domain.Refuse(domain.CodeInvalidTransition, "the log has a signing key already: rotate it")
}

func (c RotateSigningKey) decide(s SigningKeyState) ([]SigningKeyEvent, error) {
	switch {
	case s.Current() == c.VerifierKey:
		return nil, nil
	case s.Current() != c.Replaces:
		return nil, domain.Refuse(domain.CodeInvalidTransition, "the key to be replaced isn't the log's")
	case slices.Contains(s.VerifierKeys, c.VerifierKey):
		return nil, domain.Refuse(domain.CodeInvalidTransition, "a retired key can't be used again")
	}
	return []SigningKeyEvent{SigningKeyRotated(c)}, nil
}

// SigningKey holds the rules of the keys that sign the log's checkpoints.
var SigningKey = &domain.Aggregate[SigningKeyState, SigningKeyCommand, SigningKeyEvent]{
	Type:         "signing_key",
	StateVersion: 1,
	Initial:      func() SigningKeyState { return SigningKeyState{VerifierKeys: []string{}} },
	Decide:       func(s SigningKeyState, c SigningKeyCommand) ([]SigningKeyEvent, error) { return c.decide(s) },
	Evolve: func(s SigningKeyState, event SigningKeyEvent) SigningKeyState {
		switch e := event.(type) {
		case SigningKeyCreated:
			s.VerifierKeys = append(slices.Clip(s.VerifierKeys), e.VerifierKey)
		case SigningKeyRotated:
			s.VerifierKeys = append(slices.Clip(s.VerifierKeys), e.VerifierKey)
		}
		return s
	},
}

// SetSigningKey is the use case: it makes a key the log's and records that.
func SetSigningKey(ctx context.Context, u *domain.UnitOfWork, c SigningKeyCommand) error {
	if err := domain.Validate(c); err != nil {
		return err
	}
	keys, err := domain.Open(ctx, u, SigningKey, SigningKeyID())
	if err != nil {
		return err
	}
	if err := u.Target(keys); err != nil {
		return err
	}
	_, err = keys.Execute(c)
	return err
}
