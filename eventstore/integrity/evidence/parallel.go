package evidence

import (
	"context"
	"runtime"
)

// outcome is what came of a job.
type outcome[R any] struct {
	result R
	err    error
}

// task is a job on its way; done has room for its outcome.
type task[J, R any] struct {
	job  J
	done chan outcome[R]
}

// ordered works on what produce yields, on all processors, and consumes the results in the order of their jobs. At most a
// few jobs are under way. The first error ends it. consume runs on the caller's goroutine.
func ordered[J, R any](ctx context.Context, produce func(yield func(J) bool) error, work func(context.Context, J) (R, error), consume func(R) error) error {
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0)
	tasks, queue := make(chan task[J, R]), make(chan task[J, R], 2*workers)
	produced := make(chan error, 1)
	finished := make(chan struct{}, workers)
	go func() {
		defer close(tasks)
		defer close(queue)
		produced <- produce(func(job J) bool {
			t := task[J, R]{job, make(chan outcome[R], 1)}
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
				t.done <- outcome[R]{result, err}
			}
			finished <- struct{}{}
		}()
	}
	err := consumeAll(ctx, queue, consume)
	cancel()
	for range workers { // nobody touches what the caller owns once this returns
		<-finished
	}
	if produceErr := <-produced; err == nil {
		err = produceErr
	}
	return err
}

// consumeAll consumes the results of tasks in their order.
func consumeAll[J, R any](ctx context.Context, queue <-chan task[J, R], consume func(R) error) error {
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
}
