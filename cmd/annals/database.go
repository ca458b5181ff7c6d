package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"annals/eventstore"
	"annals/eventstore/embedded"
	"annals/migrations"
)

// stopTimeout bounds how long a private PostgreSQL may take to stop.
const stopTimeout = 30 * time.Second

// databaseFlags say which database a command works on.
type databaseFlags struct {
	url     string
	dataDir string
}

func (f *databaseFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "database-url", "", "`url` of a PostgreSQL 14 or newer (also DATABASE_URL); default: a private PostgreSQL")
	flags.StringVar(&f.dataDir, "data-dir", "", "`directory` of the private PostgreSQL (default $XDG_DATA_HOME/annals, as root /var/lib/annals)")
}

func lookupEnv(name string) string { return os.Getenv(name) }

// applyEnvironment gives every flag that wasn't on the command line the value of ANNALS_<FLAG>. A flag for the database
// on the command line keeps the environment from choosing another one.
func (c *cli) applyEnvironment(cmd *cobra.Command, _ []string) error {
	flags := cmd.Flags()
	if flags.Changed("database-url") && flags.Changed("data-dir") {
		return misuse(cmd, "--database-url and --data-dir exclude each other")
	}
	chosen := flags.Changed("database-url") || flags.Changed("data-dir")
	var failure error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || failure != nil {
			return
		}
		database := f.Name == "database-url" || f.Name == "data-dir"
		if database && chosen {
			return
		}
		name := "ANNALS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := c.env(name)
		if value == "" && f.Name == "database-url" {
			name, value = "DATABASE_URL", c.env("DATABASE_URL")
		}
		if value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			failure = misuse(cmd, "%s: %v", name, err)
		}
	})
	return failure
}

// database is the PostgreSQL a command works on.
type database struct {
	dsn    string
	server *embedded.Server // nil unless this process owns it
}

// close stops the server when this process owns it.
func (d *database) close() error {
	if d.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.server.Stop(ctx); err != nil {
		return fmt.Errorf("stop the private PostgreSQL: %w", err)
	}
	return nil
}

// openDatabase finds the database that the flags name. Without a URL it is the private PostgreSQL: the one that another
// process runs on the data directory, or, when none does, one that this process starts and owns. A server insists on
// owning it.
func (c *cli) openDatabase(ctx context.Context, logger *slog.Logger, own bool) (*database, error) {
	if c.db.url != "" {
		return &database{dsn: c.db.url}, nil
	}
	for attempt := 0; ; attempt++ {
		if !own {
			dsn, err := embedded.Locate(c.db.dataDir)
			if err == nil {
				return &database{dsn: dsn}, nil
			}
			if !errors.Is(err, embedded.ErrNotRunning) {
				return nil, err
			}
		}
		server, err := embedded.Start(ctx, embedded.Config{DataDir: c.db.dataDir, Logger: logger})
		switch {
		case err == nil:
			return &database{dsn: server.DSN(), server: server}, nil
		case own || !errors.Is(err, embedded.ErrDataDirInUse) || attempt == 50:
			return nil, fmt.Errorf("start the private PostgreSQL: %w", err)
		}
		// Its owner is still starting it: the way to it is published once it takes connections.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// openExisting is openDatabase for commands that only make sense on a database that is there: a mistyped directory isn't filled.
func (c *cli) openExisting(ctx context.Context) (*database, error) {
	if c.db.url == "" {
		dir, exists, err := embedded.Exists(c.db.dataDir)
		if err != nil {
			return nil, err
		}
		if !exists {
			return nil, fmt.Errorf("there is no database in %s: 'annals serve' makes one; --data-dir (ANNALS_DATA_DIR) names another directory", dir)
		}
	}
	return c.openDatabase(ctx, quietLogger(c.stderr), false)
}

// withSQL runs a command on a pool of the database's owner.
func (c *cli) withSQL(cmd *cobra.Command, work func(db *sql.DB) error) (err error) {
	ctx := cmd.Context()
	d, err := c.openDatabase(ctx, quietLogger(c.stderr), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	db, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, 4, "annals "+cmd.Name())
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", eventstore.MaskSecrets(d.dsn), err)
	}
	return work(db.DB)
}

// quietLogger shows what a tool's user must know of the database's life: warnings and errors.
func quietLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// requireMigrated refuses a database that lacks migrations of this program, or needs a newer one.
func requireMigrated(ctx context.Context, db *sql.DB) error {
	if err := migrations.CheckCompatible(ctx, db); err != nil {
		return err
	}
	all, err := migrations.Status(ctx, db)
	if err != nil {
		return err
	}
	missing := 0
	for _, m := range all {
		if !m.Applied {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("the database lacks %d of %d migrations: run 'annals migrate' first", missing, len(all))
	}
	return nil
}
