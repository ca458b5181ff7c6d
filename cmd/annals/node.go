package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/apikeys"
	"annals/eventstore/integrity"
	"annals/eventstore/subjectkeys"
	"annals/migrations"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/projections/carts"
	"annals/projections/holds"
	"annals/projections/inspections"
	"annals/projections/kpialerts"
	"annals/projections/kpis"
	"annals/projections/kpithresholds"
	"annals/projections/orders"
	"annals/projections/policies/notifications"
	"annals/projections/productionentries"
	"annals/projections/products"
	"annals/projections/replay"
	"annals/projections/webhooks"
	"annals/projections/workorders"
	"annals/transport/access"
	"annals/transport/rest"
)

// Sizes of the pools beside those of the event store. Each has work that must not wait for the others'.
const (
	ownerConns      = 5 // migrations, the tables of read models, rebuilds
	projectionConns = 8
	policyConns     = 3
)

// node is one running Annals: the event store, the subscribers and the REST handler over one database.
type node struct {
	subjects  *subjectkeys.Keys // nil: this node records no personal text, and shows it sealed
	store     *eventstore.Store
	commands  *measuredCommands // the runner, timed
	ownerDB   *sql.DB
	group     *projections.Group
	notifier  notifier
	keys      *apikeys.Directory // nil: on a server that a command runs for itself alone
	secure    *tls.Config        // nil: it speaks in the clear
	integrity integrityNode
	reads     *access.Recorder
	rebuilds  *replay.Manager
	handler   http.Handler
	readiness *readiness
	metrics   *prometheus.Registry
	registry  *domain.Registry
	dsn       string
	logger    *slog.Logger

	pools       []namedPool
	stopAnswers context.CancelFunc // ends answers that would go on for long
	stopWork    context.CancelFunc // ends rebuilds, housekeeping and notifications
	work        sync.WaitGroup     // housekeeping and notifications
	groupDone   chan error         // receives what group.Run returned
	outdated    chan error         // receives why this program is too old for the database, once it is
}

// startNode migrates the database and starts everything but the listener. close ends what it started, also after an
// error.
func startNode(ctx context.Context, cfg *serveConfig, dsn string, logger *slog.Logger) (n *node, err error) {
	n = newNode(dsn, logger)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close(stopTimeout))
		}
	}()
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	owner, err := n.pool(eventstore.RoleOwner, ownerConns, "owner")
	if err != nil {
		return n, err
	}
	n.ownerDB = owner.DB
	if err := n.migrate(ctx, owner); err != nil {
		return n, err
	}
	if err := n.open(ctx, cfg, "annals"); err != nil {
		return n, err
	}
	if err := projections.EnsureSchemas(ctx, owner, n.group.Specs()...); err != nil {
		return n, err
	}
	if err := n.checkIncarnation(ctx); err != nil {
		return n, err
	}
	if err := n.ensureKeys(ctx); err != nil {
		return n, err
	}
	n.reads = access.New(access.Config{Commands: n.store.Runner, Interval: cfg.readInterval, Logger: logger})
	n.runGroup(ctx)
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	n.stopWork = stopWork
	n.work.Go(func() { n.housekeeping(workCtx, cfg.keyRetention) })
	n.work.Go(func() { n.notifier.sender.Run(workCtx) })
	n.work.Go(func() { n.integrity.signer.Run(workCtx) })
	n.work.Go(func() { n.watchCompatibility(workCtx, owner.DB) })
	deps := replay.Deps{DB: owner.DB, Registry: n.registry, Logger: logger}
	n.rebuilds = replay.NewManager(workCtx, deps, readModels(), replay.Options{Gentle: true}) // beside requests
	n.metrics.MustRegister(collector{n}, n.commands.duration)
	n.rebuilds.OnSwitched = func(ctx context.Context, r replay.Result, actor string) {
		if err := n.recordRebuild(ctx, r, actor); err != nil {
			n.logger.Error("a rebuild went live but isn't on record", "projection", r.Name, "error", err)
		}
	}
	return n, n.newHandler(ctx, cfg)
}

func newNode(dsn string, logger *slog.Logger) *node {
	return &node{dsn: dsn, logger: logger, metrics: prometheus.NewRegistry(), groupDone: make(chan error, 1),
		outdated: make(chan error, 1)}
}

// open opens the event store and makes the subscribers, which don't run yet.
func (n *node) open(ctx context.Context, cfg *serveConfig, appName string) (err error) {
	if n.registry, err = newRegistry(); err != nil {
		return err
	}
	config := eventstore.Config{DSN: n.dsn, Registry: n.registry, Logger: n.logger, AppName: appName,
		Clock: cfg.clock}
	if n.subjects, err = cfg.subjectKeys.open(ctx, true); err != nil {
		return err
	}
	if n.subjects != nil {
		config.Keys = n.subjects
	}
	n.store, err = eventstore.Open(ctx, config)
	if err != nil {
		return err
	}
	n.commands = newMeasuredCommands(n.store.Runner)
	if err := n.newNotifier(ctx, &cfg.notifications); err != nil {
		return err
	}
	n.newIntegrity(cfg.secrets, "annals")
	return n.newGroup(cfg)
}

// namedPool is a pool that metrics tell of.
type namedPool struct {
	name string
	*sqlx.DB
}

func (n *node) pool(role eventstore.Role, size int, name string) (*sqlx.DB, error) {
	db, err := eventstore.OpenDB(n.dsn, role, size, "annals "+name)
	return n.keep(name, db, err)
}

// preparedPool is a pool for few statements that are run often.
func (n *node) preparedPool(size int, name string) (*sqlx.DB, error) {
	db, err := eventstore.OpenPreparedDB(n.dsn, eventstore.RoleApp, size, "annals "+name)
	return n.keep(name, db, err)
}

func (n *node) keep(name string, db *sqlx.DB, err error) (*sqlx.DB, error) {
	if err != nil {
		return nil, err
	}
	n.pools = append(n.pools, namedPool{name, db})
	return db, nil
}

// migrate brings the schema up to this program.
func (n *node) migrate(ctx context.Context, owner *sqlx.DB) error {
	if err := owner.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	if err := requireServer(ctx, owner.DB); err != nil {
		return err
	}
	// Before the migrations, whose lock is a session's.
	if err := eventstore.CheckSessions(ctx, n.dsn, "annals serve"); err != nil {
		return err
	}
	if err := requireRoles(ctx, owner.DB); err != nil {
		return err
	}
	applied, err := migrations.Up(ctx, owner.DB)
	if err != nil {
		return err
	}
	if len(applied) > 0 {
		n.logger.Info("migrated the database", "applied", len(applied))
	}
	return nil
}

func (n *node) newGroup(cfg *serveConfig) error {
	db, err := n.preparedPool(projectionConns, "projections")
	if err != nil {
		return err
	}
	leases, err := n.preparedPool(policyConns, "policies")
	if err != nil {
		return err
	}
	n.group, err = projections.New(projections.Config{
		DB: db, Policies: leases, Registry: n.registry, ListenDSN: n.dsn,
		Waker: n.store.Sequencer.Signal(), Tail: n.store.Sequencer.Tail(),
		Logger: n.logger, Metrics: n.metrics, Audit: n.auditOperation,
		Tracer: cfg.tracer,
	}, projectors()...)
	if err != nil {
		return err
	}
	policies, err := n.policies(cfg)
	if err != nil {
		return err
	}
	if err := n.group.AddPolicies(policies...); err != nil {
		return err
	}
	return n.group.AddTimers(n.timers(cfg)...)
}

// runGroup runs the subscribers until close.
func (n *node) runGroup(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	go func() { n.groupDone <- n.group.Run(ctx) }()
}

// checkIncarnation refuses a log whose tail was lost, and records a change of the server that it lives on.
func (n *node) checkIncarnation(ctx context.Context) error {
	states, err := n.group.Status(ctx)
	if err != nil {
		return err
	}
	followers := make([]eventstore.Progress, 0, len(states))
	for _, s := range states {
		followers = append(followers, eventstore.Progress{Name: s.Name, Position: s.Position})
	}
	sealed, err := n.integrity.log.Size(ctx)
	if err != nil {
		return err
	}
	followers = append(followers, eventstore.Progress{Name: "the sealed Merkle tree", Position: sealed})
	return n.store.CheckIncarnation(ctx, followers, func(ctx context.Context, c eventstore.IncarnationChange) error {
		_, err := n.commands.Run(ctx, systemCommand("annals"), func(ctx context.Context, u *domain.UnitOfWork) error {
			return operations.RecordIncarnation(ctx, u, operations.NoteIncarnation{
				Before: operations.Incarnation(c.Before), Now: operations.Incarnation(c.Now), Head: c.Head,
			})
		})
		return err
	})
}

// newHandler makes the REST interface.
func (n *node) newHandler(ctx context.Context, cfg *serveConfig) error {
	n.readiness = &readiness{pool: n.store.Commands, group: n.group, maxLag: cfg.readyLag}
	answerCtx, stopAnswers := context.WithCancel(context.WithoutCancel(ctx))
	n.stopAnswers = stopAnswers
	tenants := n.store.Tenants
	authenticator, err := n.authenticator(cfg)
	if err != nil {
		return err
	}
	handler, err := rest.New(answerCtx, rest.Config{
		Products: products.NewQueries(tenants), Carts: carts.NewQueries(tenants), Orders: orders.NewQueries(tenants),
		WorkOrders: workorders.NewQueries(tenants), ProductionEntries: productionentries.NewQueries(tenants),
		Inspections: inspections.NewQueries(tenants), Holds: holds.NewQueries(tenants),
		KPIs: kpis.NewQueries(tenants), Thresholds: kpithresholds.NewQueries(tenants), Alerts: kpialerts.NewQueries(tenants),
		Webhooks: webhooks.NewQueries(tenants), DeadLetters: notifications.NewDeadLetters(tenants), Secrets: n.notifier.queue,
		EventTypes:    n.registry.EventTypes(),
		Registry:      n.registry,
		Subscribers:   n.group.Readers(),
		Authenticator: authenticator, Commands: n.commands, States: n.store.States, Events: n.store.Reader,
		Growth:    n.store.Sequencer.Signal(),
		AuditLog:  auditlog.NewQueries(tenants),
		Access:    n.reads,
		Integrity: n.integrity.log, Records: integrity.NewRecords(tenants),
		Projections: n.group, Rebuilds: n.rebuilds, Applied: n.group, Readiness: n.readiness,
		Tracer: cfg.tracer, Metrics: n.metrics, Log: n.logger, SynchronousWait: cfg.syncWait,
		MaxCommands: cfg.limits.commands, MaxQueries: cfg.limits.queries,
		ClientRate: cfg.limits.clientRate, ClientBurst: cfg.limits.clientBurst,
	})
	n.handler = handler
	return err
}

// close stops what startNode started, within a bound: a database that is silent must not keep the program from ending. What
// wasn't committed by then is rolled back by the database.
func (n *node) close(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- n.closeInOrder(ctx) }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(closeGrace):
		return fmt.Errorf("the database didn't let everything finish within %s", timeout+closeGrace)
	}
}

// closeGrace is how long close waits once everything has been told that its time is over.
const closeGrace = 2 * time.Second

// closeInOrder stops everything in the order that loses nothing: what takes work before what does it.
func (n *node) closeInOrder(ctx context.Context) error {
	var errs []error
	if n.stopAnswers != nil {
		n.stopAnswers()
	}
	if n.stopWork != nil {
		n.stopWork()
	}
	n.work.Wait()
	if n.rebuilds != nil {
		n.rebuilds.Wait()
	}
	if n.reads != nil {
		errs = append(errs, n.reads.Close(ctx))
	}
	if n.group != nil {
		errs = append(errs, n.group.Close())
	}
	if n.keys != nil {
		n.keys.Close()
	}
	if n.store != nil {
		errs = append(errs, n.store.Close(ctx))
	}
	if n.subjects != nil {
		_ = n.subjects.Close()
	}
	for _, pool := range n.pools {
		_ = pool.Close() // reports connections that broke while they were idle: nothing was under way on them
	}
	return errors.Join(errs...)
}
