// Package replay rebuilds read models from the log, beside the live ones: into tables of a build schema, while servers
// go on applying and serving the old tables, and then switches in one transaction. A rebuild that ends early, however it
// ends, leaves the old tables in use and resumes where it was.
package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/projections"
)

// Deps is what a rebuild works with.
type Deps struct {
	// DB is a pool for Options.Workers + 1 connections; of a smaller one fewer readers are used, and of one connection
	// none can work. Its role owns the read models' schemas. PgBouncer only in session mode: a lock belongs to a session.
	DB       *sql.DB
	Registry *domain.Registry
	Logger   *slog.Logger // nil: slog.Default
}

// Options bound and direct a rebuild. The zero value rebuilds to the head of the log and switches.
type Options struct {
	// Workers is how many readers fetch and decode in parallel; 0: one per processor, at most 4.
	Workers int
	// Gentle has one reader, whatever Workers says, that rests after each chunk for as long as it took: for a log whose
	// server mustn't be much slower meanwhile. The rebuild takes longer.
	Gentle bool
	// Until, when above 0, builds the rows as they were after the event of that position, compares them with the live
	// ones and doesn't switch. The build schema is kept for looking into, until the next rebuild, which goes on from it.
	Until int64
	// DryRun builds to the live checkpoint, compares and doesn't switch. Nothing is kept.
	DryRun bool
	// Progress is called on the rebuild's goroutine, at least once per phase and at most about ten times a second.
	Progress func(Progress)
	// MergeEvery is after how many events the rows and the build's position are committed; 0: 100,000.
	MergeEvery int
	// MaxDifferences is how many differences a comparison lists; 0: 100. All are counted.
	MaxDifferences int

	observe func(signal) // for tests: told on the rebuild's goroutine
}

// signal is a moment that tests wait for.
type signal string

const (
	signalMerged  signal = "merged"  // a merge has been committed
	signalSwitch  signal = "switch"  // the build has caught up; the first attempt to switch comes next
	signalRefused signal = "refused" // an attempt to switch gave up waiting for a lock
)

// Result is what a rebuild did.
type Result struct {
	Name     string  `json:"name"`
	Version  int     `json:"version"`
	Resumed  bool    `json:"resumed"`  // an earlier run's rows were used
	Switched bool    `json:"switched"` // the rebuilt tables are live
	Position int64   `json:"position"` // of the rebuilt rows
	Events   int64   `json:"events"`   // applied by this run
	Seconds  float64 `json:"seconds"`
	// Comparison is set by DryRun and Until.
	Comparison *Comparison `json:"comparison,omitempty"`
}

const (
	defaultMergeEvery     = 100_000
	defaultMaxDifferences = 100
	maxDefaultWorkers     = 4
	// mergeBytes bounds what a build keeps between merges when events are large.
	mergeBytes = 64 << 20
)

func (o Options) withDefaults(db *sql.DB) Options {
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), maxDefaultWorkers)
	}
	if o.Gentle {
		o.Workers = 1
	}
	if limit := db.Stats().MaxOpenConnections; limit > 0 {
		o.Workers = max(1, min(o.Workers, limit-1))
	}
	if o.MergeEvery <= 0 {
		o.MergeEvery = defaultMergeEvery
	}
	if o.MaxDifferences <= 0 {
		o.MaxDifferences = defaultMaxDifferences
	}
	if o.observe == nil {
		o.observe = func(signal) {}
	}
	return o
}

// Rebuild makes a read model's rows anew from the log and, unless the options say otherwise, puts them in the place of the
// live ones. It fails with ErrAlreadyBuilding while another process does so, with ErrNotReadModel for anything that has
// no rows, and with an *EventError when the projector fails. When ctx ends, the old tables stay in use and the build can
// be resumed by calling Rebuild again.
//
// The switch doesn't depend on the live projector: of a failed one the failure is cleared, since the rebuild has applied
// the event it stopped at (or fails itself); a paused one stays paused, with rows up to the switch.
func Rebuild(ctx context.Context, deps Deps, projector projections.Projector, opts Options) (Result, error) {
	b, err := begin(ctx, deps, projector, opts)
	if err != nil {
		return Result{}, err
	}
	return b.finish(ctx)
}

// RebuildAll rebuilds one read model after the other. A failure doesn't keep the others from being rebuilt, the end of
// ctx does. It gives the results of those that succeeded and the joined errors of the others.
func RebuildAll(ctx context.Context, deps Deps, projectors []projections.Projector, opts Options) ([]Result, error) {
	var results []Result
	var failures []error
	for _, p := range projectors {
		result, err := Rebuild(ctx, deps, p, opts)
		if err != nil {
			failures = append(failures, err)
		} else {
			results = append(results, result)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return results, errors.Join(failures...)
}

// builder is one run of a rebuild. It is used by one goroutine.
type builder struct {
	db        *sql.DB
	spec      projections.Spec
	projector projections.Projector
	opts      Options
	session   *session
	registry  *domain.Registry
	log       log
	logger    *slog.Logger
	tracker   *tracker
	started   time.Time
	shown     chan struct{} // closed once the build is recorded, so that the projection's status tells of it

	state  state
	target int64
	result Result
}

// begin takes the lock of the projection's version.
func begin(ctx context.Context, deps Deps, projector projections.Projector, opts Options) (*builder, error) {
	spec := projector.Spec()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.Kind != projections.KindReadModel {
		return nil, fmt.Errorf("%s: %w", spec.Name, ErrNotReadModel)
	}
	s, err := openSession(ctx, deps.DB, spec)
	if err != nil {
		return nil, fmt.Errorf("rebuild %s: %w", spec.Name, err)
	}
	logger := deps.Logger
	if logger == nil {
		logger = slog.Default()
	}
	return &builder{
		db: deps.DB, spec: spec, projector: projector, opts: opts.withDefaults(deps.DB), session: s,
		registry: deps.Registry,
		log:      log{decoder: projections.NewDecoder(deps.Registry), spec: spec, rests: opts.Gentle},
		logger:   logger.With("projection", spec.Name, "version", spec.Version),
		tracker:  newTracker(spec.Name, spec.Version, opts.Progress),
		started:  time.Now(),
		shown:    make(chan struct{}),
		result:   Result{Name: spec.Name, Version: spec.Version},
	}, nil
}

// finish runs the build and gives the lock back.
func (b *builder) finish(ctx context.Context) (Result, error) {
	err := b.run(ctx)
	if closing := b.session.close(); closing != nil {
		b.logger.Warn("the build's session was not closed in order", "error", closing)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return Result{}, fmt.Errorf("rebuild %s: %w", b.spec.Name, err)
	}
	b.result.Seconds = time.Since(b.started).Seconds()
	b.report(PhaseDone)
	return b.result, nil
}

func (b *builder) run(ctx context.Context) error {
	if err := b.dropTrash(ctx); err != nil && !lockRefused(err) {
		return err
	}
	if !b.compares() {
		// A version that has never run gets its empty tables and checkpoint, as when a server starts with it.
		if err := projections.EnsureSchemas(ctx, sqlx.NewDb(b.db, "postgres"), b.spec); err != nil {
			return err
		}
	}
	if err := b.resume(ctx); err != nil {
		return err
	}
	close(b.shown)
	for {
		err := b.attempt(ctx)
		if !errors.Is(err, errSkipsChanged) {
			return err
		}
		b.logger.Info("an event was skipped that the build had applied: starting over")
		if err := b.startOver(ctx); err != nil {
			return err
		}
	}
}

func (b *builder) attempt(ctx context.Context) error {
	if !b.state.indexed {
		if err := b.advance(ctx, PhaseBuild, b.bulk()); err != nil {
			return err
		}
		if err := b.index(ctx); err != nil {
			return err
		}
	}
	if err := b.advance(ctx, PhaseCatchUp, byPage{b.projector}); err != nil {
		return err
	}
	if b.compares() {
		return b.compare(ctx)
	}
	return b.switchOver(ctx)
}

// compares reports whether the run only compares and never switches.
func (b *builder) compares() bool { return b.opts.DryRun || b.opts.Until > 0 }

func (b *builder) report(phase Phase) {
	b.tracker.at(time.Now(), phase, b.state.position, max(b.target, b.state.position))
}
