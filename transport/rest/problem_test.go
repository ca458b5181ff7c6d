package rest

import (
	"net/http/httptest"
	"testing"
	"time"
)

// What was said of an answer that came to nothing isn't said of the problem.
func TestProblemTakesBackWhatWasSaid(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	h := w.Header()
	setETag(h, 3)
	h.Set("Location", "/v1/carts/x")
	h.Set(headerReplayed, "true")
	h.Set("Cache-Control", "public, max-age=3600")
	newProblem("unavailable", "").writeTo(w, false)
	for _, name := range []string{headerETag, "Location", headerReplayed} {
		if h[name] != nil {
			t.Errorf("%s: %q", name, h[name])
		}
	}
	if got := h.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
}

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
