package evidence

import (
	"context"
	"runtime"
)

// ordered works on what produce yields, on all processors, and consumes the results in the order of their jobs. At most a
// few jobs are under way. The first error ends it. consume runs on the caller's goroutine.
func ordered[J, R any](ctx context.Context, produce func(yield func(J) bool) error, work func(context.Context, J) (R, error), consume func(R) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type outcome struct {
		result R
		err    error
	}
	type task struct {
		job  J
		done chan outcome
	}
	workers := runtime.GOMAXPROCS(0)
	tasks, queue := make(chan task), make(chan task, 2*workers)
	produced := make(chan error, 1)
	finished := make(chan struct{}, workers)
	go func() {
		defer close(tasks)
		defer close(queue)
		produced <- produce(func(job J) bool {
			t := task{job, make(chan outcome, 1)}
			select {
			case queue <- t:
			case <-ctx.Done():
				return false
			}
			select {
			case tasks <- t:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	for range workers {
		go func() {
			for t := range tasks {
				result, err := work(ctx, t.job)
				t.done <- outcome{result, err}
			}
			finished <- struct{}{}
		}()
	}
	err := func() error {
		for t := range queue {
			select {
			case o := <-t.done:
				if o.err != nil {
					return o.err
				}
				if err := consume(o.result); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}()
	cancel()
	for range workers { // nobody touches what the caller owns once this returns
		<-finished
	}
	if produceErr := <-produced; err == nil {
		err = produceErr
	}
	return err
}
