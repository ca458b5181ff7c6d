package eventstore

import (
	"sync"
	"testing"

	"annals/eventstore/pgtest"
)

func TestAppendsAreDenseUnderConcurrency(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	const callers, each = 64, 20
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			stream := freshID()
			for v := range int64(each) {
				if _, err := s.Append(t.Context(), onStream(stream, v, 1)); err != nil {
					t.Error(describe(err))
					return
				}
			}
		})
	}
	wg.Wait()
	checkDense(t, db, callers*each)
}
