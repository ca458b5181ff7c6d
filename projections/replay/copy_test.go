package replay

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"annals/projections"
)

// copyRow repeats columns of the log.
type copyRow struct {
	Position int64           `db:"position,key"`
	ClientID string          `db:"client_id"`
	Body     json.RawMessage `db:"body"`
}

// copied is a journal that is rebuilt within the database. read counts the events whose rows were made in Go.
func copied(read *atomic.Int64) *projections.Journal[copyRow] {
	return projections.MustJournal(projections.JournalConfig[copyRow]{
		Spec: projections.Spec{Name: "copied", Version: 1, Kind: projections.KindReadModel, Raw: true, DDL: `
			CREATE TABLE lines (position bigint PRIMARY KEY, client_id text NOT NULL, body json NOT NULL,
				CONSTRAINT not_poisoned CHECK (body ->> 'poison' IS NULL));
			CREATE INDEX lines_client_idx ON lines (client_id, position)`},
		Table: "lines",
		Row: func(e projections.Event) (copyRow, bool, error) {
			read.Add(1)
			return copyRow{e.Position, e.ClientID, e.Data}, true, nil
		},
		Repeats: map[string]string{"body": "data"},
	})
}

// checkCopies compares the serving rows with the log, less the positions left out.
func (b *bundle) checkCopies(without ...int64) {
	b.t.Helper()
	n := b.int(`SELECT count(*) FROM rm_copied_v1.lines l JOIN annals.events e USING (position)
		WHERE l.client_id = e.client_id AND l.body::text = e.data::text`)
	if log := b.int(`SELECT count(*) FROM annals.events`); n != log-int64(len(without)) {
		b.t.Errorf("%d rows are the log's, which has %d events, %d of them skipped", n, log, len(without))
	}
	for _, p := range without {
		if b.int(`SELECT count(*) FROM rm_copied_v1.lines WHERE position = $1`, p) > 0 {
			b.t.Errorf("position %d was skipped and is there", p)
		}
	}
}

func TestCopiedRebuild(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{
		"in several merges": {MergeEvery: 1_000}, "in one": {}, "gentle": {Gentle: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(3*rangePositions + 77)
			var read atomic.Int64
			p := copied(&read)
			b.ensure(p)
			for _, skipped := range []int64{3, rangePositions, 2*rangePositions + 1} {
				b.must(`INSERT INTO annals.skipped_events (projection, version, position, reason, actor)
					VALUES ('copied', 1, $1, 'test', 'test')`, skipped)
			}
			result, err := Rebuild(b.ctx, b.deps, p, opts)
			if err != nil || !result.Switched || result.Position != 3*rangePositions+77 {
				t.Fatalf("result %+v, error %v", result, err)
			}
			b.checkCopies(3, rangePositions, 2*rangePositions+1)
			if n := read.Load(); n > chunkEvents {
				t.Errorf("%d events were read, of which the switch needs %d at most", n, chunkEvents)
			}
		})
	}
}

// Statements that take long copy fewer positions, down to one, and short ones more, within bounds.
func TestCopiedRangesFitTheirTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		positions int64
		took      time.Duration
		want      int64
	}{
		{2000, copyTime + 1, 1000}, {1, time.Hour, 1}, {2000, copyTime, 2000}, {2000, copyTime / 2, 2000},
		{2000, copyTime/2 - 1, 4000}, {4 * rangePositions, 0, 4 * rangePositions}, {3 * rangePositions, 0, 4 * rangePositions},
	} {
		if got := nextRange(c.positions, c.took); got != c.want {
			t.Errorf("after %d positions in %s: %d, want %d", c.positions, c.took, got, c.want)
		}
	}
}

// A rebuild that was interrupted goes on from its last merge.
func TestCopiedRebuildGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(5*rangePositions + 5)
	p := copied(new(atomic.Int64))
	b.ensure(p)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	merges := 0
	_, err := Rebuild(ctx, b.deps, p, Options{MergeEvery: 1_000, observe: func(s signal) {
		if s == signalMerged {
			if merges++; merges == 2 {
				cancel()
			}
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	result, err := Rebuild(b.ctx, b.deps, p, Options{MergeEvery: 1_000})
	if err != nil || !result.Resumed || result.Events >= 5*rangePositions+5 {
		t.Fatalf("result %+v, error %v", result, err)
	}
	b.checkCopies()
}

// The event that can't be copied is named, and once it is skipped the next run goes on without it.
func TestCopiedRebuildNamesTheEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(rangePositions)
	bad := b.poison()
	b.fill(rangePositions)
	p := copied(new(atomic.Int64))
	b.ensure(p)
	_, err := Rebuild(b.ctx, b.deps, p, Options{MergeEvery: 1_000})
	var failure *EventError
	if !errors.As(err, &failure) || failure.From != bad-1 || failure.To != bad {
		t.Fatalf("error %v, want one of event %d", err, bad)
	}
	b.must(`INSERT INTO annals.skipped_events (projection, version, position, reason, actor) VALUES ('copied', 1, $1, 'test', 'test')`, bad)
	result, err := Rebuild(b.ctx, b.deps, p, Options{MergeEvery: 1_000})
	if err != nil || !result.Resumed {
		t.Fatalf("result %+v, error %v", result, err)
	}
	b.checkCopies(bad)
}
