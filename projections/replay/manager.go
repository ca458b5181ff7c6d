package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"annals/projections"
)

// Manager runs rebuilds in the background of a server, one at a time per projection. Nothing of it survives the process,
// except that an interrupted build resumes when it is started again.
type Manager struct {
	// OnSwitched, unless nil, is called after a rebuild went live, with who asked for it. It is set before the first Start.
	OnSwitched func(ctx context.Context, result Result, actor string)

	ctx        context.Context // the server's: rebuilds outlive the requests that start them
	deps       Deps
	opts       Options
	projectors map[string]projections.Projector

	mu      sync.Mutex
	running map[string]Progress
	ended   map[string]Outcome
	wait    sync.WaitGroup
}

// Outcome is how the last rebuild of a projection in this process ended.
type Outcome struct {
	Result Result
	Err    error
	At     time.Time
}

// NewManager makes a manager of the projectors given. Its rebuilds stop with ctx. Of opts, Progress is called for every
// rebuild, from several goroutines.
func NewManager(ctx context.Context, deps Deps, projectors []projections.Projector, opts Options) *Manager {
	m := &Manager{
		ctx: ctx, deps: deps, opts: opts,
		projectors: make(map[string]projections.Projector, len(projectors)),
		running:    make(map[string]Progress),
		ended:      make(map[string]Outcome),
	}
	for _, p := range projectors {
		m.projectors[p.Spec().Name] = p
	}
	return m
}

// Start begins a rebuild and returns once the projection's status tells of it, or ctx ends. It fails with
// ErrUnknownProjection, with ErrNotReadModel, with ErrAlreadyBuilding while this or another process rebuilds the
// projection, and with ErrManagerClosed. ctx is the caller's, for the start alone; actor is who asked for it.
func (m *Manager) Start(ctx context.Context, name, actor string) error {
	projector, ok := m.projectors[name]
	if !ok {
		return fmt.Errorf("%s: %w", name, ErrUnknownProjection)
	}
	if err := m.claim(name, projector.Spec()); err != nil {
		return err
	}
	opts := m.opts
	opts.Progress = func(p Progress) { m.note(name, p) }
	b, err := begin(ctx, m.deps, projector, opts)
	if err != nil {
		m.release(name)
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer m.release(name)
		result, err := b.finish(m.ctx)
		if err == nil && result.Switched && m.OnSwitched != nil {
			m.OnSwitched(context.WithoutCancel(m.ctx), result, actor)
		}
		m.end(name, Outcome{Result: result, Err: err, At: time.Now()})
		switch {
		case err == nil:
			b.logger.Info("rebuild done", "position", result.Position, "seconds", result.Seconds)
		case errors.Is(err, context.Canceled):
			b.logger.Info("rebuild stopped; it resumes when it is started again")
		default:
			b.logger.Error("rebuild failed; the old tables stay in use", "error", err)
		}
	}()
	select {
	case <-b.shown:
	case <-ended:
	case <-ctx.Done():
	}
	return nil
}

func (m *Manager) claim(name string, spec projections.Spec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return ErrManagerClosed
	}
	if _, running := m.running[name]; running {
		return fmt.Errorf("%s: %w", name, ErrAlreadyBuilding)
	}
	m.running[name] = Progress{Name: name, Version: spec.Version, Phase: PhaseBuild}
	m.wait.Add(1)
	return nil
}

func (m *Manager) release(name string) {
	m.mu.Lock()
	delete(m.running, name)
	m.mu.Unlock()
	m.wait.Done()
}

func (m *Manager) note(name string, p Progress) {
	m.mu.Lock()
	m.running[name] = p
	m.mu.Unlock()
	if m.opts.Progress != nil {
		m.opts.Progress(p)
	}
}

func (m *Manager) end(name string, o Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[name] = o
}

// Progress tells where the rebuilds are that run in this process, ordered by name, for metrics.
func (m *Manager) Progress() []Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Progress, 0, len(m.running))
	for _, p := range m.running {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Progress) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Last gives how the last rebuild of a projection ended that this process ran.
func (m *Manager) Last(name string) (Outcome, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.ended[name]
	return o, ok
}

// Wait returns when no rebuild runs any more. Before it, end the manager's context.
func (m *Manager) Wait() { m.wait.Wait() }
