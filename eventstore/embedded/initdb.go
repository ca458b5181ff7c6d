package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// initialise makes the data under a temporary name and renames it when it is
// complete: an initdb that is killed leaves nothing that looks like data.
func (s *Server) initialise(ctx context.Context) error {
	s.cfg.Logger.Info("creating the database's data directory", "dir", s.layout.dir, "postgres", s.bin.major, "user", s.account.name)
	tmp, err := os.MkdirTemp(s.layout.dir, initPrefix)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := s.account.own(tmp); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	err = s.initdb(ctx, tmp, "C.UTF-8")
	if err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "locale") {
		err = s.initdb(ctx, tmp, "C") // a system without that locale
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, s.layout.pgdata()); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return syncDir(s.layout.dir)
}

func (s *Server) initdb(ctx context.Context, dir, ctype string) error {
	args := []string{
		"-D", dir, "-U", Superuser, "-E", "UTF8", "--locale=C", "--lc-ctype=" + ctype, "--lc-messages=C",
		"--auth-local=trust", "--auth-host=reject", "--data-checksums",
	}
	if s.cfg.Throwaway {
		args = append(args, "--no-sync")
	}
	p, err := s.spawn(dir, s.bin.path("initdb"), args...)
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		if err := s.stopProcess(ctx, p); err != nil {
			return err
		}
		return fmt.Errorf("initdb: %w", ctx.Err())
	}
	if p.err != nil {
		return s.failure("initdb failed", p)
	}
	return nil
}

// syncDir makes a rename in dir survive a power failure.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems can't sync a directory, and say EINVAL.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
