package pgtest

import (
	"testing"
	"time"
)

// Eventually polls a condition that must come true, for what no signal tells a test of: another process's state, or the
// server's own. The test fails at once after a minute, in which even a starved machine gets there.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
