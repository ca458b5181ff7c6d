package main

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"annals/domain"
	"annals/eventstore"
)

// measuredCommands times commands by name and outcome.
type measuredCommands struct {
	eventstore.Runner
	duration *prometheus.HistogramVec

	mu    sync.Mutex // of those who add to known
	known atomic.Pointer[map[string]outcomeTimers]
}

// outcomeTimers are a command's observers by outcome.
type outcomeTimers [5]prometheus.Observer

// Outcomes of commands, in the order of outcomeTimers.
const (
	outcomeAppended = iota
	outcomeUnchanged
	outcomeRefused
	outcomeReplayed
	outcomeFailed
)

var outcomeNames = [...]string{"appended", "unchanged", "refused", "replayed", "failed"}

func newMeasuredCommands(runner eventstore.Runner) *measuredCommands {
	return &measuredCommands{Runner: runner, duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "annals_command_duration_seconds",
		Help: "Time to decide and append a command, by what it is and how it ended.",
		Buckets: []float64{
			.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20,
		},
	}, []string{"command", "outcome"})}
}

// Run implements eventstore.Runner.
func (m *measuredCommands) Run(
	ctx context.Context, cmd eventstore.Command, useCase func(ctx context.Context, u *domain.UnitOfWork) error,
) (eventstore.CommandResult, error) {
	start := time.Now()
	result, err := m.Runner.Run(ctx, cmd, useCase)
	m.timers(cmd.Name)[outcomeOf(result, err)].Observe(time.Since(start).Seconds())
	return result, err
}

func outcomeOf(result eventstore.CommandResult, err error) int {
	switch {
	case err != nil && domain.CodeOf(err) == "":
		return outcomeFailed
	case err != nil:
		return outcomeRefused
	case result.Replayed:
		return outcomeReplayed
	case len(result.Events) == 0:
		return outcomeUnchanged
	default:
		return outcomeAppended
	}
}

// timers gives a command's observers. Names are the program's, never a caller's: there are few of them.
func (m *measuredCommands) timers(name string) outcomeTimers {
	if name == "" {
		name = "other"
	}
	if known := m.known.Load(); known != nil {
		if t, ok := (*known)[name]; ok {
			return t
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := make(map[string]outcomeTimers)
	if known := m.known.Load(); known != nil {
		maps.Copy(next, *known)
	}
	var t outcomeTimers
	for i, outcome := range outcomeNames {
		t[i] = m.duration.WithLabelValues(name, outcome)
	}
	next[name] = t
	m.known.Store(&next)
	return t
}
