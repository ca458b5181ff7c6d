package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"annals/domain"
	"annals/eventstore/pgtest"
)

// The tests' own aggregate: a stock that is taken from and never goes below zero, with a name that is unique.

type counterEvent interface {
	domain.Event
	counterEvent()
}

type counterOpened struct {
	Name string `json:"name"`
	Left int64  `json:"left"`
}

type counterTaken struct {
	N    int64 `json:"n"`
	Left int64 `json:"left"`
}

type counterAdded struct {
	N    int64 `json:"n"`
	Left int64 `json:"left"`
}

func (counterOpened) EventType() string { return "counter.opened" }
func (counterTaken) EventType() string  { return "counter.taken" }
func (counterAdded) EventType() string  { return "counter.added" }
func (counterOpened) counterEvent()     {}
func (counterTaken) counterEvent()      {}
func (counterAdded) counterEvent()      {}

type counterState struct {
	Name string `json:"name"`
	Left int64  `json:"left"`
	// Events is how many events the state was made from.
	Events int64 `json:"events"`
}

type counterCommand func(counterState) ([]counterEvent, error)

const (
	codeShort = domain.CodeInsufficientStock
	codeNamed = domain.CodeDuplicateName
)

func counterOpen(name string, left int64) counterCommand {
	return func(counterState) ([]counterEvent, error) {
		return []counterEvent{counterOpened{name, left}}, nil
	}
}

func counterTake(n int64) counterCommand {
	return func(s counterState) ([]counterEvent, error) {
		switch {
		case n == 0:
			return nil, nil
		case s.Left < n:
			return nil, domain.Refuse(codeShort, "%d of %d", n, s.Left)
		}
		return []counterEvent{counterTaken{n, s.Left - n}}, nil
	}
}

func counterAdd(n int64) counterCommand {
	return func(s counterState) ([]counterEvent, error) {
		return []counterEvent{counterAdded{n, s.Left + n}}, nil
	}
}

var counterAggregate = &domain.Aggregate[counterState, counterCommand, counterEvent]{
	Type:         "counter",
	StateVersion: 1,
	Initial:      func() counterState { return counterState{} },
	Decide:       func(s counterState, c counterCommand) ([]counterEvent, error) { return c(s) },
	Evolve: func(s counterState, event counterEvent) counterState {
		s.Events++
		switch e := event.(type) {
		case counterOpened:
			s.Name, s.Left = e.Name, e.Left
		case counterTaken:
			s.Left = e.Left
		case counterAdded:
			s.Left = e.Left
		}
		return s
	},
}

// A second aggregate type, to mistake for the first.

type markEvent interface {
	domain.Event
	markEvent()
}

type markMade struct{}

func (markMade) EventType() string { return "mark.made" }
func (markMade) markEvent()        {}

var markAggregate = &domain.Aggregate[int, struct{}, markEvent]{
	Type: "mark", StateVersion: 1,
	Initial: func() int { return 0 },
	Decide:  func(int, struct{}) ([]markEvent, error) { return []markEvent{markMade{}}, nil },
	Evolve:  func(n int, _ markEvent) int { return n + 1 },
}

func counterRegistry(t testing.TB) *domain.Registry {
	t.Helper()
	return counterRegistryOf(t, counterAggregate)
}

func counterRegistryOf(t testing.TB, aggregate domain.AnyAggregate) *domain.Registry {
	t.Helper()
	registry, err := domain.NewRegistry(
		domain.Definition{Aggregate: aggregate, Events: []domain.EventDefinition{
			domain.DefineEvent[counterOpened](), domain.DefineEvent[counterTaken](), domain.DefineEvent[counterAdded](),
		}},
		domain.Definition{Aggregate: markAggregate, Events: []domain.EventDefinition{domain.DefineEvent[markMade]()}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// openCounter makes a counter with a unique name.
func openCounter(name string, left int64) func(context.Context, *domain.UnitOfWork) error {
	return func(_ context.Context, u *domain.UnitOfWork) error {
		counter := domain.OpenNew(u, counterAggregate)
		u.Claim("counter.name", name, counter.ID(), domain.Refuse(codeNamed, "the name %s is taken", name))
		u.Create(counter)
		_, err := counter.Execute(counterOpen(name, left))
		return err
	}
}

// onCounter commands one counter that exists.
func onCounter(id domain.ID, command counterCommand) func(context.Context, *domain.UnitOfWork) error {
	return func(ctx context.Context, u *domain.UnitOfWork) error {
		counter, err := domain.OpenExisting(ctx, u, counterAggregate, id)
		if err != nil {
			return err
		}
		if err := u.Target(counter); err != nil {
			return err
		}
		_, err = counter.Execute(command)
		return err
	}
}

// moveCounter moves pieces from one counter to another, or refuses.
func moveCounter(from, to domain.ID, n int64) func(context.Context, *domain.UnitOfWork) error {
	return func(ctx context.Context, u *domain.UnitOfWork) error {
		a, err := domain.OpenExisting(ctx, u, counterAggregate, from)
		if err != nil {
			return err
		}
		b, err := domain.OpenExisting(ctx, u, counterAggregate, to)
		if err != nil {
			return err
		}
		if err := u.Target(a); err != nil {
			return err
		}
		if _, err := a.Execute(counterTake(n)); err != nil {
			return err
		}
		_, err = b.Execute(counterAdd(n))
		return err
	}
}

// openStore opens a node on the test's database.
func openStore(t testing.TB, db *pgtest.DB, change ...func(*Config)) *Store {
	t.Helper()
	config := Config{
		DSN: db.DSN, Registry: counterRegistry(t), CommandConns: 4, QueryConns: 4,
		Logger: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, c := range change {
		c(&config)
	}
	store, err := Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := store.Close(ctx); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return store
}

type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

// acme is the client of most tests.
const acme = "acme"

func acmeCommand() Command { return Command{Client: acme, Actor: "tester"} }

func keyed(key, fingerprint string) Command {
	cmd := acmeCommand()
	cmd.Key = &CommandKey{Scope: "http", Key: key, Fingerprint: []byte(fingerprint)}
	return cmd
}

// mustRun runs a command that must succeed.
func mustRun(
	t testing.TB, store *Store, cmd Command, useCase func(context.Context, *domain.UnitOfWork) error,
) CommandResult {
	t.Helper()
	result, err := store.Runner.Run(context.Background(), cmd, useCase)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return result
}

// mustRefuse runs a command that must be refused with a code.
func mustRefuse(
	t testing.TB, store *Store, cmd Command, useCase func(context.Context, *domain.UnitOfWork) error, code domain.Code,
) {
	t.Helper()
	result, err := store.Runner.Run(context.Background(), cmd, useCase)
	if domain.CodeOf(err) != code {
		t.Fatalf("got %+v, %v, want a refusal with %s", result, err, code)
	}
}

// newCounter makes a counter and gives its id.
func newCounter(t testing.TB, store *Store, left int64) domain.ID {
	t.Helper()
	return mustRun(t, store, acmeCommand(), openCounter(fmt.Sprintf("counter %s", newUUID()), left)).ID
}

// counterLeft reads a counter through the log.
func counterLeft(t testing.TB, store *Store, id domain.ID) int64 {
	t.Helper()
	state, err := store.States.Current(context.Background(), acme, "counter", id)
	if err != nil {
		t.Fatal(err)
	}
	return state.State.(counterState).Left
}
