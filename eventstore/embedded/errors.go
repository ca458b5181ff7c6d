package embedded

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotInstalled means that no PostgreSQL of MinMajor or newer was found. Its text says what to install.
	ErrNotInstalled = errors.New(`no PostgreSQL 14 or newer found on this machine; install it
  Debian, Ubuntu:  apt-get install postgresql
  Fedora, RHEL:    dnf install postgresql-server
  Alpine:          apk add postgresql
  macOS:           brew install postgresql@17
or name a running server with DATABASE_URL`)

	// ErrDataDirInUse means that another process owns the data directory. Locate gives the way to its server.
	ErrDataDirInUse = errors.New("data directory is in use by another process")

	// ErrNotRunning means that no process runs a server on the data directory.
	ErrNotRunning = errors.New("no server runs on the data directory")

	// ErrStopped means that the server was stopped by Stop and can't be used any more.
	ErrStopped = errors.New("the server was stopped")
)

// MajorVersionError means that the data directory was written by a PostgreSQL
// major version that isn't the one to be run. The data is left as it is.
type MajorVersionError struct {
	DataDir   string // the data directory as given to Start
	Data      int    // major version that wrote the data
	Installed []int  // major versions found on this machine, newest first
}

// Error says which version to install.
func (e *MajorVersionError) Error() string {
	have := make([]string, len(e.Installed))
	for i, v := range e.Installed {
		have[i] = fmt.Sprint(v)
	}
	return fmt.Sprintf("the data in %s belongs to PostgreSQL %d, but found is PostgreSQL %s: "+
		"install PostgreSQL %d again, or move the data with pg_upgrade or with pg_dump and a new data directory; nothing was changed",
		e.DataDir, e.Data, strings.Join(have, ", "), e.Data)
}

// UnreachableDirError means that the user the server runs as can't enter a
// directory on the way to something it needs.
type UnreachableDirError struct {
	Dir  string // the directory that bars the way
	Path string // what lies behind it
	User string // the user who can't enter
}

// Error says which permission is missing where.
func (e *UnreachableDirError) Error() string {
	return fmt.Sprintf("user %q, whom PostgreSQL runs as, can't enter %s on the way to %s: "+
		"give it the execute permission (chmod o+x) or choose another place", e.User, e.Dir, e.Path)
}
