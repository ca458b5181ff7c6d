package manufacturing_test

import (
	"context"
	"testing"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/workorder"
)

func TestCreateWorkOrder(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	out := must(p, manufacturing.CreateWorkOrder, anOrder("WO-1"))
	stated(t, out, workorder.Created{
		Number: "WO-1", ProductCode: "P-7", QuantityOrdered: 500, ReceivedOn: "2026-01-05", DueOn: "2026-01-30",
		Workflow: "standard",
	})
	if !out.Created || out.Version != 1 {
		t.Errorf("outcome %+v", out)
	}
	p.is(out.ID, workorder.StatusReceived)
	full := anOrder("WO-2")
	full.CustomerName, full.IdealCycleTimeHours = ptr("Acme"), ptr("0.050")
	full.Workflow, full.CloseOnShip = ptr("with_qc"), true
	stated(t, must(p, manufacturing.CreateWorkOrder, full), workorder.Created{
		Number: "WO-2", ProductCode: "P-7", CustomerName: ptr(domain.Personal("Acme")), QuantityOrdered: 500,
		ReceivedOn: "2026-01-05", DueOn: "2026-01-30", IdealCycleTimeHours: ptr(dec("0.05")),
		Workflow: "with_qc", CloseOnShip: true,
	})
	p.Replay()
}

func TestNumbersAreUniquePerClient(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	p.move(id, workorder.StatusCancelled)
	refused(p, manufacturing.CreateWorkOrder, anOrder("WO-1"), domain.CodeDuplicateNumber)
	p.create("wo-1", workorder.WorkflowStandard)
	p.Client = "globex"
	p.create("WO-1", workorder.WorkflowStandard)
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "released"), domain.CodeNotFound)
}

func TestTransitionWorkOrder(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	cmd := transition(id, "released")
	cmd.Notes = ptr("shift A")
	out := must(p, manufacturing.TransitionWorkOrder, cmd)
	stated(t, out, workorder.StatusChanged{
		FromStatus: "received", ToStatus: "released", Notes: ptr("shift A"), TriggerSource: "manual", ChangedAt: p.Now,
	})
	if out.ID != id || out.Version != 2 || out.Created {
		t.Errorf("the target isn't the work order: %+v", out)
	}
	p.move(id, "demoted", "released", "in_progress")
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "completed"), domain.CodeOutputRequired)
	p.produce(id, 1)
	p.move(id, "completed")
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "shipped"), domain.CodeQCApprovalRequired)
	must(p, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{WorkOrderID: id})
	out = must(p, manufacturing.TransitionWorkOrder, transition(id, "shipped"))
	stated(t, out, workorder.StatusChanged{
		FromStatus: "completed", ToStatus: "shipped", TriggerSource: "manual", ChangedAt: p.Now, DueOn: "2026-01-30",
	})
	p.move(id, "closed")
	for _, status := range workorder.Statuses() {
		refused(p, manufacturing.TransitionWorkOrder, transition(id, status), domain.CodeInvalidTransition)
	}
	p.Replay()
}

func TestMinimalNeedsNoOutput(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowMinimal)
	p.move(id, "completed", "closed")
}

func TestTransitionOrderOfChecks(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowWithQC)
	refused(p, manufacturing.TransitionWorkOrder, transition(nobody, "done"), domain.CodeValidation, "/to")
	refused(p, manufacturing.TransitionWorkOrder, transition(nobody, "closed"), domain.CodeNotFound)
	refusedAt(p, 2, manufacturing.TransitionWorkOrder, transition(id, "closed"), domain.CodeVersionMismatch)
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "completed"), domain.CodeInvalidTransition)
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "received"), domain.CodeInvalidTransition)
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "on_hold"), domain.CodeInvalidTransition)
	p.move(id, "released", "in_progress")
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "on_hold"), domain.CodeInvalidTransition)
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "completed"), domain.CodeOutputRequired)
	p.produce(id, 1)
	refused(p, manufacturing.TransitionWorkOrder, transition(id, "completed"), domain.CodeQCApprovalRequired)
}

func TestCloseAfterShipping(t *testing.T) {
	t.Parallel()
	for _, closeOnShip := range []bool{true, false} {
		p := newPlant(t)
		cmd := anOrder("WO-1")
		cmd.CloseOnShip = closeOnShip
		id := must(p, manufacturing.CreateWorkOrder, cmd).ID
		ask := manufacturing.CloseAfterShippingCommand{WorkOrderID: id}
		stated(t, must(p, manufacturing.CloseAfterShipping, ask))
		must(p, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{WorkOrderID: id})
		p.move(id, "released", "in_progress")
		p.produce(id, 1)
		p.move(id, "completed", "shipped")
		p.is(id, workorder.StatusShipped)
		out := must(p, manufacturing.CloseAfterShipping, ask)
		if !closeOnShip {
			stated(t, out)
			continue
		}
		stated(t, out, workorder.StatusChanged{
			FromStatus: "shipped", ToStatus: "closed", TriggerSource: "system", ChangedAt: p.Now,
		})
		stated(t, must(p, manufacturing.CloseAfterShipping, ask))
	}
	refused(newPlant(t), manufacturing.CloseAfterShipping,
		manufacturing.CloseAfterShippingCommand{WorkOrderID: nobody}, domain.CodeNotFound)
}

func TestApproveQC(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id, other := p.create("WO-1", workorder.WorkflowStandard), p.create("WO-2", workorder.WorkflowStandard)
	inspectionID := must(p, manufacturing.RecordInspection, anInspection(id, 9, 1)).ID
	approve := manufacturing.ApproveQCCommand{
		WorkOrderID: id, InspectionID: ptr(inspectionID.String()), Notes: ptr("fine"),
	}
	out := must(p, manufacturing.ApproveQC, approve)
	stated(t, out, workorder.QCApproved{InspectionID: inspectionID, Notes: ptr("fine")})
	if out.ID != id || out.Version != 2 {
		t.Errorf("the target isn't the work order: %+v", out)
	}
	stated(t, must(p, manufacturing.ApproveQC, approve))
	stated(t, must(p, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{WorkOrderID: id}))

	approve.WorkOrderID = other
	refused(p, manufacturing.ApproveQC, approve, domain.CodeValidation, "/inspection_id")
	approved := p.create("WO-3", workorder.WorkflowStandard)
	must(p, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{WorkOrderID: approved})
	stated(t, must(p, manufacturing.ApproveQC, manufacturing.ApproveQCCommand{
		WorkOrderID: approved, InspectionID: approve.InspectionID,
	}))
	p.move(other, "cancelled")
	refused(p, manufacturing.ApproveQC, approve, domain.CodeInvalidTransition)
	refusedAt(p, 1, manufacturing.ApproveQC, approve, domain.CodeVersionMismatch)
	approve.InspectionID = ptr(id.String())
	refusedAt(p, 1, manufacturing.ApproveQC, approve, domain.CodeNotFound)
	approve.InspectionID, approve.WorkOrderID = nil, nobody
	refused(p, manufacturing.ApproveQC, approve, domain.CodeNotFound)
	approve.InspectionID = ptr("7")
	refused(p, manufacturing.ApproveQC, approve, domain.CodeValidation, "/inspection_id")
}

func TestTwoTransitionsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	first, second := p.Begin(nil), p.Begin(nil)
	for _, u := range []*domain.UnitOfWork{first, second} {
		if err := manufacturing.TransitionWorkOrder(context.Background(), u, transition(id, "released")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Commit(first); err != nil {
		t.Fatal(err)
	}
	_, err := p.Commit(second)
	domaintest.Refused(t, err, domain.CodeConcurrentChange)
}
