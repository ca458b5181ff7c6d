package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

const (
	// Superuser is the role that DSN connects as.
	Superuser = "postgres"
	// Database is the database that DSN names; Start creates it.
	Database = "annals"
)

// Config says which server to run. The zero value runs the newest PostgreSQL
// found on the data in DefaultDataDir.
type Config struct {
	// DataDir is the directory that holds everything of the server, created when
	// absent. Empty means DefaultDataDir, or, with Throwaway, a fresh directory
	// that is removed when the server ends: in shared memory when there is room.
	DataDir string
	// BinDir holds the server's programs (postgres, initdb). Empty means
	// discovered: the version that the data belongs to, else the newest.
	BinDir string
	// Logger takes the events of the server's life; nil means slog.Default().
	Logger *slog.Logger
	// Throwaway trades durability for speed (fsync, synchronous_commit and
	// full_page_writes off). For tests; never for data that matters.
	Throwaway bool
	// Settings are further server settings by name, over the package's own. Those
	// that the package depends on (socket, log) and, unless Throwaway, fsync and
	// full_page_writes can't be changed.
	Settings map[string]string
	// NoSupervise leaves a server that died as it is, until Restart. Otherwise it
	// is started again, at first at once, then with a growing delay.
	NoSupervise bool
}

// Server is a PostgreSQL server owned by this process. Its methods may be called
// from several goroutines.
type Server struct {
	cfg       Config
	layout    layout
	bin       binaries
	account   account
	socketDir string
	throwaway bool // the data directory goes with the server
	lock      *os.File
	log       *logFile
	guard     *guard

	life context.Context // ends when Stop begins
	end  context.CancelFunc
	work sync.WaitGroup // supervisor and log rotation

	ops     sync.Mutex // held while the server is started, restarted or stopped
	stopped bool       // guarded by ops
	stopErr error      // guarded by ops

	mu   sync.Mutex // guards proc
	proc *process
}

// Start runs the server, creating its data on first use, and returns once it
// takes connections; ctx bounds only that. After a crash that includes the
// recovery. A server left behind by an owner that was killed is stopped first.
//
// Errors: ErrNotInstalled, ErrDataDirInUse, *MajorVersionError,
// *UnreachableDirError, or what the server's log says.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{cfg: cfg}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	if err := s.launch(ctx); err != nil {
		return nil, err
	}
	if err := s.createDatabase(ctx); err != nil {
		return nil, err
	}
	if err := s.publish(); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	s.work.Go(s.keepLogSmall)
	if !cfg.NoSupervise {
		s.work.Go(s.supervise)
	}
	return s, nil
}

// prepare finds all that the server needs, takes the lock and makes the data.
func (s *Server) prepare(ctx context.Context) error {
	var err error
	if s.cfg.Throwaway && s.cfg.DataDir == "" {
		if s.cfg.DataDir, err = throwawayDir(); err != nil {
			return err
		}
		s.throwaway = true
	}
	if s.layout, err = newLayout(s.cfg.DataDir); err != nil {
		return err
	}
	if s.account, err = chooseAccount(s.layout.pgdata()); err != nil {
		return err
	}
	major, err := dataMajor(s.layout.pgdata())
	if err != nil {
		return err
	}
	if s.bin, err = findBinaries(ctx, binGlobs, s.cfg.BinDir, s.layout.dir, major); err != nil {
		return err
	}
	if err := s.account.reach(s.bin.dir, s.bin.path("postgres")); err != nil {
		return err
	}
	if err := s.layout.make(s.account); err != nil {
		return err
	}
	if s.lock, err = s.layout.acquire(ctx); err != nil {
		return err
	}
	if err := s.account.own(s.layout.lock()); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return s.prepareOwned(ctx)
}

// prepareOwned is what only the data directory's owner may do.
func (s *Server) prepareOwned(ctx context.Context) error {
	clearSocketDir(s.layout)
	err := os.Remove(s.layout.dsn())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data directory: %w", err)
	}
	if s.log, err = openLog(s.layout.log()); err != nil {
		return err
	}
	if err := s.account.own(s.layout.log()); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if s.socketDir, err = makeSocketDir(s.account); err != nil {
		return err
	}
	g := &guard{account: s.account, socketDir: s.socketDir, steps: stopSteps(s.cfg.Throwaway), log: s.cfg.Logger}
	if s.throwaway {
		g.throwawayDir = s.layout.dir
		if err := s.account.own(s.layout.dir); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	if err := g.start(); err != nil {
		return err
	}
	s.guard = g
	if err := clearInits(ctx, s.layout, s.cfg.Logger); err != nil {
		return err
	}
	// Asked again under the lock: another process may have made the data meanwhile.
	major, err := dataMajor(s.layout.pgdata())
	if err != nil {
		return err
	}
	if major == 0 {
		return s.initialise(ctx)
	}
	if major != s.bin.major {
		return &MajorVersionError{DataDir: s.layout.dir, Data: major, Installed: []int{s.bin.major}}
	}
	return nil
}

// launch starts the postmaster and waits until it takes connections. ops is held.
func (s *Server) launch(ctx context.Context) error {
	if err := clearOut(ctx, s.layout.pgdata(), s.cfg.Logger); err != nil {
		return err
	}
	if err := s.log.rotate(); err != nil {
		return err
	}
	args := append([]string{"-D", s.layout.pgdata()}, settings(s.cfg, s.socketDir)...)
	p, err := s.spawn(s.layout.pgdata(), s.bin.path("postgres"), args...)
	if err != nil {
		return err
	}
	if err := s.awaitReady(ctx, p); err != nil {
		return errors.Join(err, s.stopProcess(ctx, p))
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	s.cfg.Logger.Info("the database server is ready", "pid", p.pid, "postgres", s.bin.major, "dir", s.layout.dir)
	return nil
}

// publish lets Locate find the server.
func (s *Server) publish() error {
	tmp := s.layout.dsn() + ".new"
	if err := os.WriteFile(tmp, []byte(s.DSN()+"\n"), 0o644); err != nil {
		return err
	}
	if err := s.account.own(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, s.layout.dsn())
}

// DSN is the connection string of the database Database, as a URL. It stays the
// same as long as the Server lives, also over restarts of PostgreSQL.
func (s *Server) DSN() string { return dsn(s.socketDir, Database) }

// DataDir is the directory that holds everything of the server, as an absolute path.
func (s *Server) DataDir() string { return s.layout.dir }

// LogFile is the path of the server's log.
func (s *Server) LogFile() string { return s.layout.log() }

// Major is the major version of the PostgreSQL that runs.
func (s *Server) Major() int { return s.bin.major }

// Pid is the process id of the postmaster, or of the last one if it died.
func (s *Server) Pid() int { return s.current().pid }

// Exited is closed when the PostgreSQL process that runs now has ended, by
// itself or by Stop. After a restart Exited gives the channel of the new process.
func (s *Server) Exited() <-chan struct{} { return s.current().exited }

func (s *Server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Restart stops PostgreSQL if it runs, and starts it on the same data and
// socket. It returns once the server takes connections; ErrStopped after Stop.
func (s *Server) Restart(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.stopped || s.life.Err() != nil {
		return ErrStopped
	}
	if err := s.stopProcess(ctx, s.current()); err != nil {
		return err
	}
	return s.launch(ctx)
}

// Stop stops the server: a fast shutdown, which ends the clients' sessions and
// writes a checkpoint; when ctx ends or 30 s have passed an immediate one, which
// costs a recovery at the next start; at last a kill. A second Stop waits for
// the first and returns the same.
func (s *Server) Stop(ctx context.Context) error {
	s.end()
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.stopped {
		return s.stopErr
	}
	s.stopped = true
	s.work.Wait()
	s.stopErr = s.stopProcess(ctx, s.current())
	s.release()
	s.cfg.Logger.Info("the database server has stopped", "dir", s.layout.dir)
	return s.stopErr
}

// release gives back what the server held, in reverse order.
func (s *Server) release() {
	s.end()
	if s.guard != nil && s.stopErr == nil {
		s.guard.dismiss()
	}
	if s.socketDir != "" {
		os.RemoveAll(s.socketDir)
	}
	if s.log != nil {
		s.log.file.Close()
	}
	if s.lock != nil {
		os.Remove(s.layout.dsn())
	}
	if s.throwaway {
		os.RemoveAll(s.layout.dir)
	}
	if s.lock != nil {
		s.lock.Close()
	}
}
