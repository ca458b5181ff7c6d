package pgtest

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"annals/eventstore/embedded"
)

// Option changes the server that Cluster starts.
type Option func(testing.TB, *embedded.Config)

// WithFsync makes a server as for real data: what is committed survives a crash
// of PostgreSQL, and latencies are those of the disk.
func WithFsync() Option {
	return func(t testing.TB, cfg *embedded.Config) {
		cfg.Throwaway = false
		cfg.DataDir = DataDir(t)
	}
}

// WithSettings adds server settings.
func WithSettings(settings map[string]string) Option {
	return func(_ testing.TB, cfg *embedded.Config) { cfg.Settings = settings }
}

// WithoutSupervisor leaves a server that died as it is, until Restart.
func WithoutSupervisor() Option {
	return func(_ testing.TB, cfg *embedded.Config) { cfg.NoSupervise = true }
}

// Cluster starts a server of the test's own, for tests that kill it or need
// fsync. It has an empty database, and is stopped and removed when the test ends.
func Cluster(t testing.TB, opts ...Option) *embedded.Server {
	t.Helper()
	cfg := embedded.Config{Throwaway: true, Logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(t, &cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	srv, err := embedded.Start(ctx, cfg)
	if err != nil {
		t.Fatalf("pgtest: tests need PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logServer(t, srv)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Stop(ctx); err != nil {
			t.Errorf("pgtest: stopping the server: %v", err)
		}
	})
	return srv
}

// DataDir makes a directory that the server's user can reach, which t.TempDir
// isn't when the tests run as root. It is removed when the test ends.
func DataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "annals-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return dir
}

// logServer shows the end of the server's log.
func logServer(t testing.TB, srv *embedded.Server) {
	const most = 8 << 10
	f, err := os.Open(srv.LogFile())
	if err != nil {
		t.Logf("pgtest: %v", err)
		return
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.Size() > most {
		f.Seek(-most, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	t.Logf("the server's log:\n%s", text)
}
