package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"
)

// dsn is the URL of a database behind a socket directory. The port is named
// because the environment's PGPORT would count otherwise.
func dsn(socketDir, database string) string {
	q := url.Values{
		"host":              {socketDir},
		"port":              {strconv.Itoa(port)},
		"sslmode":           {"disable"},
		"binary_parameters": {"yes"},
	}
	u := url.URL{Scheme: "postgres", User: url.User(Superuser), Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// admin connects to the database that initdb made.
func (s *Server) admin() (*sql.DB, error) {
	c, err := pq.NewConnector(dsn(s.socketDir, "postgres"))
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

const slowStart = 10 * time.Second

// awaitReady waits until the server takes connections, as long as it lives: a
// recovery after a crash may take minutes. The server's state is read from its
// lock file, as pg_ctl does: refused connections would fill the log.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	begun, told := time.Now(), time.Now()
	for {
		state := serverState(s.layout.pgdata(), p.pid)
		if state == "ready" || state == "standby" {
			return s.ping(ctx)
		}
		if time.Since(told) > slowStart {
			told = time.Now()
			s.cfg.Logger.Info("the database server is still starting", "since", time.Since(begun).Round(time.Second).String(), "state", state)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the database server: %w", ctx.Err())
		case <-p.exited:
			return s.failure("the database server didn't start", p)
		case <-time.After(pollInterval):
		}
	}
}

// serverState is the last line of the lock file that the postmaster pid wrote.
func serverState(pgdata string, pid int) string {
	const pidLine, stateLine = 0, 7
	text, err := os.ReadFile(filepath.Join(pgdata, "postmaster.pid"))
	if err != nil {
		return ""
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) <= stateLine || lines[pidLine] != strconv.Itoa(pid) {
		return ""
	}
	return strings.TrimSpace(lines[stateLine])
}

func (s *Server) ping(ctx context.Context) error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connecting to the database server: %w", err)
	}
	return nil
}

// createDatabase makes the database unless an earlier start did.
func (s *Server) createDatabase(ctx context.Context) error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	var exists bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, Database).Scan(&exists)
	if err == nil && !exists {
		_, err = db.ExecContext(ctx, `CREATE DATABASE `+Database)
	}
	if err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}

// Locate gives the connection string of the server that another process runs on
// a data directory ("" = DefaultDataDir), or ErrNotRunning.
func Locate(dataDir string) (string, error) {
	l, err := newLayout(dataDir)
	if err != nil {
		return "", err
	}
	owned, err := l.owned()
	if err != nil {
		return "", err
	}
	if !owned {
		return "", fmt.Errorf("%s: %w", l.dir, ErrNotRunning)
	}
	text, err := os.ReadFile(l.dsn())
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s: the server is still starting: %w", l.dir, ErrNotRunning)
	}
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Exists reports whether a data directory (empty: the default one) holds a database, or a process is about to make one there.
// dir is its path. It fails where the directory can't be looked into.
func Exists(dataDir string) (dir string, exists bool, err error) {
	l, err := newLayout(dataDir)
	if err != nil {
		return "", false, err
	}
	major, err := dataMajor(l.pgdata())
	if err != nil || major > 0 {
		return l.dir, major > 0, err
	}
	exists, err = l.owned()
	return l.dir, exists, err
}

// owned reports whether a process owns the data directory.
func (l layout) owned() (bool, error) {
	lock, err := os.Open(l.lock())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("data directory: %w", err)
	}
	defer lock.Close()
	// Closing the file gives a lock back that we got.
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil, nil
}
