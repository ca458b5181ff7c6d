package workorder_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/workorder"
)

var (
	now          = time.Date(2026, 1, 5, 8, 30, 0, 0, time.UTC)
	later        = now.Add(90 * time.Minute)
	entryID      = domain.MustParseID("0190a000-0000-7000-8000-00000000000e")
	inspectionID = domain.MustParseID("0190a000-0000-7000-8000-00000000000f")
	notes        = "shift A"
	customer     = domain.Personal("Acme")
	cycleTime    = decimal.RequireFromString("0.05")
	mould        = workorder.Created{
		Number: "WO-1001", ProductCode: "P-7", CustomerName: &customer, QuantityOrdered: 500,
		ReceivedOn: "2026-01-05", DueOn: "2026-01-30", IdealCycleTimeHours: &cycleTime,
		Workflow: workorder.WorkflowStandard,
	}
)

func holdID(n byte) domain.ID {
	id := domain.MustParseID("0190a000-0000-7000-8000-0000000000a0")
	id[15] += n
	return id
}

func TestCreate(t *testing.T) {
	t.Parallel()
	create := workorder.Create(mould)
	s := domaintest.Given(t, workorder.Aggregate).When(create).Then(mould)
	want := workorder.State{
		Number: "WO-1001", ProductCode: "P-7", CustomerName: &customer, QuantityOrdered: 500,
		ReceivedOn: "2026-01-05", DueOn: "2026-01-30", IdealCycleTimeHours: &cycleTime,
		Workflow: "standard", Status: "received",
	}
	if diff := cmp.Diff(want, s.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	s.When(create).ThenBroken()
}

func TestCorrectOutputInAnyState(t *testing.T) {
	t.Parallel()
	difference := workorder.Output{UnitsProduced: -1, Defects: 2, Scrap: -3}
	for _, w := range workorder.Workflows() {
		for _, status := range workorder.Statuses() {
			given := domaintest.Given(t, workorder.Aggregate, in(w, status, true)...)
			given.When(workorder.CorrectOutput{EntryID: entryID}).ThenNothing()
			s := given.When(workorder.CorrectOutput{EntryID: entryID, Difference: difference}).
				Then(workorder.OutputRecorded{
					ProductionEntryID: entryID, UnitsProduced: -1, Defects: 2, Scrap: -3,
					TotalsAfter: workorder.Output{UnitsProduced: 0, Defects: 2, Scrap: -3},
				})
			if got := s.State(); got.Output != (workorder.Output{Defects: 2, Scrap: -3}) || got.Status != status {
				t.Errorf("%s %s: state %+v", w, status, got)
			}
		}
	}
}

func TestApproveQC(t *testing.T) {
	t.Parallel()
	approve := workorder.ApproveQC{InspectionID: inspectionID, Notes: &notes}
	for _, status := range workorder.Statuses() {
		decision := domaintest.Given(t, workorder.Aggregate, in(workorder.WorkflowStandard, status, false)...).When(approve)
		switch status {
		case "shipped", "closed", "rejected", "cancelled":
			decision.ThenRefused(domain.CodeInvalidTransition)
		default:
			s := decision.Then(workorder.QCApproved{InspectionID: inspectionID, Notes: &notes})
			s.When(workorder.ApproveQC{}).ThenNothing()
		}
		domaintest.Given(t, workorder.Aggregate, in(workorder.WorkflowStandard, status, true)...).
			When(approve).ThenNothing()
	}
}

func TestCloseAfterShipping(t *testing.T) {
	t.Parallel()
	for _, closeOnShip := range []bool{true, false} {
		for _, status := range workorder.Statuses() {
			events := in(workorder.WorkflowStandard, status, true)
			created := events[0].(workorder.Created)
			created.CloseOnShip = closeOnShip
			events[0] = created
			decision := domaintest.Given(t, workorder.Aggregate, events...).
				When(workorder.CloseAfterShipping{At: later})
			if !closeOnShip || status != workorder.StatusShipped {
				decision.ThenNothing()
				continue
			}
			decision.Then(workorder.StatusChanged{
				FromStatus: "shipped", ToStatus: "closed", TriggerSource: "system", ChangedAt: later,
			}).When(workorder.CloseAfterShipping{At: later}).ThenNothing()
		}
	}
}

func TestStatesThatTakeAHold(t *testing.T) {
	t.Parallel()
	for _, w := range workorder.Workflows() {
		for _, status := range workorder.Statuses() {
			given := domaintest.Given(t, workorder.Aggregate, in(w, status, false)...)
			decision := given.When(workorder.PlaceHold{HoldID: holdID(2), Trigger: workorder.TriggerHold, At: later})
			switch status {
			case "received", "released", "in_progress", "demoted":
				s := decision.Then(workorder.StatusChanged{
					FromStatus: status, ToStatus: "on_hold", TriggerSource: "hold", ChangedAt: later, HoldID: holdID(2),
				})
				s.When(workorder.LiftHold{HoldID: holdID(2), At: later.Add(time.Hour)}).Then(workorder.StatusChanged{
					FromStatus: "on_hold", ToStatus: status, TriggerSource: "hold",
					ChangedAt: later.Add(time.Hour), HoldID: holdID(2),
				})
			case "on_hold":
				decision.Then(workorder.HoldAdded{HoldID: holdID(2), OpenHolds: 2})
			default:
				decision.ThenRefused(domain.CodeInvalidTransition)
			}
		}
	}
}

func TestTheLastLiftedHoldReturnsTheOrder(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, workorder.Aggregate, in(workorder.WorkflowStandard, workorder.StatusInProgress, true)...)
	s = s.When(workorder.PlaceHold{HoldID: holdID(1), Trigger: workorder.TriggerQC, At: now}).
		Then(workorder.StatusChanged{
			FromStatus: "in_progress", ToStatus: "on_hold", TriggerSource: "qc", ChangedAt: now, HoldID: holdID(1),
		})
	s = s.When(workorder.PlaceHold{HoldID: holdID(2), Trigger: workorder.TriggerHold, At: now}).
		Then(workorder.HoldAdded{HoldID: holdID(2), OpenHolds: 2})
	s.When(workorder.PlaceHold{HoldID: holdID(2), Trigger: workorder.TriggerHold, At: now}).ThenBroken()
	s = s.When(workorder.LiftHold{HoldID: holdID(1), At: later}).
		Then(workorder.HoldRemoved{HoldID: holdID(1), OpenHolds: 1})
	s.When(workorder.LiftHold{HoldID: holdID(1), At: later}).ThenBroken()
	if got := s.State().HeldFor(later); got != 90*time.Minute {
		t.Errorf("the present stay on hold is %s", got)
	}
	s = s.When(workorder.LiftHold{HoldID: holdID(2), At: later}).
		Then(workorder.StatusChanged{
			FromStatus: "on_hold", ToStatus: "in_progress", TriggerSource: "hold", ChangedAt: later, HoldID: holdID(2),
		})
	got := s.State()
	if got.TimeOnHold != 90*time.Minute || got.HeldFor(later.Add(time.Hour)) != 90*time.Minute ||
		len(got.OpenHolds) != 0 || got.BeforeHold != "" || !got.OnHoldSince.IsZero() {
		t.Errorf("state after the last hold: %+v", got)
	}
}

func TestAnOrderHasSoManyOpenHolds(t *testing.T) {
	t.Parallel()
	many := make([]domain.ID, workorder.MaxOpenHolds+1)
	for n := range many {
		many[n] = holdID(0)
		binary.BigEndian.PutUint16(many[n][8:], uint16(0x8000+n))
	}
	events := []domain.Event{mould, workorder.StatusChanged{
		FromStatus: "received", ToStatus: "on_hold", TriggerSource: "hold", ChangedAt: now, HoldID: many[0],
	}}
	for n, id := range many[1 : len(many)-2] {
		events = append(events, workorder.HoldAdded{HoldID: id, OpenHolds: int64(n + 2)})
	}
	place := func(n int) workorder.Command {
		return workorder.PlaceHold{HoldID: many[n], Trigger: workorder.TriggerHold, At: later}
	}
	s := domaintest.Given(t, workorder.Aggregate, events...).When(place(workorder.MaxOpenHolds - 1)).
		Then(workorder.HoldAdded{HoldID: many[workorder.MaxOpenHolds-1], OpenHolds: workorder.MaxOpenHolds})
	s.When(place(workorder.MaxOpenHolds)).ThenRefused(domain.CodeValidation, "/work_order_id")
	s = s.When(workorder.LiftHold{HoldID: many[7], At: later}).
		Then(workorder.HoldRemoved{HoldID: many[7], OpenHolds: workorder.MaxOpenHolds - 1})
	s = s.When(place(workorder.MaxOpenHolds)).
		Then(workorder.HoldAdded{HoldID: many[workorder.MaxOpenHolds], OpenHolds: workorder.MaxOpenHolds})
	s = s.When(workorder.Transition{To: workorder.StatusCancelled, At: later}).
		Then(workorder.StatusChanged{
			FromStatus: "on_hold", ToStatus: "cancelled", TriggerSource: "manual", ChangedAt: later,
		})
	s.When(place(7)).ThenRefused(domain.CodeInvalidTransition)
}

func TestStatesDontShareTheirHolds(t *testing.T) {
	t.Parallel()
	s := workorder.Aggregate.Fold(workorder.State{}, workOrderEvents(in("standard", "on_hold", false))...)
	for n := byte(2); n < 20; n++ {
		one := workorder.Aggregate.Evolve(s, workorder.HoldAdded{HoldID: holdID(n), OpenHolds: int64(n)})
		workorder.Aggregate.Evolve(s, workorder.HoldAdded{HoldID: holdID(99), OpenHolds: int64(n)})
		if got := one.OpenHolds[n-1]; got != holdID(n) {
			t.Fatalf("hold %d of one state became another's: %s", n, got)
		}
		s = one
	}
}

func TestAHoldThatEndsAfterTheOrderWasCancelled(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, workorder.Aggregate, in(workorder.WorkflowMinimal, workorder.StatusOnHold, false)...).
		When(workorder.Transition{To: workorder.StatusCancelled, At: later}).
		Then(workorder.StatusChanged{
			FromStatus: "on_hold", ToStatus: "cancelled", TriggerSource: "manual", ChangedAt: later,
		})
	if got := s.State(); len(got.OpenHolds) != 1 || got.TimeOnHold != 90*time.Minute {
		t.Errorf("state of the cancelled order: %+v", got)
	}
	s = s.When(workorder.LiftHold{HoldID: holdID(1), At: later.Add(time.Hour)}).
		Then(workorder.HoldRemoved{HoldID: holdID(1), OpenHolds: 0})
	if got := s.State(); got.Status != workorder.StatusCancelled || len(got.OpenHolds) != 0 {
		t.Errorf("state after the hold: %+v", got)
	}
}

func TestAClockSetBackHoldsForNoTime(t *testing.T) {
	t.Parallel()
	s := domaintest.Given(t, workorder.Aggregate, in(workorder.WorkflowStandard, workorder.StatusOnHold, false)...).
		When(workorder.LiftHold{HoldID: holdID(1), At: now.Add(-time.Hour)}).
		Then(workorder.StatusChanged{
			FromStatus: "on_hold", ToStatus: "received", TriggerSource: "hold",
			ChangedAt: now.Add(-time.Hour), HoldID: holdID(1),
		})
	if got := s.State().TimeOnHold; got != 0 {
		t.Errorf("time on hold %s", got)
	}
}

func TestShippedAtAndOverdue(t *testing.T) {
	t.Parallel()
	for _, status := range workorder.Statuses() {
		s := domaintest.Given(t, workorder.Aggregate, in(workorder.WorkflowStandard, status, false)...).State()
		open := status != "shipped" && status != "closed" && status != "cancelled" && status != "rejected"
		if s.Overdue("2026-01-30") || s.Overdue("2026-01-31") != open {
			t.Errorf("%s: overdue on the day %t, a day later %t", status, s.Overdue("2026-01-30"), s.Overdue("2026-01-31"))
		}
		if s.ShippedAt.Equal(now) != (status == "shipped") {
			t.Errorf("%s: shipped at %s", status, s.ShippedAt)
		}
	}
}

// TestAnySequenceOfCommands checks after each of random commands that the order moved along the table only, is on hold
// exactly while a hold is open, and counts the output it was given.
func TestAnySequenceOfCommands(t *testing.T) {
	t.Parallel()
	table := make(map[string]bool)
	eachTransition(func(w workorder.Workflow, from, to workorder.Status, inTable bool) {
		table[string(w)+string(from)+string(to)] = inTable
	})
	rapid.Check(t, func(t *rapid.T) {
		created := mould
		created.Workflow = rapid.SampledFrom(workorder.Workflows()).Draw(t, "workflow")
		s := workorder.Aggregate.Fold(workorder.State{}, created)
		open := map[domain.ID]bool{}
		var beforeHold workorder.Status
		var output workorder.Output
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			command := drawCommand(t, s)
			events, err := workorder.Aggregate.Decide(s, command)
			if err != nil {
				continue
			}
			old := s
			s = workorder.Aggregate.Fold(s, events...)
			switch c := command.(type) {
			case workorder.PlaceHold:
				if len(open) == 0 {
					beforeHold = old.Status
				}
				open[c.HoldID] = true
			case workorder.LiftHold:
				delete(open, c.HoldID)
				if len(open) == 0 && !old.Status.Terminal() && s.Status != beforeHold {
					t.Fatalf("the last resume led to %s instead of %s", s.Status, beforeHold)
				}
			case workorder.RecordOutput:
				output.UnitsProduced += c.Output.UnitsProduced
			case workorder.CorrectOutput:
				output.UnitsProduced += c.Difference.UnitsProduced
			default:
				if s.Status != old.Status && !table[string(s.Workflow)+string(old.Status)+string(s.Status)] {
					t.Fatalf("%s moved from %s to %s", s.Workflow, old.Status, s.Status)
				}
			}
			if !s.Status.Terminal() && (s.Status == workorder.StatusOnHold) != (len(open) > 0) {
				t.Fatalf("the order is %s with %d open holds", s.Status, len(open))
			}
			if len(s.OpenHolds) != len(open) || s.Output != output {
				t.Fatalf("%d holds are open, want %d; output %+v, want %+v", len(s.OpenHolds), len(open), s.Output, output)
			}
		}
	})
}

func drawCommand(t *rapid.T, s workorder.State) workorder.Command {
	units := workorder.Output{UnitsProduced: rapid.Int64Range(0, 5).Draw(t, "units")}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1:
		return workorder.PlaceHold{
			HoldID: holdID(rapid.Byte().Draw(t, "hold")), Trigger: workorder.TriggerHold, At: now,
		}
	case 2, 3:
		if len(s.OpenHolds) > 0 {
			return workorder.LiftHold{HoldID: rapid.SampledFrom(s.OpenHolds).Draw(t, "lifted"), At: later}
		}
		return workorder.ApproveQC{}
	case 4:
		return workorder.RecordOutput{EntryID: entryID, Output: units}
	case 5:
		return workorder.CorrectOutput{EntryID: entryID, Difference: units}
	default:
		return workorder.Transition{To: rapid.SampledFrom(workorder.Statuses()).Draw(t, "to"), At: later}
	}
}

func goldens() []domaintest.Golden {
	return domaintest.Today(
		mould,
		workorder.QCApproved{InspectionID: inspectionID, Notes: &notes},
		workorder.StatusChanged{
			FromStatus: "received", ToStatus: "on_hold", TriggerSource: "hold", ChangedAt: now, HoldID: holdID(1),
		},
		workorder.HoldAdded{HoldID: holdID(2), OpenHolds: 2},
		workorder.HoldRemoved{HoldID: holdID(1), OpenHolds: 1},
		workorder.OutputRecorded{
			ProductionEntryID: entryID, UnitsProduced: 200, Defects: 3, Scrap: 1,
			TotalsAfter: workorder.Output{UnitsProduced: 200, Defects: 3, Scrap: 1},
		},
	)
}

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	domaintest.GoldenEvents(t, workorder.Definition(), goldens()...)
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	domaintest.GoldenStates(t, workorder.Definition(), append(goldens(), domaintest.Today(
		workorder.StatusChanged{
			FromStatus: "on_hold", ToStatus: "received", TriggerSource: "hold", ChangedAt: later, HoldID: holdID(2),
		},
		workorder.StatusChanged{
			FromStatus: "completed", ToStatus: "shipped", Notes: &notes, TriggerSource: "manual", ChangedAt: later,
			DueOn: "2026-01-30",
		},
	)...)...)
}
