package projections

import "context"

// Waker says how far the log reaches, as far as this process has heard: *eventstore.Signal. It makes delivery prompt;
// correctness never depends on it, because every subscriber also looks by itself at intervals.
type Waker interface {
	// Head is the highest position the process has heard of; 0 when it has heard of none.
	Head() int64
	// WaitTypes returns once an event after the position may be of one of the types, or of any where types is empty; when ctx
	// ends; or early, when announcements may have been missed.
	WaitTypes(ctx context.Context, after int64, types []string) (head int64, err error)
}
