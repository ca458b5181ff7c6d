package rest

import (
	"net/http/httptest"
	"testing"
	"time"
)

// Retry-After counts whole seconds: whoever waits as long as it says mustn't come too early.
func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		0: "", time.Nanosecond: "1", time.Second: "1", time.Second + time.Millisecond: "2", 2500 * time.Millisecond: "3",
	} {
		p := newProblem("too-many-requests", "")
		p.retryAfter = wait
		w := httptest.NewRecorder()
		p.writeTo(w, false)
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("after %v: %q, want %q", wait, got, want)
		}
	}
}
