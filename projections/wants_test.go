package projections_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"annals/projections"
)

// A version of a subscriber reads what it always read. Other events need another version, and change nothing until then.
func TestOtherEventsNeedAnotherVersion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kept           string // what was written down
		added, dropped []string
	}{
		"the same":         {kept: `'{tally.counted}'`},
		"not written down": {kept: `NULL`},
		"more than before": {kept: `'{}'`, added: []string{"tally.counted"}},
		"less than before": {kept: `'{tally.counted,tally.noted}'`, dropped: []string{"tally.noted"}},
		"others":           {kept: `'{tally.noted}'`, added: []string{"tally.counted"}, dropped: []string{"tally.noted"}},
		"everything":       {kept: `'{*}'`, added: []string{"tally.counted"}, dropped: []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			p := totals("totals", nil)
			p.FoldConfig.Spec.EventTypes = []string{"tally.counted", "tally.counted"}
			ensure := func() error { return projections.EnsureSchemas(context.Background(), b.db.DB, p.Spec()) }
			if err := ensure(); err != nil {
				t.Fatal(err)
			}
			b.db.MustExec(`UPDATE annals.subscribers SET wants = ` + c.kept)
			err := ensure()
			var other *projections.WantsError
			if !errors.As(err, &other) {
				other = &projections.WantsError{}
			}
			if !slices.Equal(other.Added, c.added) || !slices.Equal(other.Dropped, c.dropped) || (err == nil) != (c.added == nil && c.dropped == nil) {
				t.Errorf("%v: %+v", err, other)
			}
			p.FoldConfig.Spec.Version = 2
			if err := ensure(); err != nil {
				t.Errorf("another version: %v", err)
			}
			var again string
			if err := b.db.Get(&again, `SELECT wants FROM annals.subscribers WHERE version = 2`); err != nil || again != "{tally.counted}" {
				t.Errorf("the other version reads %s, %v", again, err)
			}
		})
	}
}
