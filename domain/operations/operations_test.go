package operations_test

import (
	"testing"
	"time"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/operations"
)

var (
	home = operations.Incarnation{SystemIdentifier: 7301234567890123456, Timeline: 1}
	away = operations.Incarnation{SystemIdentifier: 7301234567890123456, Timeline: 2}
	sums = operations.Subject{Name: "product_list", Version: 2}
)

func TestIncarnationIsRecordedOnce(t *testing.T) {
	t.Parallel()
	changed := operations.IncarnationChanged{From: home, To: away, Head: 41}
	log := domaintest.Given(t, operations.Log)
	log.When(operations.NoteIncarnation{Before: home, Now: home, Head: 41}).ThenNothing()
	after := log.When(operations.NoteIncarnation{Before: home, Now: away, Head: 41}).Then(changed)
	// A second node, or the next start after a crash, still believes that it was at home.
	after.When(operations.NoteIncarnation{Before: home, Now: away, Head: 42}).ThenNothing()
	after.When(operations.NoteIncarnation{Before: away, Now: home, Head: 50}).
		Then(operations.IncarnationChanged{From: away, To: home, Head: 50})
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	p := domaintest.Given(t, operations.Projection)
	resumed := operations.Resumed{Name: "product_list", Version: 2}
	p.When(operations.Resume{Subject: sums}).Then(resumed) // it had failed
	p = p.When(operations.Pause{Subject: sums}).Then(operations.Paused{Name: "product_list", Version: 2})
	p.When(operations.Pause{Subject: sums}).Then(operations.Paused{Name: "product_list", Version: 2}) // a crash kept the first from taking effect
	// Versions are paused one by one.
	older := operations.Subject{Name: "product_list", Version: 1}
	p = p.When(operations.Pause{Subject: older}).Then(operations.Paused{Name: "product_list", Version: 1})
	p = p.When(operations.Resume{Subject: sums}).Then(resumed)
	if s := p.State(); s.Paused[2] || !s.Paused[1] || s.Name != "product_list" {
		t.Errorf("state %+v", s)
	}
}

func TestSkipRetryRebuild(t *testing.T) {
	t.Parallel()
	skip := operations.SkipFailure{Subject: sums, Position: 17, Reason: "broken payload"}
	p := domaintest.Given(t, operations.Projection)
	skipped := operations.FailureSkipped{Name: "product_list", Version: 2, Position: 17, Reason: "broken payload"}
	p = p.When(skip).Then(skipped)
	p = p.When(skip).Then(skipped) // a crash kept the first from taking effect
	retry := operations.RetryFailure{Subject: sums, Position: 17}
	retried := operations.FailureRetried{Name: "product_list", Version: 2, Position: 17}
	p = p.When(retry).Then(retried)
	p = p.When(retry).Then(retried)
	p = p.When(operations.NoteRebuilt{Subject: sums, Position: 99}).
		Then(operations.Rebuilt{Name: "product_list", Version: 2, Position: 99})
	if s := p.State(); len(s.Skips) != 1 || s.Skips[0].Position != 17 || s.Built[2] != 99 {
		t.Errorf("state %+v", s)
	}
}

func TestSigningKeys(t *testing.T) {
	t.Parallel()
	create := operations.CreateSigningKey{Origin: "o", VerifierKey: "a"}
	rotate := operations.RotateSigningKey{Origin: "o", VerifierKey: "b", Replaces: "a", Statement: "s", Reason: "r"}
	k := domaintest.Given(t, operations.SigningKey)
	k.When(rotate).ThenRefused(domain.CodeInvalidTransition)
	k = k.When(create).Then(operations.SigningKeyCreated{Origin: "o", VerifierKey: "a"})
	k.When(create).ThenNothing()
	k.When(operations.CreateSigningKey{Origin: "o", VerifierKey: "b"}).ThenRefused(domain.CodeInvalidTransition)
	k = k.When(rotate).Then(operations.SigningKeyRotated{Origin: "o", VerifierKey: "b", Replaces: "a", Statement: "s", Reason: "r"})
	k.When(rotate).ThenNothing()
	again := operations.RotateSigningKey{Origin: "o", VerifierKey: "a", Replaces: "b", Reason: "r"}
	k.When(again).ThenRefused(domain.CodeInvalidTransition)
	if k.State().Current() != "b" {
		t.Errorf("state %+v", k.State())
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	domaintest.Refused(t, domain.Validate(operations.SkipFailure{Subject: sums, Position: 17}),
		domain.CodeValidation, "/reason")
	domaintest.Refused(t, domain.Validate(operations.Pause{}), domain.CodeValidation, "/name", "/version")
	domaintest.Refused(t, domain.Validate(operations.RotateSigningKey{Origin: "o", VerifierKey: "b", Replaces: "a"}),
		domain.CodeValidation, "/reason")
	if err := domain.Validate(operations.SkipFailure{Subject: sums, Position: 17, Reason: "r"}); err != nil {
		t.Error(err)
	}
}

func TestStreamsAreTheirOwn(t *testing.T) {
	t.Parallel()
	if operations.ProjectionID("a") == operations.ProjectionID("b") || operations.ProjectionID("log") == operations.LogID() {
		t.Error("two streams have one id")
	}
	day := time.Date(2026, 1, 5, 23, 59, 0, 0, time.FixedZone("", -3600))
	if operations.AuditDayID("acme", "a", day) == operations.AuditDayID("acme", "b", day) ||
		operations.AuditDayID("acme", "a", day) == operations.AuditDayID("*", "a", day) ||
		operations.AuditDayID("acme", "a", day) == operations.AuditDayID("acme", "a", day.Add(-time.Hour)) {
		t.Error("two streams of reads have one id")
	}
	// The ids are part of every database for ever.
	if got := operations.AuditDayID("acme", "cli:root", day).String(); got != "ed7b3f8c-c51a-5a81-ac32-5bbc938a8939" {
		t.Errorf("a reader's stream is %s", got)
	}
	if got := operations.LogID().String(); got != "a9870560-5105-52cc-87e9-48dc89b802e8" {
		t.Errorf("the log's stream is %s", got)
	}
	if got := operations.ProjectionID("audit_log").String(); got != "6d534773-1c1e-505b-a9ee-2b5cab462c2a" {
		t.Errorf("a projection's stream is %s", got)
	}
}

func goldens(aggregate string) []domaintest.Golden {
	switch aggregate {
	case "log":
		return domaintest.Today(operations.IncarnationChanged{From: home, To: away, Head: 41})
	case "signing_key":
		return domaintest.Today(
			operations.SigningKeyCreated{Origin: "annals/x", VerifierKey: "annals/x+1+A"},
			operations.SigningKeyRotated{
				Origin: "annals/x", VerifierKey: "annals/x+2+B", Replaces: "annals/x+1+A", Statement: "a note\n", Reason: "yearly",
			},
		)
	}
	if aggregate == "api_key" {
		return domaintest.Today(created, rotated, operations.APIKeyRevoked{KeyID: "k7f3m2q9x4bc", Reason: "left the company"})
	}
	if aggregate == "audit" {
		return domaintest.Today(read("/v1/events/7"), started, ended)
	}
	return domaintest.Today(
		operations.Paused{Name: "product_list", Version: 2},
		operations.Resumed{Name: "product_list", Version: 2},
		operations.Rebuilt{Name: "product_list", Version: 2, Position: 99},
		operations.FailureSkipped{Name: "product_list", Version: 2, Position: 17, Reason: "broken payload"},
		operations.FailureRetried{Name: "product_list", Version: 2, Position: 17},
	)
}

func TestGoldens(t *testing.T) {
	t.Parallel()
	for _, definition := range operations.Definitions() {
		examples := goldens(definition.Aggregate.AggregateType())
		domaintest.GoldenEvents(t, definition, examples...)
		domaintest.GoldenStates(t, definition, examples...)
	}
}
