package replay

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"annals/projections"
)

// applier is what a pass over the log drives: a projections.Build, or a projector page by page.
type applier interface {
	Add(ctx context.Context, tx projections.Tx, page projections.Page) error
	Merge(ctx context.Context, tx projections.Tx) error
}

// byPage applies as the live projector does.
type byPage struct{ projections.Projector }

func (p byPage) Add(ctx context.Context, tx projections.Tx, page projections.Page) error {
	return p.Apply(ctx, tx, page)
}

func (p byPage) Merge(context.Context, projections.Tx) error { return nil }

func (b *builder) bulk() applier {
	if p, ok := b.projector.(projections.Bulk); ok {
		return p.NewBuild()
	}
	return byPage{b.projector}
}

// pass is one run through a part of the log, in transactions of about Options.MergeEvery events.
type pass struct {
	*builder
	phase  Phase
	into   applier
	tx     *sql.Tx
	skips  []int64 // after the state's position
	at     int64
	events int
	bytes  int
}

func (p *pass) run(ctx context.Context) error {
	if c := projections.CopyOf(p.projector); c != nil {
		return p.copy(ctx, c)
	}
	return p.log.stream(ctx, p.db, p.opts.Workers, p.state.position, p.builder.target,
		func(c chunk) error { return p.apply(ctx, c) })
}

// copyTime is about how long a statement that copies takes: that is how often a build can be ended, rests, and says where it is.
const copyTime = 50 * time.Millisecond

// copy has the rows copied within the database, in ranges of as many positions as take copyTime: events may be large.
func (p *pass) copy(ctx context.Context, from *projections.Copy) error {
	positions := int64(chunkEvents)
	for at := p.state.position; at < p.builder.target; {
		began := time.Now()
		if err := p.begin(ctx); err != nil {
			return err
		}
		to := min(at+positions, p.builder.target)
		rows, err := from.Rows(ctx, p.target(), at, to, p.skips)
		if err != nil {
			return eventFailure(at, to, err)
		}
		took := time.Since(began)
		if err := p.passed(ctx, to, int(rows), 0); err != nil {
			return err
		}
		at, positions = to, nextRange(positions, took)
		if p.log.rests {
			rest(ctx, took)
		}
	}
	return nil
}

// nextRange is how many positions the next statement copies, after one that took so long for its.
func nextRange(positions int64, took time.Duration) int64 {
	switch {
	case took > copyTime:
		return max(positions/2, 1)
	case took < copyTime/2:
		return min(2*positions, 4*rangePositions)
	}
	return positions
}

func (p *pass) apply(ctx context.Context, c chunk) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	page, err := admit(c, p.skips)
	if err != nil {
		return err
	}
	if err := guard(func() error { return p.into.Add(ctx, p.target(), page) }); err != nil {
		return eventFailure(p.state.position, c.To, err) // it may have written rows of the pages before
	}
	return p.passed(ctx, c.To, len(page.Events), c.bytes)
}

// passed notes that the log up to a position was applied: so many events, which take so many bytes until they are merged.
func (p *pass) passed(ctx context.Context, to int64, events, bytes int) error {
	p.at, p.events, p.bytes = to, p.events+events, p.bytes+bytes
	p.tracker.at(time.Now(), p.phase, p.at, max(p.builder.target, p.at))
	// Positions count too: a projection that wants few events must not begin anew after a crash.
	if p.events >= p.opts.MergeEvery || p.bytes >= mergeBytes || p.at-p.state.position >= 10*int64(p.opts.MergeEvery) {
		return p.commit(ctx)
	}
	return nil
}

func (p *pass) target() projections.Tx {
	return projections.Tx{Executor: projections.ConnTx{Tx: p.tx, Conn: p.session.conn}, Schema: p.spec.BuildSchema()}
}

// begin begins the next merge, unless one is under way.
func (p *pass) begin(ctx context.Context) (err error) {
	if p.tx != nil {
		return nil
	}
	p.at, p.events, p.bytes = p.state.position, 0, 0
	if p.tx, err = p.session.conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err != nil {
		return fmt.Errorf("begin a merge: %w", err)
	}
	p.skips, err = readSkips(ctx, p.tx, p.spec, p.state.position, p.builder.target)
	return err
}

// commit merges the rows and the build's position in one transaction.
func (p *pass) commit(ctx context.Context) error {
	if p.tx == nil {
		return nil
	}
	if err := guard(func() error { return p.into.Merge(ctx, p.target()) }); err != nil {
		return eventFailure(p.state.position, p.at, err)
	}
	next := p.state.through(p.at, p.skips)
	if err := p.save(ctx, p.tx, next); err != nil {
		return err
	}
	tx := p.tx
	p.tx = nil
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit a merge: %w", err)
	}
	p.state = next
	p.result.Events += int64(p.events)
	p.opts.observe(signalMerged)
	return nil
}

func (p *pass) rollback() {
	if p.tx != nil {
		_ = p.tx.Rollback() // the error that led here is the one to tell
		p.tx = nil
	}
}

// through is the state after the events up to a position, of which skips were left out.
func (st state) through(position int64, skips []int64) state {
	st.position = position
	st.skipped = slices.Clone(st.skipped)
	for _, s := range skips {
		if s <= position {
			st.skipped = append(st.skipped, s)
		}
	}
	return st
}

// admit leaves out what an operator skipped and refuses what couldn't be decoded.
func admit(c chunk, skips []int64) (projections.Page, error) {
	if len(skips) > 0 {
		c.Events = slices.DeleteFunc(c.Events, func(e projections.Event) bool {
			_, skipped := slices.BinarySearch(skips, e.Position)
			return skipped
		})
	}
	if len(c.undecodable) > 0 {
		for _, e := range c.Events {
			if err, bad := c.undecodable[e.Position]; bad {
				return projections.Page{}, &EventError{From: e.Position - 1, To: e.Position, Err: err}
			}
		}
	}
	return c.Page, nil
}
