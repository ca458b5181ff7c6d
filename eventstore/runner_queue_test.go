package eventstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestQueueIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueues[string]()
		ctx, cancel := context.WithCancel(t.Context())
		if err := q.join(ctx, "a", ""); err != nil {
			t.Fatal(err)
		}
		var order []int
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				waiting := ctx
				if i != 2 {
					waiting = context.WithoutCancel(ctx)
				}
				err := q.join(waiting, "a", "")
				if i == 2 {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
					return
				}
				order = append(order, i)
				q.leave("a")
			})
			synctest.Wait() // until it stands in line
		}
		if err := q.join(ctx, "b", ""); err != nil { // another line
			t.Fatal(err)
		}
		if err := q.join(ctx, "a", "tag"); err != errOtherTag {
			t.Errorf("got %v, want errOtherTag", err)
		}
		cancel()
		synctest.Wait()
		if !q.busy("a") || !q.busy("b") || q.busy("c") {
			t.Error("busy is wrong")
		}
		q.leave("a")
		q.leave("b")
		all.Wait()
		if len(order) != 4 || order[0] != 0 || order[1] != 1 || order[2] != 3 || order[3] != 4 {
			t.Errorf("order %v", order)
		}
		if q.size() != 0 {
			t.Errorf("%d lines are left", q.size())
		}
	})
}
