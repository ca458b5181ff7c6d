package main

import (
	"context"
	"errors"
	"log/slog"
	"os/user"
	"time"

	"github.com/spf13/cobra"
)

// withOperator runs a command beside a running server, or without one: on a node whose subscribers don't run.
func (c *cli) withOperator(cmd *cobra.Command, work func(ctx context.Context, n *node) error) (err error) {
	ctx := cmd.Context()
	logger := quietLogger(c.stderr)
	d, err := c.openExisting(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := c.checkMigrated(ctx, d.dsn); err != nil {
		return err
	}
	n, err := openOperator(ctx, d.dsn, logger)
	defer func() { err = errors.Join(err, n.close(stopTimeout)) }()
	if err != nil {
		return err
	}
	return work(ctx, n)
}

func openOperator(ctx context.Context, dsn string, logger *slog.Logger) (*node, error) {
	n := newNode(dsn, logger)
	return n, n.open(ctx, &serveConfig{cartLifetime: 24 * time.Hour, cartSweep: time.Hour}, "annals operator")
}

// operatorName is the actor of what an operator does from the command line.
func operatorName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "cli:" + u.Username
	}
	return "cli"
}
