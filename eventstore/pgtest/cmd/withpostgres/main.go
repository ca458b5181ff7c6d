// Command withpostgres runs a command with a throwaway PostgreSQL, whose URL it
// passes as ANNALS_TEST_DATABASE_URL, and ends with the command's exit status.
//
//	withpostgres [-fsync] COMMAND [ARGUMENT …]
//
// With -find it only says which PostgreSQL it would run, or what to install.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"annals/eventstore/embedded"
	"annals/eventstore/pgtest"
)

func main() {
	fsync := flag.Bool("fsync", false, "keep the server durable, on disk: for benchmarks")
	find := flag.Bool("find", false, "only print the directory of the PostgreSQL to be run")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: withpostgres [-fsync] COMMAND [ARGUMENT ...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *find {
		dir, major, err := embedded.Find(context.Background(), "")
		if err != nil {
			fmt.Fprintln(os.Stderr, "withpostgres:", err)
			os.Exit(1)
		}
		fmt.Println(dir, major)
		return
	}
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(*fsync, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(fsync bool, command []string) (status int, err error) {
	// A Ctrl-C reaches the command as well: wait for it to end, and then stop the server.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	cfg := embedded.Config{Throwaway: true}
	if fsync {
		cfg.Throwaway = false
		if cfg.DataDir, err = os.MkdirTemp("", "annals-bench-"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(cfg.DataDir)
		cfg.Settings = map[string]string{"max_connections": "300"}
	}
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	srv, err := embedded.Start(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, srv.Stop(ctx))
	}()

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), pgtest.EnvDatabaseURL+"="+srv.DSN())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			if sig != os.Interrupt {
				cmd.Process.Signal(sig)
			}
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return max(1, exit.ExitCode()), nil
			}
			return 0, err
		}
	}
}
