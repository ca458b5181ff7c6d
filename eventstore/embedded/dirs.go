package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// DefaultDataDir is where the data lives unless said otherwise: /var/lib/annals
// as root, else $XDG_DATA_HOME/annals, which defaults to ~/.local/share/annals.
func DefaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/annals", nil
	}
	// The XDG base directory specification has relative paths ignored.
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "annals"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no data directory given and no home directory known: %w", err)
	}
	return filepath.Join(home, ".local", "share", "annals"), nil
}

// layout is the data directory's paths, absolute and free of symbolic links: the
// server's processes are recognised by their working directory.
type layout struct{ dir string }

func (l layout) pgdata() string { return filepath.Join(l.dir, "pgdata") }
func (l layout) lock() string   { return filepath.Join(l.dir, "lock") }
func (l layout) dsn() string    { return filepath.Join(l.dir, "dsn") }
func (l layout) log() string    { return filepath.Join(l.dir, "postgres.log") }

// initPrefix begins the name of a data directory that initdb is still making.
const initPrefix = "pgdata.init-"

func newLayout(dir string) (layout, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDataDir(); err != nil {
			return layout{}, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return layout{}, err
	}
	if strings.ContainsAny(dir, "\n\r") {
		return layout{}, fmt.Errorf("data directory %q: line breaks aren't supported", dir)
	}
	// What doesn't exist yet can't be a link: resolve the part that does.
	rest := ""
	for d := dir; ; d = filepath.Dir(d) {
		real, err := filepath.EvalSymlinks(d)
		if err == nil {
			return layout{filepath.Join(real, rest)}, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return layout{}, fmt.Errorf("data directory: %w", err)
		}
		rest = filepath.Join(filepath.Base(d), rest)
	}
}

// make creates the data directory so that the account can pass through it. A
// directory that exists is opened to the account only when it is empty or
// already ours; anything else is left as found.
func (l layout) make(a account) error {
	if _, err := os.Stat(filepath.Join(l.dir, "PG_VERSION")); err == nil {
		return fmt.Errorf("%s is a PostgreSQL data directory itself; Annals needs a directory of its own", l.dir)
	}
	if err := a.reach(filepath.Dir(l.dir), l.dir); err != nil {
		return err
	}
	var made []string
	for d := l.dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); !errors.Is(err, os.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if !a.drop {
		return nil
	}
	if len(made) == 0 && l.ours() && a.reach(l.dir, l.pgdata()) != nil {
		made = []string{l.dir}
	}
	for _, d := range made {
		if err := os.Chmod(d, 0o711); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	return a.reach(l.dir, l.pgdata())
}

// ours reports that the data directory is empty or was made by Start.
func (l layout) ours() bool {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return false
	}
	if len(entries) == 0 {
		return true
	}
	_, err = os.Lstat(l.lock())
	return err == nil
}

// acquire takes the lock that keeps a second owner out. The kernel frees it when
// this process ends, however it ends.
func (l layout) acquire(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(l.lock(), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// Locate holds the lock for a moment when there is no owner.
	var refused error
	err = waitUntil(ctx, 250*time.Millisecond, func() bool {
		refused = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		return !errors.Is(refused, syscall.EWOULDBLOCK)
	})
	if err = cmp.Or(err, refused); errors.Is(err, errTimeout) {
		err = ErrDataDirInUse
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", l.dir, err)
	}
	return f, nil
}

// maxSocketPath is what fits into a unix socket address: 108 bytes with the
// terminating NUL on Linux, 104 on macOS and the BSDs.
const maxSocketPath = 103

const (
	socketDirPrefix = "annals-"
	socketName      = ".s.PGSQL.5432"
)

// makeSocketDir makes a short directory that only the account can enter, and root.
func makeSocketDir(a account) (string, error) {
	var errs []error
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		base, err := filepath.EvalSymlinks(base)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := a.reach(base, "the server's socket"); err != nil {
			errs = append(errs, err)
			continue
		}
		if len(base)+len("/"+socketDirPrefix+"4294967295/"+socketName) > maxSocketPath {
			errs = append(errs, fmt.Errorf("%s is too long for a unix socket", base))
			continue
		}
		dir, err := os.MkdirTemp(base, socketDirPrefix)
		if err == nil {
			err = a.own(dir)
		}
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no place for the server's socket: %w", errors.Join(errs...))
}
