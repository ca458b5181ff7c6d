package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/migrations"
	"annals/transport/access"
)

// reasonFlag is --reason of the commands that read the log.
type reasonFlag struct{ text string }

func (f *reasonFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.text, "reason", "", "why you read; it stands in the event by which the read is on record")
}

// check gives the reason; nil without one.
func (f *reasonFlag) check(cmd *cobra.Command) (*string, error) {
	if !cmd.Flags().Changed("reason") {
		return nil, nil
	}
	var v domain.Validator
	if v.Text("", f.text, domain.MaxNote); len(v.Fields()) > 0 {
		return nil, misuse(cmd, "--reason %s", v.Fields()[0].Detail)
	}
	return &f.text, nil
}

// reading is the log as a command line reads it: nothing is shown before it is on record.
type reading struct {
	reader  *eventstore.Reader
	tenants *eventstore.Tenants
	reads   *access.Recorder
	asked   operations.Access
	args    string
}

// withReading runs a command that reads what a client has recorded, "*" for all, and shows it in a format.
func (c *cli) withReading(
	cmd *cobra.Command, client, format string, why *reasonFlag, work func(context.Context, *reading) error,
) (err error) {
	reason, err := why.check(cmd)
	if err != nil {
		return err
	}
	ctx, logger := cmd.Context(), quietLogger(c.stderr)
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	d, err := c.openExisting(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := c.checkMigrated(ctx, d.dsn); err != nil {
		return err
	}
	config := eventstore.Config{
		DSN: d.dsn, Registry: registry, Logger: logger, AppName: "annals " + cmd.Name(), CommandConns: 2, QueryConns: 2,
	}
	if keys := c.openKeys(ctx, d.dsn); keys != nil {
		defer keys.Close()
		config.Keys = keys
	}
	store, err := eventstore.Open(ctx, config)
	if err != nil {
		return err
	}
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	defer func() { err = errors.Join(err, store.Close(closeCtx)) }()
	reads := access.New(access.Config{Commands: store.Runner, Logger: logger})
	defer func() { err = errors.Join(err, reads.Close(closeCtx)) }()
	return work(ctx, &reading{
		reader: store.Reader, tenants: store.Tenants, reads: reads, args: strings.Join(cmd.Flags().Args(), " "),
		asked: operations.Access{Client: client, Route: cmd.CommandPath(), Query: selected(cmd), Format: format, Reason: reason},
	})
}

// selected gives the flags that select, in the form of a query string.
func selected(cmd *cobra.Command) string {
	asked := make(url.Values)
	elsewhere := cmd.InheritedFlags() // which database, and the secrets to it
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "after", "client", "format", "output", "reason", "until": // recorded in members of their own
			return
		}
		if elsewhere.Lookup(f.Name) != nil {
			return
		}
		value := f.Value.String()
		if many, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(many.GetSlice(), ",")
		}
		asked.Set(strings.ReplaceAll(f.Name, "-", "_"), value)
	})
	return asked.Encode()
}

// record records that events are about to be shown.
func (r *reading) record(ctx context.Context, events ...eventstore.Envelope) error {
	read := operations.LogRead{Access: r.asked}
	if r.args != "" {
		read.Resources = []string{r.args}
	}
	for _, e := range events {
		read.Add(1, e.Position, e.Position)
	}
	return r.reads.Read(ctx, operatorName(), read)
}

// export runs work, which hands out more than a page and counts what it does; before it begins, that is on record. upTo is
// nil where no position is known to end it.
func (r *reading) export(ctx context.Context, after int64, upTo *int64, work func(*operations.Delivered) error) error {
	end, err := r.reads.Start(ctx, operatorName(), "", operations.ExportStarted{
		Access: r.asked, Resource: strings.TrimSpace(r.asked.Route + " " + r.args), After: after, UpTo: upTo,
	})
	if err != nil {
		return err
	}
	var delivered operations.Delivered
	err = work(&delivered)
	end(delivered, err == nil)
	return err
}

// withRecorded runs a tool of the program's own on a reader of the log as it was recorded: what it shows isn't the log, so
// that it leaves no trace.
func (c *cli) withRecorded(cmd *cobra.Command, work func(context.Context, *eventstore.Reader) error) (err error) {
	ctx := cmd.Context()
	d, err := c.openExisting(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := c.checkHasLog(ctx, d.dsn); err != nil {
		return err
	}
	log, err := eventstore.OpenDB(d.dsn, eventstore.RoleApp, 2, "annals "+cmd.Name())
	if err != nil {
		return err
	}
	defer log.Close()
	queries, err := eventstore.OpenDB(d.dsn, eventstore.RoleQuery, 2, "annals "+cmd.Name())
	if err != nil {
		return err
	}
	defer queries.Close()
	return work(ctx, eventstore.NewReader(eventstore.NewTenants(queries), log))
}

// checkHasLog refuses a database that this program can't read the log of. Migrations may be missing: the log keeps its shape.
func (c *cli) checkHasLog(ctx context.Context, dsn string) error {
	return c.checkOwned(ctx, dsn, func(ctx context.Context, db *sql.DB) error {
		if err := migrations.CheckCompatible(ctx, db); err != nil {
			return err
		}
		all, err := migrations.Status(ctx, db)
		if err == nil && !all[0].Applied {
			err = errors.New("there is no event log in the database: run 'annals migrate' first")
		}
		return err
	})
}

// checkMigrated refuses a database that isn't at this program's schema, or can't be reached.
func (c *cli) checkMigrated(ctx context.Context, dsn string) error {
	return c.checkOwned(ctx, dsn, requireMigrated)
}

func (c *cli) checkOwned(ctx context.Context, dsn string, check func(context.Context, *sql.DB) error) error {
	owner, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, 1, "annals")
	if err != nil {
		return err
	}
	defer owner.Close()
	if err := owner.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", eventstore.MaskSecrets(dsn), err)
	}
	return check(ctx, owner.DB)
}
