package projections

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
)

// pageState is how far the handling of a page's transaction has come.
type pageState int

const (
	pageOpen   pageState = iota // nothing was applied
	pageBusy                    // a handler is at work
	pageDone                    // rows and checkpoint are written: the only state that commits
	pageFailed                  // something went wrong
	pageClosed                  // committed or rolled back
)

// pageTx is the transaction of one page as watermill-sql sees it. Whatever the library, a middleware or a shutdown does,
// the page is applied in it at most once, and it commits only once the page's rows and the checkpoint are all written.
//
// A page that is copied has no transaction beside its one statement, which writes rows and checkpoint or neither. Where that is
// still under way when the library is done with the page, it may take effect all the same: the next look starts from the checkpoint.
type pageTx struct {
	tx     *sql.Tx // nil: the page is copied by a statement that is a transaction by itself
	feed   *feed
	bounds bounds // written before the handler runs, or by found; read after it
	// expected is where a page that is copied ends, as far as is known before.
	expected int64

	mu       sync.Mutex
	state    pageState
	finished chan struct{} // closed when the handler that entered leaves
	to       int64         // the checkpoint written
	failure  *Failure      // the event that the checkpoint stopped before
	cause    error         // why it must not commit
}

var errNotApplied = errors.New("the page was not applied")

// enter reports whether the caller is to apply the page. A second caller waits for the first and is told no.
func (p *pageTx) enter(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case pageOpen:
		p.state, p.finished = pageBusy, make(chan struct{})
		return true
	case pageBusy:
		finished := p.finished
		p.mu.Unlock()
		select {
		case <-finished:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	return false
}

// leave ends what enter began. It gives the error with which the page wasn't applied.
func (p *pageTx) leave(to int64, failure *Failure, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.finished)
	if p.state != pageBusy { // closed meanwhile, and rolled back
		return errors.Join(errNotApplied, err)
	}
	if err != nil {
		p.state, p.cause = pageFailed, err
		return err
	}
	p.state, p.to, p.failure = pageDone, to, failure
	return nil
}

// found notes what copying a page has found.
func (p *pageTx) found(b bounds) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bounds = b
}

// broken notes an error that keeps the transaction from committing, and gives it back.
func (p *pageTx) broken(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == pageOpen {
		p.state, p.cause = pageFailed, err
	}
	return err
}

// outcome is nil when the page was applied.
func (p *pageTx) outcome() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == pageDone:
		return nil
	case p.cause != nil:
		return p.cause
	default:
		return errNotApplied
	}
}

// ExecContext implements wsql.Tx. The only statement the library sends is its own acknowledgement, which is swallowed: the
// checkpoint is written already. Projectors write through the underlying transaction.
func (p *pageTx) ExecContext(context.Context, string, ...any) (wsql.Result, error) {
	return swallowed{}, nil
}

type swallowed struct{}

// RowsAffected implements wsql.Result.
func (swallowed) RowsAffected() (int64, error) { return 0, nil }

// QueryContext implements wsql.Tx: the library reads the page.
func (p *pageTx) QueryContext(ctx context.Context, query string, args ...any) (wsql.Rows, error) {
	if p.tx == nil {
		return &copyOrder{from: p.bounds.from}, nil
	}
	rows, err := p.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, p.broken(err)
	}
	return &trackedRows{Rows: rows, tx: p}, nil
}

// trackedRows are rows whose error isn't lost: the library doesn't ask for it.
type trackedRows struct {
	*sql.Rows
	tx *pageTx
}

// Next implements wsql.Rows.
func (r *trackedRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	if err := r.Rows.Err(); err != nil {
		_ = r.tx.broken(err)
	}
	return false
}

// Commit implements wsql.Tx: it commits a transaction that is done and rolls back any other.
func (p *pageTx) Commit() error {
	p.mu.Lock()
	state, cause, bounds := p.state, p.cause, p.bounds
	p.state = pageClosed
	p.mu.Unlock()
	if p.feed.group.cfg.looked != nil {
		defer p.feed.group.cfg.looked(p.feed.spec.Name)
	}
	if state != pageDone {
		_ = p.rollback() // its failure changes nothing: the connection is dropped and the server rolls back
		if state == pageBusy {
			cause = context.Canceled
		}
		p.feed.rolledBack(bounds, cause)
		return nil
	}
	if p.tx == nil && bounds.to <= bounds.from { // there was nothing to copy
		p.feed.rolledBack(bounds, nil)
		return nil
	}
	if err := p.commit(); err != nil {
		// Whether it took effect is seen at the next page, which starts from the checkpoint.
		p.feed.rolledBack(bounds, err)
		return err
	}
	p.feed.committed(bounds, p.to, p.failure)
	return nil
}

// Rollback implements wsql.Tx.
func (p *pageTx) Rollback() error {
	p.mu.Lock()
	cause, bounds := p.cause, p.bounds
	p.state = pageClosed
	p.mu.Unlock()
	err := p.rollback()
	p.feed.rolledBack(bounds, cause)
	return err
}

func (p *pageTx) commit() error {
	if p.tx == nil {
		return nil
	}
	return p.tx.Commit()
}

func (p *pageTx) rollback() error {
	if p.tx == nil {
		return nil
	}
	return p.tx.Rollback()
}
