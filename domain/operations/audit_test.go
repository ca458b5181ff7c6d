package operations_test

import (
	"fmt"
	"testing"
	"time"

	"annals/domain/domaintest"
	"annals/domain/operations"
)

var (
	noon   = time.Date(2026, 1, 5, 12, 0, 0, 123000, time.UTC)
	reason = "yearly review"
	access = operations.Access{
		Client: "acme", Roles: []string{"auditor"}, Route: "/v1/events/{position}", Query: "event_type=order.created",
		Format: "application/json", Reason: &reason,
	}
	upTo    = int64(41)
	started = operations.ExportStarted{Access: access, Resource: "/v1/events", After: 3, UpTo: &upTo}
	ended   = operations.Exported{
		Access: access, Resource: "/v1/events", StartedAt: noon, EndedAt: noon.Add(time.Minute),
		Delivered: delivered(12, 4, 40), Complete: true,
	}
)

func delivered(rows, from, to int64) operations.Delivered {
	return operations.Delivered{Rows: rows, FromPosition: &from, ToPosition: &to}
}

func read(resources ...string) operations.LogRead {
	return operations.LogRead{
		Access: access, Resources: resources, Reads: 1, FirstAt: noon, LastAt: noon, Delivered: delivered(1, 7, 7),
	}
}

func TestReadsAreRecorded(t *testing.T) {
	t.Parallel()
	first, second := read("/v1/events/7"), read("/v1/events/8")
	day := domaintest.Given(t, operations.Audit).When(operations.RecordReads{Reads: []operations.LogRead{first, second}}).
		Then(first, second)
	day = day.When(operations.RecordReads{Reads: []operations.LogRead{first}}).Then(first)
	if s := day.State(); s.Reads != 3 || s.Rows != 3 || s.Client != "acme" {
		t.Errorf("state %+v", s)
	}
	day.When(operations.RecordReads{}).ThenNothing()
}

func TestExportsAreRecordedOnce(t *testing.T) {
	t.Parallel()
	export := domaintest.Given(t, operations.Audit).When(operations.StartExport{Export: started}).Then(started)
	export.When(operations.StartExport{Export: started}).ThenNothing()
	export = export.When(operations.EndExport{Export: ended}).Then(ended)
	export.When(operations.EndExport{Export: ended}).ThenNothing()
	if s := export.State(); !s.Started || !s.Ended || s.Rows != 12 {
		t.Errorf("state %+v", s)
	}
}

func TestReadsAreMerged(t *testing.T) {
	t.Parallel()
	all := read("/v1/events/7")
	for _, later := range []operations.LogRead{read("/v1/events/7"), read("/v1/events/9")} {
		later.LastAt, later.Delivered = noon.Add(time.Second), delivered(2, 5, 90)
		if !all.Merge(later) {
			t.Fatal("not merged")
		}
	}
	none := read("/v1/events/7")
	none.Delivered = operations.Delivered{}
	if !all.Merge(none) || all.Reads != 4 || all.Rows != 5 || *all.FromPosition != 5 || *all.ToPosition != 90 || len(all.Resources) != 2 ||
		!all.FirstAt.Equal(noon) {
		t.Errorf("%+v", all)
	}
	for n := range operations.MaxAuditResources - 2 {
		if !all.Merge(read(fmt.Sprint("/v1/events/", 100+n))) {
			t.Fatalf("%d resources are too many", n+3)
		}
	}
	before := all.Reads
	if all.Merge(read("/v1/events/1000")) || all.Reads != before || len(all.Resources) != operations.MaxAuditResources {
		t.Errorf("%d resources in one event", len(all.Resources))
	}
}
