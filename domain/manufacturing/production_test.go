package manufacturing_test

import (
	"testing"

	"annals/domain"
	"annals/domain/domaintest"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
)

func TestRecordProduction(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	p.move(id, "released", "in_progress")
	cmd := anEntry(id, 200)
	cmd.DefectCount, cmd.ScrapCount, cmd.ReworkCount = 3, 1, 2
	cmd.DowntimeHours, cmd.IdealCycleTimeHours = ptr("0.25"), ptr("0.1")
	out := must(p, manufacturing.RecordProduction, cmd)
	stated(t, out,
		production.Created{
			WorkOrderID: id, Line: "L1", Shift: "A", ProductionDate: "2026-01-06", UnitsProduced: 200, DefectCount: 3,
			ScrapCount: 1, ReworkCount: 2, RunTimeHours: dec("8.5"), ScheduledHours: dec("8.5"),
			DowntimeHours: dec("0.25"), EmployeesAssigned: 5, IdealCycleTimeHours: dec("0.1"),
		},
		workorder.OutputRecorded{
			ProductionEntryID: out.ID, UnitsProduced: 200, Defects: 3, Scrap: 1,
			TotalsAfter: workorder.Output{UnitsProduced: 200, Defects: 3, Scrap: 1},
		})
	if !out.Created || out.Version != 1 {
		t.Errorf("the target isn't the entry: %+v", out)
	}
	p.produce(id, 900) // more than ordered
	if got := p.order(id).Output; got != (workorder.Output{UnitsProduced: 1100, Defects: 3, Scrap: 1}) {
		t.Errorf("output %+v", got)
	}
	nothing := anEntry(id, 0)
	nothing.RunTimeHours, nothing.ScheduledHours, nothing.EmployeesAssigned = "0", "0", ptr(int64(0))
	nothing.DefectCount, nothing.ScrapCount = 5, 5
	must(p, manufacturing.RecordProduction, nothing)
	p.Replay()
}

func TestTheCycleTimeIsResolvedAtRecording(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	cmd := anOrder("WO-1")
	cmd.IdealCycleTimeHours, cmd.Workflow = ptr("0.05"), ptr("minimal")
	known := must(p, manufacturing.CreateWorkOrder, cmd).ID
	unknown := p.create("WO-2", workorder.WorkflowMinimal)
	for _, test := range []struct {
		order     domain.ID
		own       *string
		want      string
		estimated bool
	}{
		{known, ptr("0.5"), "0.5", false},
		{known, nil, "0.05", false},
		{unknown, ptr("0.5"), "0.5", false},
		{unknown, nil, "0.25", true},
	} {
		entry := anEntry(test.order, 1)
		entry.IdealCycleTimeHours = test.own
		out := must(p, manufacturing.RecordProduction, entry)
		got := out.Events[0].(production.Created)
		if got.IdealCycleTimeHours.String() != test.want || got.Estimated != test.estimated {
			t.Errorf("cycle time %s, estimated %t; want %s, %t", got.IdealCycleTimeHours, got.Estimated, test.want, test.estimated)
		}
	}
}

func TestRecordProductionOrderOfChecks(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowStandard)
	bad := anEntry(nobody, 1)
	bad.Line = ""
	refused(p, manufacturing.RecordProduction, bad, domain.CodeValidation, "/line")
	refused(p, manufacturing.RecordProduction, anEntry(nobody, 1), domain.CodeNotFound)
	refused(p, manufacturing.RecordProduction, anEntry(id, 1), domain.CodeInvalidTransition)
	p.Client = "globex"
	refused(p, manufacturing.RecordProduction, anEntry(id, 1), domain.CodeNotFound)
}

func TestCorrectProduction(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowMinimal)
	entryID := p.produce(id, 200)
	p.move(id, "completed", "closed") // an entry can be corrected in any state of its order
	correct := manufacturing.CorrectProductionCommand{
		EntryID: entryID, UnitsProduced: ptr(int64(190)), DefectCount: ptr(int64(4)), Reason: "recount",
	}
	out := must(p, manufacturing.CorrectProduction, correct)
	entry, _ := domaintest.Read(p.World, production.Aggregate, entryID)
	stated(t, out,
		production.Corrected{
			Reason: "recount",
			Changes: production.Changes{
				UnitsProduced: &production.Change[int64]{Old: 200, New: 190},
				DefectCount:   &production.Change[int64]{Old: 0, New: 4},
			},
			Entry: entry.Entry,
		},
		workorder.OutputRecorded{
			ProductionEntryID: entryID, UnitsProduced: -10, Defects: 4,
			TotalsAfter: workorder.Output{UnitsProduced: 190, Defects: 4},
		})
	if out.ID != entryID || out.Version != 2 || out.Created {
		t.Errorf("the target isn't the entry: %+v", out)
	}
	stated(t, must(p, manufacturing.CorrectProduction, correct))

	line := manufacturing.CorrectProductionCommand{EntryID: entryID, Line: ptr("L2"), Reason: "wrong line"}
	out = must(p, manufacturing.CorrectProduction, line)
	if len(out.Events) != 1 {
		t.Errorf("a correction that leaves the output alone states %v", out.Events)
	}
	p.Replay()
}

func TestCorrectProductionConvertsEveryValue(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowMinimal)
	entryID := p.produce(id, 200)
	must(p, manufacturing.CorrectProduction, manufacturing.CorrectProductionCommand{
		EntryID: entryID, Line: ptr("L9"), Shift: ptr("Z"), ProductionDate: ptr("2026-02-03"),
		UnitsProduced: ptr(int64(1)), DefectCount: ptr(int64(2)), ScrapCount: ptr(int64(3)), ReworkCount: ptr(int64(4)),
		RunTimeHours: ptr("5"), ScheduledHours: ptr("6"), DowntimeHours: ptr("7"), EmployeesAssigned: ptr(int64(8)),
		IdealCycleTimeHours: ptr("9"), Reason: "all of it",
	})
	got, _ := domaintest.Read(p.World, production.Aggregate, entryID)
	want := production.Entry{
		WorkOrderID: id, Line: "L9", Shift: "Z", ProductionDate: "2026-02-03", UnitsProduced: 1, DefectCount: 2,
		ScrapCount: 3, ReworkCount: 4, RunTimeHours: dec("5"), ScheduledHours: dec("6"), DowntimeHours: dec("7"),
		EmployeesAssigned: 8, IdealCycleTimeHours: dec("9"),
	}
	stated(t, domaintest.Outcome{Events: []domain.Event{production.Created(got.Entry)}}, production.Created(want))
	if got := p.order(id).Output; got != (workorder.Output{UnitsProduced: 1, Defects: 2, Scrap: 3}) {
		t.Errorf("output %+v", got)
	}
}

func TestCorrectProductionOrderOfChecks(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.create("WO-1", workorder.WorkflowMinimal)
	entryID := p.produce(id, 200)
	correct := manufacturing.CorrectProductionCommand{EntryID: nobody, UnitsProduced: ptr(int64(190))}
	refused(p, manufacturing.CorrectProduction, correct, domain.CodeValidation, "/reason")
	correct.Reason = "recount"
	refused(p, manufacturing.CorrectProduction, correct, domain.CodeNotFound)
	correct.EntryID = entryID
	refusedAt(p, 2, manufacturing.CorrectProduction, correct, domain.CodeVersionMismatch)
	correct.UnitsProduced = ptr(int64(200))
	refusedAt(p, 2, manufacturing.CorrectProduction, correct, domain.CodeVersionMismatch)
}
