package replay

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDryRunFindsTampering: each kind of difference is found, by key, and the live tables are only read.
func TestDryRunFindsTampering(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3_000)
	p := bulkTotals{}
	b.live(p)
	b.equalsReplay(p)
	b.must(`UPDATE rm_totals_v1.totals SET last = '{"key": "k1"}' WHERE client_id = 'client-1' AND key = 'k1'`)
	b.must(`DELETE FROM rm_totals_v1.totals WHERE client_id = 'client-1' AND key = 'k101'`)
	b.must(`INSERT INTO rm_totals_v1.totals VALUES ('client-9', 'kx', 1, 2, 'null')`)
	before := b.rows("rm_totals_v1.totals")
	result, err := Rebuild(b.ctx, b.deps, p, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	c := result.Comparison
	if result.Position != c.LivePosition || result.Events != b.int(`SELECT count(*) FROM annals.events
		WHERE event_type = 'counter.counted' AND position <= $1`, c.LivePosition) {
		t.Errorf("applied %d events up to %d, the live rows are at %d", result.Events, result.Position, c.LivePosition)
	}
	want := []TableCount{{Table: "totals", LiveRows: 900, RebuiltRows: 900, Missing: 1, Surplus: 1, Changed: 1}}
	if diff := cmp.Diff(want, c.Tables); diff != "" {
		t.Error(diff)
	}
	if len(c.Differences) != 3 || c.Count() != 3 || c.Equal() {
		t.Fatalf("differences %+v", c.Differences)
	}
	keys := []string{}
	for _, d := range c.Differences {
		keys = append(keys, d.Key)
	}
	wantKeys := []string{`{"client_id" : "client-1", "key" : "k1"}`, `{"client_id" : "client-1", "key" : "k101"}`,
		`{"client_id" : "client-9", "key" : "kx"}`}
	if diff := cmp.Diff(wantKeys, keys); diff != "" {
		t.Error(diff)
	}
	last := Difference{Table: "totals", Key: wantKeys[2],
		Live: `{"client_id":"client-9","key":"kx","total":1,"events":2,"last":null}`}
	if diff := cmp.Diff(last, c.Differences[2]); diff != "" {
		t.Error(diff)
	}
	if b.rows("rm_totals_v1.totals") != before || result.Switched {
		t.Error("a dry run has changed the live table")
	}
	if got := b.schemas(); len(got) != 1 {
		t.Errorf("left %v", got)
	}
	few, err := Rebuild(b.ctx, b.deps, p, Options{DryRun: true, MaxDifferences: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(few.Comparison.Differences) != 2 || few.Comparison.Count() != 3 {
		t.Errorf("listed %d of %d", len(few.Comparison.Differences), few.Comparison.Count())
	}
}

// TestDryRunBesideAWriter: a log and a checkpoint that grow while a dry run looks at them aren't taken for a log that lost
// its tail.
func TestDryRunBesideAWriter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(1)
	p := bulkTotals{}
	b.live(p)
	builder, err := begin(b.ctx, b.deps, p, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	defer builder.session.close()
	written := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 300 && err == nil; i++ {
			if err = fill(b.ctx, b.DB.DB, 1); err == nil {
				_, err = b.ExecContext(b.ctx, `UPDATE annals.subscribers SET position = position + 1 WHERE name = $1`, p.Spec().Name)
			}
		}
		written <- err
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if err := builder.aim(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDryRunBehindTheLog compares at the live checkpoint, wherever the log ends.
func TestDryRunBehindTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(9_000)
	p := bulkTotals{}
	b.live(p)
	b.fill(7_000)
	result, err := Rebuild(b.ctx, b.deps, p, Options{DryRun: true, MergeEvery: 1_000})
	if err != nil {
		t.Fatal(err)
	}
	if result.Position != 9_000 || result.Comparison.LivePosition != 9_000 || !result.Comparison.Equal() {
		t.Errorf("result %+v, %+v", result, result.Comparison)
	}
	b.live(p)
	b.equalsReplay(p)
}

// TestUntil builds the rows of an earlier position, keeps them, and the next rebuild goes on from them.
func TestUntil(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(12_000)
	p := entries{}
	b.live(p)
	result, err := Rebuild(b.ctx, b.deps, p, Options{Until: 5_001})
	if err != nil {
		t.Fatal(err)
	}
	c := result.Comparison
	if result.Switched || result.Position != 5_001 || c.LivePosition != 12_000 || c.Schema != "build_entries_v1" {
		t.Errorf("result %+v, %+v", result, c)
	}
	want := []TableCount{{Table: "entries", LiveRows: 12_000, RebuiltRows: 5_001, Surplus: 6_999}}
	if diff := cmp.Diff(want, c.Tables); diff != "" {
		t.Error(diff)
	}
	if len(c.Differences) != defaultMaxDifferences {
		t.Errorf("%d differences are listed", len(c.Differences))
	}
	if got := b.int(`SELECT max(position) FROM build_entries_v1.entries`); got != 5_001 {
		t.Errorf("the kept rows end at %d", got)
	}
	if _, err := Rebuild(b.ctx, b.deps, p, Options{Until: 100}); err != nil {
		t.Fatal(err)
	}
	if got := b.int(`SELECT count(*) FROM build_entries_v1.entries`); got != 100 {
		t.Errorf("going back, %d rows were kept", got)
	}
	result, err = Rebuild(b.ctx, b.deps, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Switched || !result.Resumed {
		t.Errorf("result %+v", result)
	}
	b.equalsReplay(p)
}
