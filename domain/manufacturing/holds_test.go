package manufacturing_test

import (
	"context"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/workorder"
)

func resume(id domain.ID, released, scrapped int64) manufacturing.ResumeHoldCommand {
	return manufacturing.ResumeHoldCommand{HoldID: id, QuantityReleased: released, QuantityScrapped: scrapped}
}

func TestRecordInspection(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	p.move(id, "cancelled") // an inspection can be recorded in any state of its order
	p.Now = time.Date(2026, 1, 9, 23, 59, 0, 0, time.UTC)
	cmd := anInspection(id, 985, 15)
	out := must(p, manufacturing.RecordInspection, cmd)
	stated(t, out, inspection.Recorded{
		WorkOrderID: id, Stage: "final", InspectedOn: "2026-01-09", UnitsInspected: 1000, UnitsPassed: 985,
		UnitsDefective: 15, OpportunitiesPerUnit: 10,
	})
	if !out.Created || out.Version != 1 {
		t.Errorf("the target isn't the inspection: %+v", out)
	}
	cmd.InspectedOn, cmd.OpportunitiesPerUnit, cmd.Inspector = ptr("2026-01-07"), ptr(int64(0)), ptr("q-2")
	cmd.UnitsReworked, cmd.UnitsScrapped, cmd.DefectCount, cmd.Stage = 5, 10, 18, "incoming"
	stated(t, must(p, manufacturing.RecordInspection, cmd), inspection.Recorded{
		WorkOrderID: id, Stage: "incoming", InspectedOn: "2026-01-07", UnitsInspected: 1000, UnitsPassed: 985,
		UnitsDefective: 15, UnitsReworked: 5, UnitsScrapped: 10, DefectCount: 18, Inspector: ptr(domain.Personal("q-2")),
	})
	refused(p, manufacturing.RecordInspection, anInspection(nobody, 1, 0), domain.CodeNotFound)
	p.Replay()
}

func TestHoldAndResume(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	p.move(id, "released", "in_progress")
	out := must(p, manufacturing.CreateHold, aHold(id, 25))
	first := out.ID
	stated(t, out,
		hold.Created{WorkOrderID: id, Category: "material", Reason: "awaiting resin", Quantity: 25},
		workorder.StatusChanged{
			FromStatus: "in_progress", ToStatus: "on_hold", TriggerSource: "hold", ChangedAt: p.Now, HoldID: first,
		})
	if !out.Created || out.Version != 1 {
		t.Errorf("the target isn't the hold: %+v", out)
	}
	p.Now = p.Now.Add(time.Hour)
	out = must(p, manufacturing.CreateHold, aHold(id, 0))
	second := out.ID
	stated(t, out,
		hold.Created{WorkOrderID: id, Category: "material", Reason: "awaiting resin"},
		workorder.HoldAdded{HoldID: second, OpenHolds: 2})
	refused(p, manufacturing.RecordProduction, anEntry(id, 1), domain.CodeInvalidTransition)

	p.Now = p.Now.Add(30 * time.Minute)
	cmd := resume(first, 20, 5)
	cmd.Resolution = ptr("rework done")
	out = must(p, manufacturing.ResumeHold, cmd)
	stated(t, out,
		hold.Resumed{QuantityReleased: 20, QuantityScrapped: 5, Resolution: ptr("rework done"), HeldFor: dec("1.5")},
		workorder.HoldRemoved{HoldID: first, OpenHolds: 1})
	if out.ID != first || out.Version != 2 || out.Created {
		t.Errorf("the target isn't the hold: %+v", out)
	}
	p.is(id, workorder.StatusOnHold)
	stated(t, must(p, manufacturing.ResumeHold, resume(second, 0, 0)),
		hold.Resumed{HeldFor: dec("0.5")},
		workorder.StatusChanged{
			FromStatus: "on_hold", ToStatus: "in_progress", TriggerSource: "hold", ChangedAt: p.Now, HoldID: second,
		})
	if got := p.order(id); got.TimeOnHold != 90*time.Minute || got.Status != workorder.StatusInProgress {
		t.Errorf("work order %+v", got)
	}
	p.Replay()
}

func TestHoldOrderOfChecks(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	refused(p, manufacturing.CreateHold, aHold(nobody, -1), domain.CodeValidation, "/quantity")
	refused(p, manufacturing.CreateHold, aHold(nobody, 1), domain.CodeNotFound)
	holdID := p.hold(id, 25)
	refused(p, manufacturing.ResumeHold, resume(nobody, -1, 0), domain.CodeValidation, "/quantity_released")
	refused(p, manufacturing.ResumeHold, resume(nobody, 1, 0), domain.CodeNotFound)
	refusedAt(p, 2, manufacturing.ResumeHold, resume(holdID, 1, 0), domain.CodeVersionMismatch)
	refused(p, manufacturing.ResumeHold, resume(holdID, 1, 0), domain.CodeValidation, "/quantity_released")
	must(p, manufacturing.ResumeHold, resume(holdID, 25, 0))
	refused(p, manufacturing.ResumeHold, resume(holdID, 1, 0), domain.CodeHoldClosed)
	p.move(id, "cancelled")
	refused(p, manufacturing.CreateHold, aHold(id, 1), domain.CodeInvalidTransition)
}

func TestResumingAfterTheOrderWasCancelled(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowExpress)
	first, second := p.hold(id, 1), p.hold(id, 2)
	p.move(id, "cancelled")
	stated(t, must(p, manufacturing.ResumeHold, resume(first, 1, 0)),
		hold.Resumed{QuantityReleased: 1}, workorder.HoldRemoved{HoldID: first, OpenHolds: 1})
	stated(t, must(p, manufacturing.ResumeHold, resume(second, 0, 2)),
		hold.Resumed{QuantityScrapped: 2}, workorder.HoldRemoved{HoldID: second, OpenHolds: 0})
	p.is(id, workorder.StatusCancelled)
	p.Replay()
}

func TestTwoResumesAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	holds := []domain.ID{p.hold(id, 1), p.hold(id, 1)}
	var units []*domain.UnitOfWork
	for _, holdID := range holds {
		u := p.Begin(nil)
		if err := manufacturing.ResumeHold(context.Background(), u, resume(holdID, 1, 0)); err != nil {
			t.Fatal(err)
		}
		units = append(units, u)
	}
	if _, err := p.Commit(units[0]); err != nil {
		t.Fatal(err)
	}
	_, err := p.Commit(units[1])
	domaintest.Refused(t, err, domain.CodeConcurrentChange)
	must(p, manufacturing.ResumeHold, resume(holds[1], 1, 0))
	p.is(id, workorder.StatusReceived)
}

func TestOpenQualityHold(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	ask := func(cmd manufacturing.RecordInspectionCommand) domaintest.Outcome {
		inspected := must(p, manufacturing.RecordInspection, cmd).ID
		return must(p, manufacturing.OpenQualityHold,
			manufacturing.OpenQualityHoldCommand{InspectionID: inspected, Limit: dec("99")})
	}
	incoming := anInspection(id, 985, 15)
	incoming.Stage = "incoming"
	stated(t, ask(incoming))
	stated(t, ask(anInspection(id, 10, 0)))
	stated(t, ask(anInspection(id, 99, 1))) // the limit itself is allowed
	out := ask(anInspection(id, 985, 15))
	stated(t, out,
		workorder.StatusChanged{
			FromStatus: "received", ToStatus: "on_hold", TriggerSource: "qc", ChangedAt: p.Now, HoldID: out.ID,
		},
		hold.Created{
			WorkOrderID: id, Category: "quality", Reason: "final inspection: 15 of 1000 units are defective", Quantity: 15,
		})
	if !out.Created || p.holdState(out.ID).Status != hold.StatusOpen {
		t.Errorf("the target isn't the hold: %+v", out)
	}
	out = ask(anInspection(id, 9, 1))
	if len(out.Events) != 2 || len(p.order(id).OpenHolds) != 2 {
		t.Errorf("a further hold: %v", out.Events)
	}
	p.move(id, "cancelled")
	stated(t, ask(anInspection(id, 9, 1)))
	refused(p, manufacturing.OpenQualityHold,
		manufacturing.OpenQualityHoldCommand{InspectionID: nobody}, domain.CodeNotFound)
}
