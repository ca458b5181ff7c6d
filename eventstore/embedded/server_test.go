package embedded

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func TestDataSurvivesStopAndStart(t *testing.T) {
	t.Parallel()
	cfg := quiet(Config{DataDir: filepath.Join(dataDir(t), "made", "by start")})
	s := start(t, cfg)
	commitRow(t, s.DSN())
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
	if _, err := os.Stat(s.socketDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket's directory is left: %v", err)
	}
	select {
	case <-s.Exited():
	default:
		t.Error("Exited isn't closed after Stop")
	}
	if err := s.Restart(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("Restart after Stop: %v", err)
	}
	wantRow(t, start(t, cfg).DSN())
}

func TestServerSettings(t *testing.T) {
	t.Parallel()
	s := start(t, Config{DataDir: dataDir(t), Settings: map[string]string{
		"work_mem": "5MB", "fsync": "off", "listen_addresses": "127.0.0.1",
	}})
	db := connect(t, s.DSN())
	for name, want := range map[string]string{
		"listen_addresses":           "",
		"fsync":                      "on",
		"full_page_writes":           "on",
		"synchronous_commit":         "on",
		"data_checksums":             "on",
		"TimeZone":                   "UTC",
		"jit":                        "off",
		"max_connections":            "100",
		"server_encoding":            "UTF8",
		"work_mem":                   "5MB",
		"port":                       "5432",
		"logging_collector":          "off",
		"unix_socket_permissions":    "0700",
		"dynamic_shared_memory_type": "mmap",
	} {
		if got := text(t, db, `SHOW `+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := text(t, db, `SELECT current_database() || ' ' || current_user`); got != "annals postgres" {
		t.Errorf("connected to %q", got)
	}
	hba, err := os.ReadFile(filepath.Join(s.layout.pgdata(), "pg_hba.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(hba)) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "host") && f[len(f)-1] != "reject" {
			t.Errorf("network access isn't rejected: %s", line)
		}
	}
}

func TestDSNIsAURLOnAUnixSocket(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Throwaway: true})
	u, err := url.Parse(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	got := []string{u.Scheme, u.User.Username(), u.Path, q.Get("sslmode"), q.Get("binary_parameters")}
	if diff := cmp.Diff([]string{"postgres", "postgres", "/annals", "disable", "yes"}, got); diff != "" {
		t.Error(diff)
	}
	fi, err := os.Stat(q.Get("host"))
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory is open to others: %v", fi.Mode())
	}
	if uid := fi.Sys().(*syscall.Stat_t).Uid; int(uid) != s.account.uid || uid == 0 {
		t.Errorf("the socket's directory belongs to user %d, the server runs as %d", uid, s.account.uid)
	}
}

// The environment is for the application: none of it may reach the server.
func TestEnvironmentIsClean(t *testing.T) {
	for name, value := range map[string]string{
		"PGDATA": "/nonexistent", "PGPORT": "1", "PGHOST": "localhost", "PGOPTIONS": "-c work_mem=1MB",
		"TZ": "Pacific/Auckland", "LC_ALL": "tr_TR.UTF-8", "PGTZ": "Asia/Tokyo", "PGSSLMODE": "require",
	} {
		t.Setenv(name, value)
	}
	out, err := command("env").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "PATH=" + os.Getenv("PATH") + "\nLC_ALL=C\nTZ=UTC\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Error(diff)
	}
	db := connect(t, start(t, Config{Throwaway: true}).DSN())
	if got := text(t, db, `SHOW TimeZone`); got != "UTC" {
		t.Errorf("TimeZone %q", got)
	}
	if got := text(t, db, `SELECT lower('I')`); got != "i" {
		t.Errorf("lower('I') is %q", got)
	}
}

// A directory has a database when there is one in it, and from the moment at which somebody is about to make it.
func TestExists(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	check := func(when string, want bool) {
		t.Helper()
		if path, got, err := Exists(dir); err != nil || got != want || filepath.Base(path) != "data" {
			t.Errorf("%s: %s, %v, %v", when, path, got, err)
		}
	}
	check("no directory", false)
	if err := os.MkdirAll(filepath.Join(dir, "pgdata"), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	check("no owner", false)
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	check("an owner that is starting", true)
	lock.Close()
	check("an owner that is gone", false)
	if err := os.WriteFile(filepath.Join(dir, "pgdata", "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("data", true)
}

func TestOneOwner(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	if _, err := Locate(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Locate before any start: %v", err)
	}
	s := start(t, Config{DataDir: dir})
	pid := s.Pid()
	if _, err := Start(t.Context(), quiet(Config{DataDir: dir})); !errors.Is(err, ErrDataDirInUse) {
		t.Errorf("a second owner: %v, want ErrDataDirInUse", err)
	}
	dsn, err := Locate(dir)
	if err != nil || dsn != s.DSN() {
		t.Errorf("Locate: %q, %v; want %q", dsn, err, s.DSN())
	}
	if got := text(t, connect(t, dsn), `SELECT 'fine'`); got != "fine" || s.Pid() != pid {
		t.Errorf("the first owner's server suffered: %q, pid %d, was %d", got, s.Pid(), pid)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Locate(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Locate after Stop: %v", err)
	}
}

// Of many that start at once on a new directory one wins, the others are told.
func TestOwnersRace(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	var mu sync.Mutex
	var won []*Server
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := Start(t.Context(), quiet(Config{DataDir: dir}))
			if err != nil {
				if !errors.Is(err, ErrDataDirInUse) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			won = append(won, s)
			mu.Unlock()
		})
	}
	wg.Wait()
	for _, s := range won {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if len(won) != 1 {
		t.Errorf("%d owners, want 1", len(won))
	}
}

func TestThrowawayLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Throwaway: true})
	if got := text(t, connect(t, s.DSN()), `SHOW fsync`); got != "off" {
		t.Errorf("fsync %q", got)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{s.DataDir(), s.socketDir} {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}

// A unix socket's address has 107 bytes; the data directory's path may be longer.
func TestLongDataDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dataDir(t), strings.Repeat("long/", 30), strings.Repeat("x", 120))
	if got := text(t, connect(t, start(t, Config{DataDir: dir}).DSN()), `SELECT 'fine'`); got != "fine" {
		t.Error(got)
	}
}

func TestLongTemporaryDirectory(t *testing.T) {
	tmp := filepath.Join(dataDir(t), strings.Repeat("long/", 30))
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := dataDir(t)
	t.Setenv("TMPDIR", tmp)
	if got := text(t, connect(t, start(t, Config{DataDir: dir}).DSN()), `SELECT 'fine'`); got != "fine" {
		t.Error(got)
	}
}

func TestServerRunsAsAnUnprivilegedUser(t *testing.T) {
	t.Parallel()
	s := start(t, Config{DataDir: dataDir(t)})
	fi, err := os.Stat(filepath.Join(s.layout.pgdata(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	uid := int(fi.Sys().(*syscall.Stat_t).Uid)
	if uid == 0 || uid != s.account.uid {
		t.Errorf("the server runs as %d, want %d", uid, s.account.uid)
	}
	if os.Geteuid() != 0 && uid != os.Geteuid() {
		t.Errorf("the server runs as %d, this process as %d", uid, os.Geteuid())
	}
}

// A tree that the server's user can't enter is refused by name, before anything is made in it.
func TestBarredDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	barred := filepath.Join(dataDir(t), "barred")
	dir := filepath.Join(barred, "below", "data")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	// Nobody enters, its owner neither, unless root.
	if err := os.Chmod(barred, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(barred, 0o700) })
	_, err := Start(t.Context(), quiet(Config{DataDir: dir}))
	if err == nil || !strings.Contains(err.Error(), barred) {
		t.Fatalf("error %v, want one that names %s", err, barred)
	}
	var unreachable *UnreachableDirError
	if os.Geteuid() == 0 && (!errors.As(err, &unreachable) || unreachable.Dir != barred) {
		t.Errorf("error %v (%T), want *UnreachableDirError of %s", err, err, barred)
	}
	if os.Geteuid() == 0 {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was made in the barred tree: %v", err)
		}
	}
}

func TestOtherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, Config{DataDir: dir})
	installed := s.Major()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(s.layout.pgdata(), "PG_VERSION")
	if err := os.WriteFile(version, []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	_, err := Start(t.Context(), quiet(Config{DataDir: dir, BinDir: s.bin.dir}))
	want := &MajorVersionError{DataDir: s.DataDir(), Data: 9, Installed: []int{installed}}
	var got *MajorVersionError
	if !errors.As(err, &got) || cmp.Diff(want, got) != "" {
		t.Fatalf("error %#v, want %#v", err, want)
	}
	for _, part := range []string{"PostgreSQL 9", "PostgreSQL " + strconv.Itoa(installed), s.DataDir()} {
		if !strings.Contains(got.Error(), part) {
			t.Errorf("%q doesn't mention %q", got, part)
		}
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("the data directory was changed: %s", diff)
	}
}

func TestForeignDataDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if _, err := Start(t.Context(), quiet(Config{DataDir: dir})); err == nil || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("the directory was changed: %s", diff)
	}
}

func TestStartFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	_, err := Start(t.Context(), quiet(Config{DataDir: dir, Settings: map[string]string{"no_such_setting": "1"}}))
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("error %v, want what the server said", err)
	}
	// What failed holds nothing: the next start works.
	start(t, Config{DataDir: dir})
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := dataDir(t)
	if _, err := Start(ctx, quiet(Config{DataDir: dir})); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	start(t, Config{DataDir: dir})
}
