package workorder_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing/workorder"
)

// transitionTable is the table of the domain rules, written down again: state → what can be asked for.
const transitionTable = `
standard received    : released cancelled
standard released    : in_progress demoted cancelled
standard in_progress : completed rejected cancelled
standard completed   : shipped closed rejected
standard shipped     : closed
standard closed      :
standard on_hold     : cancelled
standard demoted     : released cancelled
standard rejected    :
standard cancelled   :
with_qc received    : released cancelled
with_qc released    : in_progress demoted cancelled
with_qc in_progress : completed rejected cancelled
with_qc completed   : shipped closed rejected
with_qc shipped     : closed
with_qc closed      :
with_qc on_hold     : cancelled
with_qc demoted     : released cancelled
with_qc rejected    :
with_qc cancelled   :
express received    : in_progress cancelled
express released    :
express in_progress : completed rejected cancelled
express completed   : closed rejected
express shipped     :
express closed      :
express on_hold     : cancelled
express demoted     :
express rejected    :
express cancelled   :
minimal received    : completed cancelled
minimal released    :
minimal in_progress :
minimal completed   : closed rejected
minimal shipped     :
minimal closed      :
minimal on_hold     : cancelled
minimal demoted     :
minimal rejected    :
minimal cancelled   :`

// eachTransition calls f for each workflow, state and target, with whether the table has it.
func eachTransition(f func(w workorder.Workflow, from, to workorder.Status, inTable bool)) {
	for row := range strings.SplitSeq(strings.TrimSpace(transitionTable), "\n") {
		head, targets, _ := strings.Cut(row, ":")
		names := strings.Fields(head)
		for _, to := range workorder.Statuses() {
			f(workorder.Workflow(names[0]), workorder.Status(names[1]), to,
				slices.Contains(strings.Fields(targets), string(to)))
		}
	}
}

func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	n := 0
	eachTransition(func(workorder.Workflow, workorder.Status, workorder.Status, bool) { n++ })
	if want := len(workorder.Workflows()) * 10 * 10; n != want || len(workorder.Statuses()) != 10 {
		t.Fatalf("the table covers %d transitions, want %d", n, want)
	}
}

func TestAllowedFollowsTheTable(t *testing.T) {
	t.Parallel()
	eachTransition(func(w workorder.Workflow, from, to workorder.Status, inTable bool) {
		if got := slices.Contains(workorder.Allowed(w, from), to); got != inTable {
			t.Errorf("%s: allowed from %s to %s is %t", w, from, to, got)
		}
	})
	want := []workorder.Status{workorder.StatusInProgress, workorder.StatusDemoted, workorder.StatusCancelled}
	if diff := cmp.Diff(want, workorder.Allowed(workorder.WorkflowStandard, workorder.StatusReleased)); diff != "" {
		t.Errorf("the order of the answer differs from the table's:\n%s", diff)
	}
	if none := workorder.Allowed(workorder.WorkflowExpress, workorder.StatusClosed); none == nil || len(none) != 0 {
		t.Errorf("nothing allowed must be an empty list, not %#v", none)
	}
}

// in gives an order that got to a state in whatever way, with or without what quality control and output ask for.
func in(w workorder.Workflow, status workorder.Status, ready bool) []domain.Event {
	created := mould
	created.Workflow = w
	events := []domain.Event{created}
	if ready {
		events = append(events, workorder.QCApproved{}, workorder.OutputRecorded{
			ProductionEntryID: entryID, UnitsProduced: 1, TotalsAfter: workorder.Output{UnitsProduced: 1},
		})
	}
	if status != workorder.StatusReceived {
		events = append(events, workorder.StatusChanged{
			FromStatus: workorder.StatusReceived, ToStatus: status, ChangedAt: now, HoldID: holdID(1),
		})
	}
	return events
}

func TestTransitionsOfReadyOrders(t *testing.T) {
	t.Parallel()
	eachTransition(func(w workorder.Workflow, from, to workorder.Status, inTable bool) {
		t.Run(fmt.Sprintf("%s/%s/%s", w, from, to), func(t *testing.T) {
			t.Parallel()
			decision := domaintest.Given(t, workorder.Aggregate, in(w, from, true)...).
				When(workorder.Transition{To: to, Notes: &notes, At: later})
			if !inTable {
				decision.ThenRefused(domain.CodeInvalidTransition)
				return
			}
			want := workorder.StatusChanged{
				FromStatus: from, ToStatus: to, Notes: &notes, TriggerSource: "manual", ChangedAt: later,
			}
			if to == workorder.StatusShipped {
				want.DueOn = mould.DueOn
			}
			if got := decision.Then(want).State().Status; got != to {
				t.Errorf("the order is %s", got)
			}
		})
	})
}

func TestTransitionsOfOrdersWithoutOutputAndApproval(t *testing.T) {
	t.Parallel()
	output, qc := domain.CodeOutputRequired, domain.CodeQCApprovalRequired
	refusals := map[string]domain.Code{
		"standard completed": output, "standard shipped": qc,
		"express completed": output,
		"with_qc completed": output, "with_qc shipped": qc,
	}
	eachTransition(func(w workorder.Workflow, from, to workorder.Status, inTable bool) {
		code := refusals[string(w)+" "+string(to)]
		if !inTable {
			code = domain.CodeInvalidTransition // the state is judged before output and quality control
		}
		_, err := workorder.Aggregate.Decide(
			workorder.Aggregate.Fold(workorder.State{}, workOrderEvents(in(w, from, false))...),
			workorder.Transition{To: to, At: later},
		)
		if got := domain.CodeOf(err); got != code {
			t.Errorf("%s from %s to %s: got %v, want %q", w, from, to, err, code)
		}
	})
}

func TestWithQCNeedsApprovalForCompleted(t *testing.T) {
	t.Parallel()
	recorded := workorder.OutputRecorded{
		ProductionEntryID: entryID, UnitsProduced: 1, TotalsAfter: workorder.Output{UnitsProduced: 1},
	}
	complete := workorder.Transition{To: workorder.StatusCompleted, At: later}
	unapproved := append(in(workorder.WorkflowWithQC, workorder.StatusInProgress, false), recorded)
	domaintest.Given(t, workorder.Aggregate, unapproved...).
		When(complete).ThenRefused(domain.CodeQCApprovalRequired)
	unapproved = append(in(workorder.WorkflowStandard, workorder.StatusInProgress, false), recorded)
	s := domaintest.Given(t, workorder.Aggregate, unapproved...).When(complete).
		Then(workorder.StatusChanged{
			FromStatus: workorder.StatusInProgress, ToStatus: workorder.StatusCompleted,
			TriggerSource: workorder.TriggerManual, ChangedAt: later,
		})
	s.When(workorder.Transition{To: workorder.StatusShipped, At: later}).
		ThenRefused(domain.CodeQCApprovalRequired)
}

func TestOutputTakenBackIsNoOutput(t *testing.T) {
	t.Parallel()
	events := append(in(workorder.WorkflowStandard, workorder.StatusInProgress, true),
		workorder.OutputRecorded{ProductionEntryID: entryID, UnitsProduced: -1})
	domaintest.Given(t, workorder.Aggregate, events...).
		When(workorder.Transition{To: workorder.StatusCompleted, At: later}).
		ThenRefused(domain.CodeOutputRequired)
}

func TestStatesInWhichOutputIsRecorded(t *testing.T) {
	t.Parallel()
	recording := map[workorder.Workflow]workorder.Status{
		"standard": "in_progress", "express": "in_progress", "with_qc": "in_progress", "minimal": "received",
	}
	record := workorder.RecordOutput{EntryID: entryID, Output: workorder.Output{UnitsProduced: 3, Defects: 2, Scrap: 1}}
	for _, w := range workorder.Workflows() {
		for _, status := range workorder.Statuses() {
			decision := domaintest.Given(t, workorder.Aggregate, in(w, status, true)...).When(record)
			if recording[w] != status {
				decision.ThenRefused(domain.CodeInvalidTransition)
				continue
			}
			decision.Then(workorder.OutputRecorded{
				ProductionEntryID: entryID, UnitsProduced: 3, Defects: 2, Scrap: 1,
				TotalsAfter: workorder.Output{UnitsProduced: 4, Defects: 2, Scrap: 1},
			})
		}
	}
}

func workOrderEvents(events []domain.Event) []workorder.Event {
	own := make([]workorder.Event, len(events))
	for i, e := range events {
		own[i] = e.(workorder.Event)
	}
	return own
}
