package apikeys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/pgtest"
)

// bench is a database with a manager and the directories of nodes, whose clocks stand until they are moved.
type bench struct {
	*Manager
	t     *testing.T
	db    *pgtest.DB
	mu    sync.Mutex
	clock time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, db: pgtest.New(t), clock: time.Now().Truncate(time.Microsecond)}
	registry, err := domain.NewRegistry(operations.Definitions()...)
	check(t, err)
	store, err := eventstore.Open(t.Context(), eventstore.Config{DSN: b.db.DSN, Registry: registry})
	check(t, err)
	t.Cleanup(func() { check(t, store.Close(context.Background())) })
	b.Manager = NewManager(b.db.DB, func(ctx context.Context, c operations.APIKeyCommand) error {
		command := eventstore.Command{Client: eventstore.SystemClient, Actor: "cli:ada"}
		_, err := store.Runner.Run(ctx, command, func(ctx context.Context, u *domain.UnitOfWork) error {
			return operations.ChangeAPIKey(ctx, u, c)
		})
		return err
	})
	b.Manager.now = b.now
	return b
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

// node gives the directory of another node.
func (b *bench) node() *Directory {
	b.t.Helper()
	pool, err := eventstore.OpenDB(b.db.DSN, eventstore.RoleApp, 2, "test keys")
	check(b.t, err)
	b.t.Cleanup(func() { check(b.t, pool.Close()) })
	d := NewDirectory(pool, slog.New(slog.DiscardHandler))
	d.now = b.now
	b.t.Cleanup(d.Close)
	return d
}

func (b *bench) create(n NewKey) (Key, string) {
	b.t.Helper()
	k, secret, err := b.Create(b.t.Context(), n)
	check(b.t, err)
	return k, secret
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var ada = NewKey{Client: "acme", Role: "operator", Actor: "ada", CreatedBy: "cli:root"}

func (b *bench) takes(d *Directory, secret string, want bool) {
	b.t.Helper()
	k, err := d.Verify(b.t.Context(), secret)
	switch {
	case want && err != nil:
		b.t.Errorf("refused: %v", err)
	case !want && !errors.Is(err, ErrInvalid):
		b.t.Errorf("got %+v, %v, want ErrInvalid", k, err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.node()
	if exist, err := d.Exist(t.Context()); exist || err != nil {
		t.Errorf("keys exist: %v, %v", exist, err)
	}
	made, secret := b.create(ada)
	other, otherSecret := b.create(NewKey{Client: "*", Role: "auditor", Actor: "eve", CreatedBy: "cli:root"})
	b.pass(stale)
	k, err := d.Verify(t.Context(), secret)
	if err != nil || k.ID != made.ID || k.Client != "acme" || k.Role != "operator" || k.Actor != "ada" {
		t.Errorf("%+v, %v", k, err)
	}
	b.takes(d, otherSecret, true)
	flipped := secret[:len(secret)-2] + map[bool]string{true: "b", false: "a"}[secret[len(secret)-2] == 'a'] + secret[len(secret)-1:]
	for name, presented := range map[string]string{
		"nothing": "", "the prefix": Prefix, "without a secret": Prefix + made.ID + "_", "another secret": flipped,
		"the secret of another key": Prefix + made.ID + otherSecret[len(Prefix)+idLength:],
		"an id that isn't there":    token("aaaaaaaaaaaa", strings.Repeat("a", secretLength)),
		"in capitals":               strings.ToUpper(secret), "longer": secret + "a", "shorter": secret[:len(secret)-1],
		"with a line feed": secret + "\n", "of zeros": Prefix + other.ID + "_" + strings.Repeat("a", secretLength),
	} {
		t.Run(name, func(t *testing.T) { b.takes(d, presented, false) })
	}
}

// A change takes effect on every node within the promised time, and no earlier than it must: requests between cost no
// statement.
func TestRevocationReachesEveryNode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made, secret := b.create(ada)
	nodes := []*Directory{b.node(), b.node()}
	for _, d := range nodes {
		b.takes(d, secret, true)
	}
	revoked, err := b.Revoke(t.Context(), made.ID, "left the company")
	check(t, err)
	if revoked.Status(b.now()) != "revoked" {
		t.Errorf("%+v", revoked)
	}
	b.pass(fresh - 1)
	b.takes(nodes[0], secret, true)
	b.pass(stale - fresh + 1)
	for _, d := range nodes {
		b.takes(d, secret, false)
		if exist, err := d.Exist(t.Context()); !exist || err != nil {
			t.Errorf("once the last key is revoked: keys exist: %v, %v", exist, err)
		}
	}
	b.takes(b.node(), secret, false)
	again, err := b.Revoke(t.Context(), made.ID, "again")
	check(t, err)
	if !again.RevokedAt.Equal(*revoked.RevokedAt) {
		t.Errorf("revoked at %v, then at %v", revoked.RevokedAt, again.RevokedAt)
	}
	if _, err := b.Revoke(t.Context(), "aaaaaaaaaaaa", "r"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
	if _, _, err := b.Rotate(t.Context(), made.ID, time.Hour); !errors.Is(err, ErrKeyEnded) {
		t.Errorf("rotate a revoked key: %v", err)
	}
	var reasons []string
	check(t, b.db.Select(&reasons, `SELECT data->>'reason' FROM annals.events WHERE event_type = 'api_key.revoked' AND client_id = 'annals'`))
	if fmt.Sprint(reasons) != "[left the company]" {
		t.Errorf("recorded: %v", reasons)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.node()
	soon := b.now().Add(time.Hour)
	short := ada
	short.ExpiresAt = &soon
	made, secret := b.create(short)
	b.takes(d, secret, true)
	b.pass(time.Hour - 1)
	b.takes(d, secret, true)
	b.pass(1)
	b.takes(d, secret, false)
	if _, _, err := b.Rotate(t.Context(), made.ID, time.Hour); !errors.Is(err, ErrKeyEnded) {
		t.Errorf("rotate an expired key: %v", err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.node()
	made, first := b.create(ada)
	b.takes(d, first, true)
	k, second, err := b.Rotate(t.Context(), made.ID, time.Hour)
	check(t, err)
	if k.ID != made.ID || first == second || k.OldUntil.Sub(b.now()).Round(time.Second) != time.Hour {
		t.Errorf("%+v", k)
	}
	b.pass(stale)
	b.takes(d, first, true)
	b.takes(d, second, true)
	b.pass(time.Hour)
	b.takes(d, first, false)
	b.takes(d, second, true)
	_, third, err := b.Rotate(t.Context(), made.ID, 0)
	check(t, err)
	b.pass(stale)
	for secret, want := range map[string]bool{first: false, second: false, third: true} {
		b.takes(d, secret, want)
	}
	if _, _, err := b.Rotate(t.Context(), "aaaaaaaaaaaa", 0); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
}

// Requests with keys that don't exist cost no statement; without a database nobody is let in and nobody is refused.
func TestWithoutDatabase(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, secret := b.create(ada)
	d := b.node()
	b.takes(d, secret, true)
	check(t, d.db.Close())
	b.takes(d, secret, true)
	b.takes(d, token("aaaaaaaaaaaa", strings.Repeat("a", secretLength)), false)
	b.pass(stale)
	if _, err := d.Verify(t.Context(), secret); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if _, err := d.Exist(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// However changes interleave with each other and with nodes that look, every node knows all of them in the end.
func TestChangesAreSeenInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.node()
	const writers, each = 4, 15
	secrets := make([][]string, writers)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				k, secret, err := b.Create(context.Background(), ada)
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					if _, err := b.Revoke(context.Background(), k.ID, "r"); err != nil {
						t.Error(err)
					}
					continue
				}
				secrets[w] = append(secrets[w], secret)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		b.pass(stale)
		if _, err := d.Exist(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.pass(stale)
	for _, list := range secrets {
		for _, secret := range list {
			b.takes(d, secret, true)
		}
	}
	if got := len(d.known.keys); got != writers*(each/2) {
		t.Errorf("the node knows %d keys, want %d", got, writers*(each/2))
	}
}

// A database that was restored from a backup has fewer changes than the node has seen.
func TestDatabaseGoesBackInTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.node()
	_, kept := b.create(ada)
	lost, lostSecret := b.create(ada)
	b.takes(d, lostSecret, true)
	b.db.MustExec(`DELETE FROM annals.api_keys WHERE key_id = $1`, lost.ID)
	b.db.MustExec(`UPDATE annals.api_key_revision SET revision = 1`)
	b.pass(stale)
	b.takes(d, lostSecret, false)
	b.takes(d, kept, true)
}

func TestLastUse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made, secret := b.create(ada)
	used := func() *time.Time {
		keys, err := b.List(t.Context())
		check(t, err)
		if len(keys) != 1 || keys[0].ID != made.ID {
			t.Fatalf("%+v", keys)
		}
		return keys[0].LastUsedAt
	}
	if used() != nil {
		t.Error("a new key was used")
	}
	d := b.node()
	b.takes(d, secret, true)
	first := b.now()
	b.pass(usePrecision - 1)
	b.takes(d, secret, true)
	d.Close()
	if got := used(); got == nil || !got.Equal(first.Truncate(time.Microsecond)) && !got.Equal(first.Round(time.Microsecond)) {
		t.Errorf("used at %v, want %v", got, first)
	}
	d = b.node()
	b.pass(1)
	b.takes(d, secret, true)
	d.Close()
	if got := used(); !got.After(first.Add(usePrecision / 2)) {
		t.Errorf("used at %v, want a minute after %v", got, first)
	}
	if _, err := d.Verify(t.Context(), secret); err != nil && !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("a closed directory: %v", err)
	}
}
