package privacy_test

import (
	"context"
	"strings"
	"testing"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/privacy"
)

var (
	first  = domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	second = domain.MustParseID("0190a000-0000-7000-8000-00000000000b")
	erased = privacy.Erased{Kind: "customer", Digest: "00ff", KeyIDs: []domain.ID{first}, Reason: "asked to, ticket 12"}
	placed = privacy.HoldPlaced{Kind: "customer", Digest: "00ff", Reason: "case 7"}
	freed  = privacy.HoldReleased{Kind: "customer", Digest: "00ff", Reason: "case 7 is closed"}
)

func TestGoldens(t *testing.T) {
	t.Parallel()
	definition, goldens := privacy.Definitions()[0], domaintest.Today(placed, freed, erased)
	domaintest.GoldenEvents(t, definition, goldens...)
	domaintest.GoldenStates(t, definition, goldens...)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	both := privacy.Erased{Kind: "customer", Digest: "00ff", KeyIDs: []domain.ID{first, second}, Reason: "again"}
	rest := both
	rest.KeyIDs = []domain.ID{second}
	for name, c := range map[string]struct {
		given   []domain.Event
		command privacy.Command
		then    []privacy.Event
	}{
		"an erasure":                {nil, privacy.RecordErasure(erased), []privacy.Event{erased}},
		"a receipt is given once":   {[]domain.Event{erased}, privacy.RecordErasure(erased), nil},
		"a later key has its own":   {[]domain.Event{erased}, privacy.RecordErasure(both), []privacy.Event{rest}},
		"a hold":                    {[]domain.Event{erased}, privacy.PlaceHold(placed), []privacy.Event{placed}},
		"a hold on hold":            {[]domain.Event{placed}, privacy.PlaceHold(placed), nil},
		"a release":                 {[]domain.Event{placed}, privacy.ReleaseHold(freed), []privacy.Event{freed}},
		"a release without a hold":  {nil, privacy.ReleaseHold(freed), nil},
		"a hold after the release":  {[]domain.Event{placed, freed}, privacy.PlaceHold(placed), []privacy.Event{placed}},
		"an erasure keeps the hold": {[]domain.Event{placed, erased}, privacy.PlaceHold(placed), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			domaintest.Given(t, privacy.Subject, c.given...).When(c.command).Then(c.then...)
		})
	}
}

func TestReasonIsNeeded(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", "a\nb", strings.Repeat("x", domain.MaxNote+1)} {
		command := placed
		command.Reason = reason
		u := domain.NewUnitOfWork(nil, domain.Environment{Client: "acme"})
		err := privacy.Record(context.Background(), u, privacy.PlaceHold(command))
		if domain.CodeOf(err) != domain.CodeValidation || len(u.Work().Changes) > 0 {
			t.Errorf("a reason of %d characters: %v", len(reason), err)
		}
	}
}

// A subject's stream can be found again by whoever knows the digest key, and by nobody else.
func TestStreamsAreApart(t *testing.T) {
	t.Parallel()
	ids := map[domain.ID]bool{}
	for _, name := range [][3]string{{"a", "customer", "1"}, {"b", "customer", "1"}, {"a", "order", "1"}, {"a", "customer", "2"}} {
		ids[privacy.SubjectID(name[0], name[1], name[2])] = true
	}
	if len(ids) != 4 || !ids[privacy.SubjectID("a", "customer", "1")] {
		t.Errorf("4 subjects have %d streams", len(ids))
	}
}
