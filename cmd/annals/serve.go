package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"annals/transport/rest"
)

func (c *cli) serveCommand() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the API, the projections and the policies",
		Long: `Runs the REST API, the projections and the policies in one process. It migrates the database when it starts and
prints "listening on http://…" on stderr once it is ready. Ctrl-C and SIGTERM let what is under way finish.

Without a database URL it runs a private PostgreSQL in --data-dir and stops it when it ends.

Without API keys and without a token issuer it runs open: it believes what requests say of themselves, and listens on
loopback only. As soon as there is an API key ('annals keys create') or an issuer, every request needs a credential.`,
		Example: "  annals serve\n  annals serve --addr 127.0.0.1:0 --cart-lifetime 1h\n" +
			"  annals serve --database-url postgres://annals@localhost/annals?sslmode=disable",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.check(cmd); err != nil {
				return err
			}
			if cfg.printConfig {
				return cfg.print(c, cmd)
			}
			tuneCollector()
			return c.serve(cmd, &cfg)
		},
	}
	cfg.register(cmd.Flags())
	return cmd
}

// tuneCollector lets the heap grow to five times what is live before it is collected, up to a gigabyte: a server's live
// heap is small, and with Go's default every command pays for collecting it over and over. GOGC and GOMEMLIMIT win.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30)
	}
}

// serve runs a node on the database of the flags until ctx ends.
func (c *cli) serve(cmd *cobra.Command, cfg *serveConfig) (err error) {
	ctx, logger := cmd.Context(), cfg.logger(c)
	if cfg.secrets, err = cfg.signing.secrets(c.db.passphraseDir()); err != nil {
		return err
	}
	local, err := isLoopback(cfg.addr)
	if err != nil {
		return err
	}
	secure, err := cfg.tls.config(logger)
	if err != nil {
		return err
	}
	tracing, err := newTracing(ctx, cfg.otlpEndpoint, logger)
	if err != nil {
		return err
	}
	if tracing != nil {
		cfg.tracer = tracing.Tracer("annals")
		defer flushTraces(tracing, logger)
	}
	var listener net.Listener
	if local { // first, so that a port in use costs no start of a database
		if listener, err = listen(ctx, cfg.addr); err != nil {
			return err
		}
		defer listener.Close()
	}
	d, err := c.openDatabase(ctx, logger, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if !local { // not before it is known that the server won't run open
		if err := checkOpen(ctx, cmd, cfg, d.dsn); err != nil {
			return err
		}
		if listener, err = listen(ctx, cfg.addr); err != nil {
			return err
		}
		defer listener.Close()
	}
	cfg.subjectKeys = c.keySource(d.dsn)
	n, err := startNode(ctx, cfg, d.dsn, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close(cfg.shutdownTimeout)) }()
	if err := n.logMode(ctx, cfg, logger); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "listening on %s://%s\n", cfg.tls.scheme(), listener.Addr())
	n.secure = secure
	return n.serve(ctx, listener, cfg)
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return listener, nil
}

// serve answers requests until ctx ends or the subscribers give up.
func (n *node) serve(ctx context.Context, listener net.Listener, cfg *serveConfig) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-n.groupDone:
			cancel(fmt.Errorf("the projections stopped: %w", err))
		case err := <-n.outdated:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	context.AfterFunc(ctx, func() {
		n.readiness.draining.Store(true) // before it is said, so that whoever reads it finds it so
		n.logger.Info("shutting down: what is under way is finished; another signal ends the program at once")
		time.Sleep(cfg.limits.drainDelay)
		n.stopAnswers()
		stopServing()
	})
	limits := rest.Limits{DrainTimeout: cfg.shutdownTimeout, MaxConnections: cfg.limits.connections, TLS: n.secure}
	err := rest.Serve(serving, listener, n.handler, limits, n.logger)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// withOwnServer runs work beside a server of this process, on a free port of loopback and the database of the flags. The
// server takes the credential that work is given, and no other.
func (c *cli) withOwnServer(ctx context.Context, work func(ctx context.Context, address, credential string) error) (err error) {
	own := newOwnCaller()
	cfg := &serveConfig{
		own:  own,
		addr: "127.0.0.1:0", cartLifetime: 24 * time.Hour, cartSweep: time.Hour, syncWait: time.Second,
		readInterval: defaultReadInterval, shutdownTimeout: stopTimeout, readyLag: 1 << 40, keyRetention: 2 * minIdempotencyRetention,
	}
	logger := quietLogger(c.stderr)
	if cfg.secrets, err = c.signingEnvironment().secrets(c.db.passphraseDir()); err != nil {
		return err
	}
	d, err := c.openDatabase(ctx, logger, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	cfg.subjectKeys = c.keySource(d.dsn)
	n, err := startNode(ctx, cfg, d.dsn, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close(cfg.shutdownTimeout)) }()
	listener, err := listen(ctx, cfg.addr)
	if err != nil {
		return err
	}
	serveCtx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- n.serve(serveCtx, listener, cfg) }()
	err = work(ctx, "http://"+listener.Addr().String(), own.token)
	stop()
	return errors.Join(err, <-served)
}
