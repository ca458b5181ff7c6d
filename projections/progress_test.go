package projections

import "testing"

// What was seen applied stays so: announcements that overtake one another, and looks at the table that are older than
// them, change the status and never lower the position.
func TestPositionsNeverFall(t *testing.T) {
	t.Parallel()
	p := newProgress()
	p.add("totals")
	for _, step := range []struct {
		position int64
		status   Status
		news     bool
		at       int64
	}{
		{5, StatusRunning, true, 5}, {5, StatusRunning, false, 5}, {3, StatusRunning, false, 5}, {3, StatusPaused, true, 5},
		{4, StatusRunning, true, 5}, {6, StatusRunning, true, 6},
	} {
		news := p.update("totals", step.position, step.status)
		if at, status, _, _ := p.look("totals"); news != step.news || at != step.at || status != step.status && news {
			t.Errorf("after %d, %s it stands at %d, %s (news: %v)", step.position, step.status, at, status, news)
		}
	}
	if p.update("unknown", 1, StatusRunning) {
		t.Error("a subscriber of another program was taken in")
	}
}
