// Package progress shows on a terminal, or in plain lines, how far rebuilds are.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"annals/projections/replay"
)

// lineInterval is how often a line is written at most while a phase lasts, where there is no terminal.
const lineInterval = 5 * time.Second

// steps is the resolution of the bar: per mille.
const steps = 1000

// Renderer draws the progress of one rebuild after the other. It is for one goroutine, like replay.Options.Progress.
type Renderer struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	bar     *progressbar.ProgressBar
	current replay.Progress
	told    time.Time
}

// New makes a renderer: a bar when out is a terminal, else plain lines.
func New(out io.Writer) *Renderer {
	return &Renderer{out: out, terminal: IsTerminal(out), now: time.Now}
}

// IsTerminal reports whether somebody may be looking: a bar is for them alone.
func IsTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Update shows where a rebuild is. It fits replay.Options.Progress. What can't be written isn't worth ending a rebuild
// for, so that errors of the writer are left alone.
func (r *Renderer) Update(p replay.Progress) {
	changed := p.Name != r.current.Name || p.Version != r.current.Version || p.Phase != r.current.Phase
	if r.terminal {
		r.draw(p)
	} else if now := r.now(); changed || now.Sub(r.told) >= lineInterval {
		r.told = now
		fmt.Fprintln(r.out, line(p))
	}
	r.current = p
}

// Close ends a bar that was interrupted, so that what follows begins on a line of its own.
func (r *Renderer) Close() {
	if r.bar != nil {
		_ = r.bar.Exit()
		r.bar = nil
	}
}

func (r *Renderer) draw(p replay.Progress) {
	if r.bar == nil {
		r.bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(r.out), progressbar.OptionSetWidth(30),
			progressbar.OptionUseANSICodes(true), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionShowDescriptionAtLineEnd(),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(r.out) }))
	}
	r.bar.Describe(line(p))
	if p.Phase == replay.PhaseDone {
		_ = r.bar.Set(steps)
		r.bar = nil
		return
	}
	// The last step is for the end alone: the log may still grow.
	_ = r.bar.Set(min(steps-1, int(fraction(p)*steps)))
}

func fraction(p replay.Progress) float64 {
	if p.Head <= 0 {
		return 0
	}
	return float64(p.Position) / float64(p.Head)
}

// line tells a progress in words.
func line(p replay.Progress) string {
	s := fmt.Sprintf("%s v%d %s: %d of %d", p.Name, p.Version, p.Phase, p.Position, p.Head)
	if p.EventsPerSecond > 0 {
		s += fmt.Sprintf(", %s events/s", rate(p.EventsPerSecond))
	}
	if p.ETA > 0 {
		s += ", ETA " + p.ETA.Round(time.Second).String()
	}
	return s
}

func rate(perSecond float64) string {
	switch {
	case perSecond >= 1e6:
		return fmt.Sprintf("%.1fM", perSecond/1e6)
	case perSecond >= 1e3:
		return fmt.Sprintf("%.0fk", perSecond/1e3)
	default:
		return fmt.Sprintf("%.0f", perSecond)
	}
}
