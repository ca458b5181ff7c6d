package hold_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/hold"
)

var (
	workOrderID = domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	resolution  = "rework done"
	resin       = hold.Created{WorkOrderID: workOrderID, Category: "material", Reason: "awaiting resin", Quantity: 25}
	resumed     = hold.Resumed{
		QuantityReleased: 20, QuantityScrapped: 5, Resolution: &resolution, HeldFor: decimal.RequireFromString("1.5"),
	}
)

func TestCreate(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, hold.Aggregate).When(hold.Create(resin)).Then(resin)
	want := hold.State{
		WorkOrderID: workOrderID, Category: "material", Reason: "awaiting resin", Quantity: 25, Status: "open",
	}
	if diff := cmp.Diff(want, s.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	s.When(hold.Create(resin)).ThenBroken()
}

func TestResume(t *testing.T) {
	t.Parallel()
	resume := hold.Resume{
		QuantityReleased: 20, QuantityScrapped: 5, Resolution: &resolution, HeldFor: 90 * time.Minute,
	}
	s := domaintest.Given(t, hold.Aggregate, resin).When(resume).Then(resumed)
	want := hold.State{
		WorkOrderID: workOrderID, Category: "material", Reason: "awaiting resin", Quantity: 25, Status: "resumed",
		QuantityReleased: 20, QuantityScrapped: 5, Resolution: &resolution, HeldFor: decimal.RequireFromString("1.5"),
	}
	if diff := cmp.Diff(want, s.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	s.When(resume).ThenRefused(domain.CodeHoldClosed)
	s.When(hold.Resume{QuantityReleased: 1}).ThenRefused(domain.CodeHoldClosed) // before the quantities
}

func TestResumeWantsTheHeldQuantity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		released, scrapped := rapid.Int64Range(0, 30).Draw(t, "released"), rapid.Int64Range(0, 30).Draw(t, "scrapped")
		decision := domaintest.Given(t, hold.Aggregate, resin).
			When(hold.Resume{QuantityReleased: released, QuantityScrapped: scrapped})
		if released+scrapped != 25 {
			decision.ThenRefused(domain.CodeValidation, "/quantity_released")
			return
		}
		decision.Then(hold.Resumed{QuantityReleased: released, QuantityScrapped: scrapped})
	})
}

func TestHeldFor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		held time.Duration
		want string
	}{
		{0, "0"},
		{-time.Hour, "0"},
		{time.Hour, "1"},
		{48*time.Hour + 15*time.Minute, "48.25"},
		{time.Minute, "0.0167"},
		{180 * time.Millisecond, "0.0001"}, // 0.00005 h
		{179 * time.Millisecond, "0"},
	}
	for _, test := range tests {
		_, err := hold.Aggregate.Decide(hold.State{}, hold.Resume{})
		if domain.CodeOf(err) != domain.CodeHoldClosed {
			t.Fatalf("a hold that doesn't exist: %v", err)
		}
		events, err := hold.Aggregate.Decide(hold.State{Status: hold.StatusOpen}, hold.Resume{HeldFor: test.held})
		if err != nil {
			t.Fatal(err)
		}
		if got := events[0].(hold.Resumed).HeldFor.String(); got != test.want {
			t.Errorf("%s: held for %s h, want %s", test.held, got, test.want)
		}
	}
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, hold.Definition(), domaintest.Today(resin, resumed)...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, hold.Definition(), domaintest.Today(resin, resumed)...)
}
