package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"annals/domain"
	"annals/eventstore"
)

// Config is what a group of subscribers needs. Zero durations and sizes take the defaults named.
type Config struct {
	// DB is the subscribers' pool (8 connections), whose sessions have the role annals_app and binary_parameters=yes.
	DB *sqlx.DB
	// Policies is the pool for leases and pages of policies and timers, which hold no transaction. Nil: DB.
	Policies *sqlx.DB
	// Registry decodes events.
	Registry *domain.Registry
	// Waker says that the log has grown. Nil: subscribers look every Poll.
	Waker Waker
	// Tail has what this process has appended last. Nil: every page is read from the log.
	Tail Tail
	// ListenDSN is where to listen for the progress of other nodes, over a connection of its own. Empty: their checkpoints
	// are polled, every 100 ms while somebody waits for one.
	ListenDSN string
	// Logger is where the subscribers log. Nil: slog.Default.
	Logger *slog.Logger
	// Metrics registers the durations of pages and the subscribers' positions. Nil: none.
	Metrics prometheus.Registerer
	// Middleware wraps every page's handling, such as tracing. Whether it fails, sleeps or calls its handler twice, a page
	// takes effect once.
	Middleware []message.HandlerMiddleware
	// Audit is called by an operation before it takes effect, which it doesn't when Audit fails. Nil: no audit.
	Audit func(context.Context, Operation) error
	// Tracer records a span per page, with links to the traces that wrote its events. Nil: none.
	Tracer trace.Tracer

	PageSize     int           // events a page; 2,000
	SyncLag      int64         // positions behind which an answer doesn't wait for a synchronous subscriber; 10,000
	Poll         time.Duration // how often an idle subscriber looks by itself; 1 s
	LoadPause    time.Duration // of an asynchronous subscriber after a page, per 1,000 events a second; 20 ms, 5 times at most
	StandbyPause time.Duration // of a subscriber that another node works for, or that isn't to run; 500 ms
	RetryPause   time.Duration // before an event that failed is tried again, doubled each time up to 256 times; 1 s
	ErrorPause   time.Duration // before going on after the database failed, doubled each time up to 64 times; 100 ms
	Lease        time.Duration // after which another node takes over a policy whose node is silent; 3 s

	// For tests: outer wraps everything, looked is called after every look at the log, tailed for a page from the tail.
	outer  []message.HandlerMiddleware
	looked func(subscriber string)
	tailed func(subscriber string)
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.Poll, time.Second}, {&c.LoadPause, 20 * time.Millisecond}, {&c.StandbyPause, 500 * time.Millisecond},
		{&c.RetryPause, time.Second}, {&c.ErrorPause, 100 * time.Millisecond}, {&c.Lease, 3 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if c.PageSize <= 0 {
		c.PageSize = 2000
	}
	if c.SyncLag <= 0 {
		c.SyncLag = 10_000
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Policies == nil {
		c.Policies = c.DB
	}
	if c.Waker == nil {
		c.Waker = eventstore.NewSignal(0)
	}
}

// Group runs the subscribers of one process. Several processes may run the same subscribers on one database: each page
// is applied by one of them.
type Group struct {
	cfg      Config
	decoder  *Decoder
	feeds    []*feed
	timers   []*timer
	versions map[string]int
	progress *progress
	node     string        // names this process in leases
	soon     chan struct{} // makes watch look; capacity 1
	ended    chan struct{} // closed when the group is to stop

	mu      sync.Mutex
	running bool
	stop    context.CancelFunc
	stopped chan struct{}
}

// New makes a group of read models and the sealer. Policies and timers are added to it before Run.
func New(cfg Config, projectors ...Projector) (*Group, error) {
	if cfg.DB == nil || cfg.Registry == nil {
		return nil, errors.New("projections: a database and a registry are needed")
	}
	cfg.setDefaults()
	g := &Group{
		cfg: cfg, decoder: NewDecoder(cfg.Registry), node: watermill.NewUUID(),
		soon: make(chan struct{}, 1), stopped: make(chan struct{}), ended: make(chan struct{}),
		versions: make(map[string]int), progress: newProgress(),
	}
	for _, p := range projectors {
		spec := p.Spec()
		if spec.Kind == KindPolicy {
			return nil, fmt.Errorf("projection %s: a policy is no projector", spec.Name)
		}
		if err := g.add(&feed{spec: spec, projector: p}); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Group) add(f *feed) error {
	if err := g.register(f.spec); err != nil {
		return err
	}
	for _, t := range f.spec.EventTypes {
		if _, ok := g.cfg.Registry.EventDefinition(t); !ok {
			return fmt.Errorf("projection %s: %w: %s", f.spec.Name, domain.ErrUnknownEvent, t)
		}
	}
	if f.spec.EventTypes != nil {
		f.wanted = make(map[string]bool, len(f.spec.EventTypes))
		for _, t := range f.spec.EventTypes {
			f.wanted[t] = true
		}
	}
	f.group, f.pageSize = g, g.cfg.PageSize
	if f.query = livePage(f.spec); f.policy != nil {
		f.query = policyPage(f.spec)
	}
	if c := CopyOf(f.projector); c != nil && g.cfg.Tracer == nil {
		f.copy = c.page()
	}
	f.log = g.cfg.Logger.With("subscriber", f.spec.Name, "version", f.spec.Version)
	g.feeds = append(g.feeds, f)
	return nil
}

// register takes a subscriber's name.
func (g *Group) register(spec Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	if _, dup := g.versions[spec.Name]; dup {
		return fmt.Errorf("projection %s is registered twice", spec.Name)
	}
	g.versions[spec.Name] = spec.Version
	g.progress.add(spec.Name)
	return nil
}

// Specs lists the subscribers in the order in which they were added, timers last.
func (g *Group) Specs() []Spec {
	specs := make([]Spec, 0, len(g.feeds)+len(g.timers))
	for _, f := range g.feeds {
		specs = append(specs, f.spec)
	}
	for _, t := range g.timers {
		specs = append(specs, t.spec)
	}
	return specs
}

// Readers lists the subscribers that read events: all but timers.
func (g *Group) Readers() []Spec { return g.Specs()[:len(g.feeds)] }

// Run runs the subscribers until ctx ends or Close is called. EnsureSchemas must have made their tables and checkpoints.
// It fails with ErrAheadOfLog when a checkpoint is beyond the end of the log. A group runs once.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.mu.Lock()
	if g.running {
		g.mu.Unlock()
		return errors.New("projections: the group has run already")
	}
	g.running, g.stop = true, cancel
	g.mu.Unlock()
	defer close(g.stopped)

	if err := g.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // ended before it had begun
		}
		return err
	}
	defer func() { g.letGo(g.Readers()...) }()
	context.AfterFunc(ctx, func() { close(g.ended) })
	tasks, ctx := errgroup.WithContext(ctx)
	if len(g.feeds) > 0 {
		router, err := g.router()
		if err != nil {
			return err
		}
		tasks.Go(func() error {
			if err := router.Run(ctx); err != nil || ctx.Err() != nil {
				return err
			}
			return errors.New("projections: the router stopped")
		})
	}
	if g.cfg.ListenDSN != "" {
		tasks.Go(func() error { return g.listen(ctx) })
	}
	tasks.Go(func() error { g.watch(ctx); return nil })
	tasks.Go(func() error { g.announce(ctx); return nil })
	for _, t := range g.timers {
		tasks.Go(func() error { t.run(ctx); return nil })
	}
	tasks.Go(func() error { <-ctx.Done(); return nil })
	return tasks.Wait()
}

// Close stops the subscribers and waits until they have. A page under way is rolled back or committed whole. It may be
// called before Run, and more than once.
func (g *Group) Close() error {
	g.mu.Lock()
	if !g.running {
		g.running = true
		close(g.stopped)
	}
	if g.stop != nil {
		g.stop()
	}
	g.mu.Unlock()
	<-g.stopped
	return nil
}

// stopping reports whether errors are to be expected because the group ends.
func (g *Group) stopping() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

// endLogger doesn't call it an error when a transaction breaks off because the group ends.
type endLogger struct {
	group *Group
	watermill.LoggerAdapter
}

// Error implements watermill.LoggerAdapter.
func (l endLogger) Error(msg string, err error, fields watermill.LogFields) {
	var answered *pq.Error
	canceled := errors.Is(err, context.Canceled) || errors.As(err, &answered) && answered.Code == "57014"
	if canceled && l.group.stopping() {
		l.Debug(msg, fields.Add(watermill.LogFields{"err": err.Error()}))
		return
	}
	l.LoggerAdapter.Error(msg, err, fields)
}

// With implements watermill.LoggerAdapter.
func (l endLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return endLogger{l.group, l.LoggerAdapter.With(fields)}
}

// router makes the one router of the process, with one handler per subscriber.
func (g *Group) router() (*message.Router, error) {
	logger := endLogger{g, watermill.NewSlogLoggerWithLevelMapping(g.cfg.Logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: watermill.LevelTrace,
	})}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 30 * time.Second}, logger)
	if err != nil {
		return nil, fmt.Errorf("make the router: %w", err)
	}
	router.AddMiddleware(g.cfg.outer...)
	router.AddMiddleware(settle, middleware.Recoverer)
	router.AddMiddleware(g.cfg.Middleware...)
	if g.cfg.Metrics != nil {
		builder := metrics.NewPrometheusMetricsBuilder(g.cfg.Metrics, "annals", "projections")
		router.AddMiddleware(builder.NewRouterMiddleware().Middleware)
	}
	router.AddMiddleware(middleware.CorrelationID)
	for _, f := range g.feeds {
		subscriber, handler, err := g.subscriber(f, logger)
		if err != nil {
			return nil, fmt.Errorf("subscriber %s: %w", f.spec.Name, err)
		}
		router.AddConsumerHandler(f.spec.Name, topic, subscriber, f.traced(handler))
	}
	return router, nil
}

func (g *Group) subscriber(
	f *feed, logger watermill.LoggerAdapter,
) (message.Subscriber, message.NoPublishHandlerFunc, error) {
	if f.policy != nil {
		return &policySubscriber{feed: f}, f.handlePolicy, nil
	}
	never := time.Duration(0)
	s, err := wsql.NewSubscriber(f, wsql.SubscriberConfig{
		ConsumerGroup:  f.spec.Name,
		AckDeadline:    &never, // an expired one would end a page that is still being applied
		ResendInterval: time.Millisecond,
		BackoffManager: f,
		SchemaAdapter:  pageSchema{f},
		OffsetsAdapter: checkpointOffsets{},
	}, logger)
	return s, f.handlePage, err
}
