package kpi_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
)

func TestFiguresWithoutData(t *testing.T) {
	t.Parallel()
	zero := "0.00"
	want := kpi.Figures{
		Efficiency: zero, Performance: zero, Availability: zero, QualityRate: zero, OEE: zero, PPM: &zero, DPMO: &zero,
		FPY: &zero, FPYByStage: &kpi.StageFPY{Incoming: zero, InProcess: zero, Final: zero}, RTY: &zero, OTD: &zero,
	}
	if diff := cmp.Diff(want, kpi.Compute(kpi.Sums{}, true)); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	want = kpi.Figures{Efficiency: zero, Performance: zero, Availability: zero, QualityRate: zero, OEE: zero}
	if diff := cmp.Diff(want, kpi.Compute(kpi.Sums{}, false)); diff != "" {
		t.Errorf("figures of a line (-want +got):\n%s", diff)
	}
}

func TestEntryFigures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		sums kpi.Sums
		want kpi.Figures
	}{
		{
			"200 units of 0.25 h by 5 people in 8.5 h",
			kpi.Sums{
				Entries: 1, UnitsProduced: 200, Defects: 3, Scrap: 1, EarnedHours: dec("50"), StaffHours: dec("42.5"),
				RunHours: dec("40"), ScheduledHours: dec("8.5"), DowntimeHours: dec("0.5"),
			},
			// 50/42.5; 50/40; 8/8.5; 196/200; 8/8.5 × 1.25 × 0.98
			kpi.Figures{
				Efficiency: "117.65", Performance: "125.00", Availability: "94.12", QualityRate: "98.00", OEE: "115.29",
			},
		},
		{
			"oee multiplies unrounded factors",
			kpi.Sums{
				Entries: 1, UnitsProduced: 3, Defects: 1, EarnedHours: dec("30"), StaffHours: dec("40"),
				RunHours: dec("30"), ScheduledHours: dec("3"), DowntimeHours: dec("1"),
			},
			// 2/3 × 1 × 2/3: rounded factors would give 44.45
			kpi.Figures{
				Efficiency: "75.00", Performance: "100.00", Availability: "66.67", QualityRate: "66.67", OEE: "44.44",
			},
		},
		{
			"oee multiplies the capped performance",
			kpi.Sums{
				Entries: 1, Estimated: 1, UnitsProduced: 3, Defects: 1, EarnedHours: dec("30"), StaffHours: dec("20"),
				RunHours: dec("10"), ScheduledHours: dec("3"), DowntimeHours: dec("1"),
			},
			// efficiency exactly at its cap; 2/3 × 1.5 × 2/3 = 2/3
			kpi.Figures{
				Efficiency: "150.00", Performance: "150.00", Availability: "66.67", QualityRate: "66.67", OEE: "66.67",
				Estimated: true,
			},
		},
		{
			"more defects than units",
			kpi.Sums{
				Entries: 1, UnitsProduced: 10, Defects: 8, Scrap: 3, EarnedHours: dec("10"), StaffHours: dec("1"),
				RunHours: dec("10"), ScheduledHours: dec("10"),
			},
			kpi.Figures{
				Efficiency: "150.00", Performance: "100.00", Availability: "100.00", QualityRate: "0.00", OEE: "0.00",
			},
		},
		{
			"half-up at the third digit",
			kpi.Sums{
				Entries: 1, UnitsProduced: 80000, Defects: 79999, EarnedHours: dec("0.01005"), StaffHours: dec("100"),
				RunHours: dec("800"), ScheduledHours: dec("200"), DowntimeHours: dec("199.99"),
			},
			// 0.01005 %, 0.00125625 %, exactly 0.005 %, 0.00125 %
			kpi.Figures{Efficiency: "0.01", Performance: "0.00", Availability: "0.01", QualityRate: "0.00", OEE: "0.00"},
		},
		{
			"more downtime than scheduled",
			kpi.Sums{
				Entries: 1, UnitsProduced: 1, EarnedHours: dec("1"), StaffHours: dec("1"), RunHours: dec("1"),
				ScheduledHours: dec("8"), DowntimeHours: dec("12"),
			},
			kpi.Figures{
				Efficiency: "100.00", Performance: "100.00", Availability: "-50.00", QualityRate: "100.00", OEE: "-50.00",
			},
		},
		{
			"no negative zero",
			kpi.Sums{Entries: 1, ScheduledHours: dec("1000000"), DowntimeHours: dec("1000000.001")},
			kpi.Figures{Efficiency: "0.00", Performance: "0.00", Availability: "0.00", QualityRate: "0.00", OEE: "0.00"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, kpi.Compute(test.sums, false)); diff != "" {
				t.Errorf("figures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInspectionFigures(t *testing.T) {
	t.Parallel()
	sums := kpi.Sums{
		Inspections: 3, DefectsFound: 22, Opportunities: dec("11000"), Shipped: 3, ShippedOnTime: 2,
		Incoming: kpi.StageSums{Inspected: 300, Passed: 200, Defective: 100},
		Final:    kpi.StageSums{Inspected: 900, Passed: 600, Defective: 300},
	}
	f := kpi.Compute(sums, true)
	got := map[string]string{
		"ppm": *f.PPM, "dpmo": *f.DPMO, "fpy": *f.FPY, "rty": *f.RTY, "otd": *f.OTD,
		"incoming": f.FPYByStage.Incoming, "in_process": f.FPYByStage.InProcess, "final": f.FPYByStage.Final,
	}
	want := map[string]string{
		"ppm": "333333.33", "dpmo": "2000.00", "fpy": "66.67", "otd": "66.67",
		"rty":      "44.44", // of two stages, since in_process has no data; rounded factors would give 44.45
		"incoming": "66.67", "in_process": "0.00", "final": "66.67",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	sums.InProcess = kpi.StageSums{Inspected: 2, Defective: 2}
	if rty := *kpi.Compute(sums, true).RTY; rty != "0.00" {
		t.Errorf("rty with a stage that passes nothing is %s", rty)
	}
}

func TestHasData(t *testing.T) {
	t.Parallel()
	for _, name := range kpi.Names() {
		got := []bool{
			kpi.Sums{Entries: 1}.HasData(name), kpi.Sums{Inspections: 1}.HasData(name), kpi.Sums{Shipped: 1}.HasData(name),
		}
		want := []bool{false, true, false}
		switch {
		case name == kpi.OTD:
			want = []bool{false, false, true}
		case name.ByLine():
			want = []bool{true, false, false}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s by entries, inspections, deliveries:\n%s", name, diff)
		}
	}
}

func TestGroupKeys(t *testing.T) {
	t.Parallel()
	order := domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	entry := kpi.Cell{Day: "2026-01-06", Line: "L1", Shift: "A", WorkOrder: order}
	other := kpi.Cell{Day: "2027-01-03", WorkOrder: order}
	tests := []struct {
		by           kpi.GroupBy
		entry, other string
		complete     bool
	}{
		{kpi.ByDay, "2026-01-06", "2027-01-03", true},
		{kpi.ByWeek, "2026-W02", "2026-W53", true},
		{kpi.ByLine, "L1", "", false},
		{kpi.ByShift, "A", "", false},
		{kpi.ByWorkOrder, order.String(), order.String(), true},
		{kpi.ByTotal, "total", "total", true},
	}
	if len(tests) != len(kpi.GroupBys()) {
		t.Errorf("there are groupings %v", kpi.GroupBys())
	}
	for _, test := range tests {
		key, ok := test.by.Key(entry)
		if !ok || key != test.entry {
			t.Errorf("%s: an entry counts in %q, %t", test.by, key, ok)
		}
		key, ok = test.by.Key(other)
		if ok != (test.other != "") || key != test.other {
			t.Errorf("%s: an inspection counts in %q, %t", test.by, key, ok)
		}
		if test.by.Complete() != test.complete {
			t.Errorf("%s: complete is %t", test.by, !test.complete)
		}
	}
	if kpi.PeriodDay.GroupBy() != kpi.ByDay || kpi.PeriodWeek.GroupBy() != kpi.ByWeek {
		t.Error("the groupings of periods")
	}
}

func TestWeekKey(t *testing.T) {
	t.Parallel()
	for day, want := range map[domain.Date]string{
		"2026-01-01": "2026-W01", "2024-12-30": "2025-W01", "2021-01-03": "2020-W53", "0001-01-01": "0001-W01",
		"9999-12-31": "9999-W52",
	} {
		if got := kpi.WeekKey(day); got != want {
			t.Errorf("%s is in %s, want %s", day, got, want)
		}
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 6, 12, 0, 0, 0, time.UTC)
	tests := []struct{ got, want string }{
		{kpi.WIPAge("2026-01-05", 0, now), "1.50"},
		{kpi.WIPAge("2026-01-05", 6*time.Hour, now), "1.25"},
		{kpi.WIPAge("2026-01-06", 11*time.Hour+52*time.Minute+48*time.Second, now), "0.01"}, // exactly 0.005
		{kpi.WIPAge("1226-01-06", 0, now), "292194.50"},                                     // past the range of a duration
		{kpi.HoldAge(now.Add(-36*time.Hour), now), "1.50"},
		{kpi.HoldAge(now, now), "0.00"},
	}
	for i, test := range tests {
		if test.got != test.want {
			t.Errorf("%d: got %s, want %s", i, test.got, test.want)
		}
	}
}

func TestMinusUndoesPlus(t *testing.T) {
	t.Parallel()
	sums := rapid.Custom(drawSums)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := sums.Draw(t, "a"), sums.Draw(t, "b"), sums.Draw(t, "c")
		if diff := cmp.Diff(a, a.Plus(b).Minus(b)); diff != "" {
			t.Fatalf("a + b - b (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(a.Plus(b).Plus(c), c.Plus(a.Plus(b))); diff != "" {
			t.Fatalf("the order of adding matters:\n%s", diff)
		}
		if !a.Minus(a).Empty() || (kpi.Sums{Entries: 1}).Empty() || (kpi.Sums{Inspections: 1}).Empty() ||
			(kpi.Sums{Shipped: 1}).Empty() {
			t.Fatal("a group exists when something counts in it")
		}
	})
}

func drawSums(t *rapid.T) kpi.Sums {
	count := func(name string) int64 { return rapid.Int64Range(0, 1_000_000_000).Draw(t, name) }
	stage := func(name string) kpi.StageSums {
		return kpi.StageSums{Inspected: count(name), Passed: count(name), Defective: count(name)}
	}
	return kpi.Sums{
		Entries: count("entries"), Estimated: count("estimated"), UnitsProduced: count("units"),
		Defects: count("defects"), Scrap: count("scrap"),
		EarnedHours: dec("0.0001").Mul(dec("3")), StaffHours: dec("1.5"), RunHours: dec("12.25"),
		ScheduledHours: dec("8"), DowntimeHours: dec("0.125"),
		Inspections: count("inspections"), Incoming: stage("incoming"), InProcess: stage("in_process"),
		Final: stage("final"), DefectsFound: count("found"), Opportunities: dec("1000000000000000000"),
		Shipped: count("shipped"), ShippedOnTime: count("on time"),
	}
}
