package embedded

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MinMajor is the oldest PostgreSQL major version that Annals works with.
const MinMajor = 14

// binaries are the programs of one PostgreSQL installation.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// binGlobs are the places where distributions put the server's programs, which
// mostly aren't on the PATH.
var binGlobs = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/usr/lib/postgresql*/bin",          // openSUSE
	"/usr/pgsql-*/bin",                  // PGDG for RHEL
	"/usr/libexec/postgresql*",          // Alpine
	"/usr/local/pgsql/bin",              // from source
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew, Apple silicon
	"/usr/local/opt/postgresql*/bin",    // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgres*/bin",
	"/opt/local/lib/postgresql*/bin",                     // MacPorts
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
}

// Find tells which installation Start would run on new data: the directory of
// its programs and its major version. An empty binDir means discovered.
// ErrNotInstalled if there is none.
func Find(ctx context.Context, binDir string) (dir string, major int, err error) {
	b, err := findBinaries(ctx, binGlobs, binDir, "", 0)
	return b.dir, b.major, err
}

// findBinaries chooses an installation: binDir if given, else the one of major
// version dataMajor (the existing data's; 0 = there is none), else the newest.
func findBinaries(ctx context.Context, globs []string, binDir, dataDir string, dataMajor int) (binaries, error) {
	var found []binaries
	if binDir != "" {
		b, err := inspectBinaries(ctx, binDir)
		if err != nil {
			return binaries{}, fmt.Errorf("%s: %w", binDir, err)
		}
		found = []binaries{b}
	} else if found = discover(ctx, globs); len(found) == 0 {
		return binaries{}, cmp.Or(ctx.Err(), ErrNotInstalled)
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	if dataMajor == 0 {
		if found[0].major < MinMajor {
			return binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old: %w", found[0].major, found[0].dir, ErrNotInstalled)
		}
		return found[0], nil
	}
	if i := slices.IndexFunc(found, func(b binaries) bool { return b.major == dataMajor }); i >= 0 {
		return found[i], nil
	}
	e := &MajorVersionError{DataDir: dataDir, Data: dataMajor}
	for _, b := range found {
		e.Installed = append(e.Installed, b.major)
	}
	e.Installed = slices.Compact(e.Installed)
	return binaries{}, e
}

// discover lists the installations of this machine, each once.
func discover(ctx context.Context, globs []string) []binaries {
	var dirs []string
	for _, g := range globs {
		m, _ := filepath.Glob(g)
		dirs = append(dirs, m...)
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	var found []binaries
	for _, d := range dirs {
		if slices.ContainsFunc(found, func(b binaries) bool { return b.dir == d }) {
			continue
		}
		if b, err := inspectBinaries(ctx, d); err == nil {
			found = append(found, b)
		}
	}
	return found
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspectBinaries checks that a directory holds a server and asks for its version.
func inspectBinaries(ctx context.Context, dir string) (binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return binaries{}, err
	}
	b := binaries{dir: dir}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(b.path(name)); err != nil {
			return binaries{}, fmt.Errorf("not a PostgreSQL server's programs: %w", err)
		}
	}
	out, err := exec.CommandContext(ctx, b.path("postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("asking %s for its version: %w", b.path("postgres"), err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("%s: no version in %q", b.path("postgres"), out)
	}
	b.major, err = strconv.Atoi(string(m[1]))
	return b, err
}

// dataMajor reads which major version wrote the data; 0 if there is none.
func dataMajor(pgdata string) (int, error) {
	text, err := os.ReadFile(filepath.Join(pgdata, "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the data's version: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("reading the data's version: %w", err)
	}
	return major, nil
}
