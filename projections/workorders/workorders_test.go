package workorders_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore/pgtest"
	"annals/projections/projectionstest"
	"annals/projections/workorders"
)

func registry(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(workorder.Definition())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	first, second, third = projectionstest.StreamID(1), projectionstest.StreamID(2), projectionstest.StreamID(3)
	holdA, holdB, entry  = projectionstest.StreamID(4), projectionstest.StreamID(5), projectionstest.StreamID(6)
	epoch                = time.Date(2026, 1, 6, 9, 0, 0, 654321000, time.UTC)
)

// at is some hours after the epoch.
func at(hours int) time.Time { return epoch.Add(time.Duration(hours) * time.Hour) }

func created(number string, due domain.Date) workorder.Created {
	cycle, customer := decimal.RequireFromString("0.0500"), domain.Personal("Acme")
	return workorder.Created{
		Number: number, ProductCode: "P-7", CustomerName: &customer, QuantityOrdered: 500, ReceivedOn: "2026-01-05",
		DueOn: due, IdealCycleTimeHours: &cycle, Workflow: workorder.WorkflowStandard, CloseOnShip: true,
	}
}

func moved(from, to workorder.Status, hours int) workorder.StatusChanged {
	return workorder.StatusChanged{FromStatus: from, ToStatus: to, TriggerSource: workorder.TriggerManual, ChangedAt: at(hours)}
}

func held(from, to workorder.Status, hold domain.ID, hours int) workorder.StatusChanged {
	e := moved(from, to, hours)
	e.TriggerSource, e.HoldID = workorder.TriggerHold, hold
	return e
}

func output(units, defects, scrap int64) workorder.OutputRecorded {
	return workorder.OutputRecorded{
		ProductionEntryID: entry, UnitsProduced: units,
		TotalsAfter: workorder.Output{UnitsProduced: units, Defects: defects, Scrap: scrap},
	}
}

func facts() []projectionstest.Fact {
	bare := created("WO-2", "2026-03-01")
	bare.CustomerName, bare.IdealCycleTimeHours, bare.Workflow, bare.CloseOnShip = nil, nil, workorder.WorkflowMinimal, false
	bare.ReceivedOn = "0001-01-01"
	return []projectionstest.Fact{
		{Stream: first, Event: created("WO-1", "2026-01-30")},
		{Stream: second, Event: bare},
		{Stream: third, Client: "globex", Event: created("WO-1", "2026-01-30")},
		{Stream: first, Event: moved("received", "released", 0)},
		{Stream: first, Event: moved("released", "in_progress", 1)},
		{Stream: first, Event: held("in_progress", "on_hold", holdA, 2)},
		{Stream: first, Event: workorder.HoldAdded{HoldID: holdB, OpenHolds: 2}},
		{Stream: first, Event: workorder.HoldRemoved{HoldID: holdA, OpenHolds: 1}},
		{Stream: first, Event: held("on_hold", "in_progress", holdB, 5)},
		{Stream: first, Event: output(200, 3, 1)},
		{Stream: first, Event: held("in_progress", "on_hold", holdA, 6)},
		{Stream: second, Event: output(1, 0, 0)},
		{Stream: second, Event: workorder.QCApproved{InspectionID: entry}},
		{Stream: second, Event: moved("received", "completed", 7)},
		{Stream: third, Client: "globex", Event: moved("received", "released", 7)},
		{Stream: third, Client: "globex", Event: moved("completed", "shipped", 8)},
	}
}

func TestRowsAreTheSameHoweverTheyAreDelivered(t *testing.T) {
	t.Parallel()
	rows := projectionstest.Check(t, pgtest.New(t).DB, registry(t), workorders.New(), facts()...)["work_orders"]
	want := "(" + first.String() + `,acme,WO-1,P-7,Acme,500,2026-01-05,2026-01-30,0.05,standard,t,on_hold,200,3,1,f,` +
		`"[""` + holdA.String() + `""]",in_progress,"2026-01-06 15:00:00.654321+00",10800000000000,,9,1,11,` +
		`"2026-01-05 08:00:01.123456+00","2026-01-05 08:00:11.123456+00")`
	if len(rows) != 3 || !slices.Contains(rows, want) {
		t.Errorf("rows %q\nwant %s", rows, want)
	}
}

func serve(t *testing.T, facts []projectionstest.Fact) *workorders.Queries {
	t.Helper()
	db := pgtest.New(t)
	projectionstest.Serve(t, db.DB, registry(t), workorders.New(), projectionstest.Record(t, registry(t), 0, facts...))
	return workorders.NewQueries(projectionstest.Tenants(t, db.DSN))
}

func TestGet(t *testing.T) {
	t.Parallel()
	q := serve(t, facts())
	o, position, err := q.Get(context.Background(), "acme", first)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]domain.ID{holdA}, o.OpenHolds.Value); diff != "" {
		t.Error(diff)
	}
	if position != 16 || o.Status != "on_hold" || o.UnitsProduced != 200 || o.Defects != 3 || o.Scrap != 1 || o.QCApproved ||
		o.ReceivedOn != "2026-01-05" || o.DueOn != "2026-01-30" || o.IdealCycleTimeHours.String() != "0.05" ||
		*o.CustomerName != "Acme" || o.Version != 9 || !o.CloseOnShip || o.Workflow != "standard" ||
		!o.OnHoldSince.Equal(at(6)) || o.TimeOnHold != 3*time.Hour || o.BeforeHold != "in_progress" || o.ShippedAt != nil {
		t.Errorf("%+v at %d", o, position)
	}
	o, _, err = q.Get(context.Background(), "acme", second)
	if err != nil || o.CustomerName != nil || o.IdealCycleTimeHours != nil || o.OpenHolds.Value == nil ||
		len(o.OpenHolds.Value) != 0 || !o.QCApproved || o.Status != "completed" || o.ReceivedOn != "0001-01-01" {
		t.Errorf("%+v: %v", o, err)
	}
	o, _, err = q.Get(context.Background(), "globex", third)
	if err != nil || o.ShippedAt == nil || !o.ShippedAt.Equal(at(8)) {
		t.Errorf("%+v: %v", o, err)
	}
	if _, _, err := q.Get(context.Background(), "globex", first); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("another client's work order: %v", err)
	}
}

func TestAgeGrowsWithoutTheTimeOnHold(t *testing.T) {
	t.Parallel()
	q := serve(t, facts())
	age := func(client string, id domain.ID, now time.Time) string {
		o, _, err := q.Get(context.Background(), client, id)
		if err != nil {
			t.Fatal(err)
		}
		if age := o.WIPAgeDays(now); age != nil {
			return *age
		}
		return "none"
	}
	midnight := time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC) // two days; 3 h of one hold, and almost 9 h of the present one
	if got := age("acme", first, midnight); got != "1.50" {
		t.Errorf("on hold: %s", got)
	}
	if got := age("acme", first, midnight.Add(24*time.Hour)); got != "1.50" {
		t.Errorf("on hold a day longer: %s", got)
	}
	if got := age("globex", third, midnight); got != "none" {
		t.Errorf("shipped: %s", got)
	}
}

// every gives the numbers of the orders that a filter selects, read one at a time.
func every(t *testing.T, q *workorders.Queries, client string, f workorders.Filter) []string {
	t.Helper()
	var got []string
	for after, more := int64(0), true; more; {
		page, err := q.List(context.Background(), client, f, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Items {
			got = append(got, o.Number)
		}
		after, more = page.Next, page.Next > 0
	}
	return got
}

func TestList(t *testing.T) {
	t.Parallel()
	q := serve(t, facts())
	yes, no := true, false
	for _, c := range []struct {
		name, client string
		filter       workorders.Filter
		want         []string
	}{
		{"all", "acme", workorders.Filter{}, []string{"WO-1", "WO-2"}},
		{"with a status", "acme", workorders.Filter{Status: "completed"}, []string{"WO-2"}},
		{"with a number", "acme", workorders.Filter{Number: "WO-1"}, []string{"WO-1"}},
		{"with a number of another client's", "globex", workorders.Filter{Number: "WO-2"}, nil},
		{"on the due day", "acme", workorders.Filter{Overdue: &yes, Today: "2026-01-30"}, nil},
		{"overdue", "acme", workorders.Filter{Overdue: &yes, Today: "2026-01-31"}, []string{"WO-1"}},
		{"not overdue", "acme", workorders.Filter{Overdue: &no, Today: "2026-01-31"}, []string{"WO-2"}},
		{"shipped", "globex", workorders.Filter{Overdue: &yes, Today: "2027-01-31"}, nil},
		{"received from", "acme", workorders.Filter{From: "2026-01-05"}, []string{"WO-1"}},
		{"received to", "acme", workorders.Filter{To: "2026-01-04"}, []string{"WO-2"}},
		{"received from and to", "acme", workorders.Filter{From: "0001-01-01", To: "2026-01-05"}, []string{"WO-1", "WO-2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := every(t, q, c.client, c.filter); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// The list's condition and the aggregate's rule agree on every status.
func TestOverdueIsTheAggregatesRule(t *testing.T) {
	t.Parallel()
	var list []projectionstest.Fact
	var want []string
	for i, status := range workorder.Statuses() {
		id := projectionstest.StreamID(100 + i)
		list = append(list, projectionstest.Fact{Stream: id, Event: created(string(status), "2026-01-30")})
		if status != workorder.StatusReceived {
			list = append(list, projectionstest.Fact{Stream: id, Event: moved("received", status, i)})
		}
		state := workorder.State{Status: status, DueOn: "2026-01-30"}
		if state.Overdue("2026-01-31") {
			want = append(want, string(status))
		}
	}
	q := serve(t, list)
	yes := true
	if got := every(t, q, "acme", workorders.Filter{Overdue: &yes, Today: "2026-01-31"}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
