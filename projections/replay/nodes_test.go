package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/errgroup"

	"annals/eventstore"
	"annals/projections"
)

// envelopeRow has all that a projector can see of an event.
type envelopeRow struct {
	Position int64           `db:"position,key"`
	Envelope json.RawMessage `db:"envelope"`
	Metadata json.RawMessage `db:"metadata"`
	Payload  string          `db:"payload"`
}

func envelopes() projections.Projector {
	return projections.MustJournal(projections.JournalConfig[envelopeRow]{
		Spec: projections.Spec{Name: "envelopes", Version: 1, Kind: projections.KindReadModel, DDL: `
			CREATE TABLE envelopes (position bigint PRIMARY KEY, envelope json NOT NULL, metadata json NOT NULL,
				payload text NOT NULL)`},
		Table: "envelopes",
		Row: func(e projections.Event) (envelopeRow, bool, error) {
			envelope, err := json.Marshal(e.Envelope)
			return envelopeRow{e.Position, envelope, e.Metadata, fmt.Sprintf("%+v", e.Payload)}, true, err
		},
	})
}

// TestNodesUnderLoad rebuilds a fold, a journal and one that is copied while two nodes with their own routers apply them and writers append.
// In the end the rows the nodes have left are, byte for byte, those of a replay, and no node has stopped.
func TestNodesUnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(5_000)
	projectors := []projections.Projector{sums(), envelopes(), copied(new(atomic.Int64))}
	news := eventstore.NewSignal(0)
	groups := make([]*projections.Group, 2)
	g, ctx := errgroup.WithContext(b.ctx)
	nodes, stopNodes := context.WithCancel(ctx)
	defer stopNodes()
	for _, p := range projectors {
		b.ensure(p)
	}
	for i := range groups {
		pool := sqlx.MustConnect("postgres", b.DSN)
		defer pool.Close()
		pool.SetMaxOpenConns(8)
		group, err := projections.New(projections.Config{
			DB: pool, Registry: b.deps.Registry, Logger: b.deps.Logger, PageSize: 300, Waker: news,
		}, projectors...)
		if err != nil {
			t.Fatal(err)
		}
		groups[i] = group
		g.Go(func() error {
			if err := group.Run(nodes); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}
	writers, stopWriters := context.WithCancel(ctx)
	defer stopWriters()
	for _, n := range []int{1, 41} {
		g.Go(func() error {
			for writers.Err() == nil {
				if err := fill(ctx, b.DB.DB, n); err != nil {
					return err
				}
				head, err := readHead(ctx, b.DB)
				if err != nil {
					return err
				}
				news.Announce(head)
			}
			return nil
		})
	}
	rounds := 3
	if testing.Short() { // the log grows as long as it takes
		rounds = 1
	}
	for range rounds {
		for _, p := range projectors {
			statuses := map[projections.Status]bool{}
			_, err := Rebuild(ctx, b.deps, p, Options{MergeEvery: 1_000, observe: func(signal) {
				states, err := groups[0].Status(ctx)
				if err != nil {
					t.Error(err)
				}
				for _, s := range states {
					if s.Name == p.Spec().Name {
						statuses[s.Status] = true
					}
				}
			}})
			if err != nil {
				t.Error(err)
			}
			if !statuses[projections.StatusRebuilding] || len(statuses) != 1 {
				t.Errorf("while %s was rebuilt its status was %v", p.Spec().Name, statuses)
			}
		}
	}
	stopWriters()
	head, err := readHead(ctx, b.DB)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		for _, p := range projectors {
			if err := group.WaitFor(ctx, p.Spec().Name, head); err != nil {
				t.Fatal(err)
			}
		}
		states, err := group.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			if s.Status != projections.StatusRunning || s.Failure != nil {
				t.Errorf("%s is %s: %+v", s.Name, s.Status, s.Failure)
			}
		}
	}
	stopNodes()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range projectors {
		b.equalsReplay(p)
	}
	b.checkCopies()
}
