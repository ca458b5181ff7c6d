package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"annals/domain"
)

// Config says how to open a Store. DSN and Registry are required.
type Config struct {
	DSN          string
	Registry     *domain.Registry
	Logger       *slog.Logger     // default: none
	Clock        func() time.Time // default time.Now
	NewID        func() domain.ID // default UUID version 7
	AppName      string           // what pg_stat_activity shows; default "annals"
	CommandConns int              // connections that load and look up for commands; default 8
	QueryConns   int              // connections that read for queries; default 16
	Keys         SubjectKeys      // of personal text; nil: it can't be recorded, and is shown sealed. The caller closes it
	Cache        StatesConfig
	Sequencer    SequencerConfig // DSN, Logger and AppName are those of the store
	OnAppended   func(Appended)  // called after each command that wrote events; must not block
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	defaults(&c.AppName, "annals")
	defaults(&c.CommandConns, 8)
	defaults(&c.QueryConns, 16)
	c.Sequencer.DSN, c.Sequencer.Logger, c.Sequencer.AppName = c.DSN, c.Logger, c.AppName
}

// Store is the event store of one node: everything needed to write and read the log, with its connections.
type Store struct {
	Sequencer *Sequencer
	States    *States
	Runner    *CommandRunner
	Reader    *Reader
	Tenants   *Tenants // for every other query on tenant data, such as those of read models
	Commands  *sqlx.DB // sees all clients: for the program itself, never for queries of clients
	Queries   *sqlx.DB // behind row-level security; use it through Tenants

	Vault *Vault // nil without Config.Keys

	logger *slog.Logger
}

// Open connects to a migrated database. Close ends what it started.
func Open(ctx context.Context, config Config) (_ *Store, err error) {
	if config.Registry == nil {
		return nil, errors.New("open the event store: a registry is required")
	}
	config.setDefaults()
	s := &Store{logger: config.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the event store: %w", err), s.Close(ctx))
		}
	}()
	if s.Commands, err = OpenDB(config.DSN, RoleApp, config.CommandConns, config.AppName+" commands"); err != nil {
		return nil, err
	}
	if s.Queries, err = OpenDB(config.DSN, RoleQuery, config.QueryConns, config.AppName+" queries"); err != nil {
		return nil, err
	}
	for _, pool := range []*sqlx.DB{s.Commands, s.Queries} {
		if err := pool.PingContext(ctx); err != nil {
			return nil, unavailable(err)
		}
	}
	s.Vault = NewVault(config.Registry, config.Keys)
	s.States = NewStates(s.Commands, config.Registry, config.Logger, config.Cache)
	s.States.vault = s.Vault
	reconnected := config.Sequencer.OnReconnect
	config.Sequencer.OnReconnect = func() {
		s.States.Forget()
		if reconnected != nil {
			reconnected()
		}
	}
	if s.Sequencer, err = OpenSequencer(ctx, config.Sequencer); err != nil {
		return nil, err
	}
	s.Runner = NewCommandRunner(RunnerConfig{
		Log: s.Commands, States: s.States, Registry: config.Registry, Appender: s.Sequencer, Vault: s.Vault,
		Clock: config.Clock, NewID: config.NewID, OnAppended: config.OnAppended,
	})
	s.Tenants = NewTenants(s.Queries).Showing(s.Vault)
	s.Reader = NewReader(s.Tenants, s.Commands)
	s.Reader.observe = s.Sequencer.Observe
	return s, nil
}

// Close ends the sequencer, which first writes what it has taken, then the snapshot writer, then the connections; ctx
// bounds the waiting. It may be called again, and on a store that was opened in part.
func (s *Store) Close(ctx context.Context) error {
	var errs []error
	if s.Sequencer != nil {
		errs = append(errs, s.Sequencer.Close(ctx))
	}
	if s.States != nil {
		errs = append(errs, s.States.Close(ctx))
	}
	for _, pool := range []*sqlx.DB{s.Commands, s.Queries} {
		if pool != nil {
			_ = pool.Close() // reports connections that broke while they were idle: nothing was under way on them
		}
	}
	return errors.Join(errs...)
}

// CheckIncarnation is the function of that name on the store's database.
func (s *Store) CheckIncarnation(
	ctx context.Context, followers []Progress, record func(context.Context, IncarnationChange) error,
) error {
	return CheckIncarnation(ctx, s.Commands, s.logger, followers, record)
}

// DeleteIdempotencyKeys is the function of that name on the store's database.
func (s *Store) DeleteIdempotencyKeys(ctx context.Context, scope string, olderThan time.Time) (int64, error) {
	return DeleteIdempotencyKeys(ctx, s.Commands, scope, olderThan)
}
