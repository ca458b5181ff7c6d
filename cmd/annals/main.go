// Command annals is the event-sourced backend: the server, and the tools that look after its log.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitMisuse = 2
)

func main() {
	signalled, unwatch := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(signalled, func() {
		unwatch() // a second signal ends the program at once, whatever it waits for
		cancel()
	})
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	unwatch()
	os.Exit(code)
}

// run executes one command line and gives its exit code. Data goes to stdout, everything else to stderr. It returns when
// the command is done or, for commands that serve, some time after ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newCLI(stdout, stderr)
	root := c.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = c.misused
	}
	var misuse *misuseError
	var status *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &misuse):
		fmt.Fprintf(stderr, "annals: %v\n", err)
		if misuse.command != "" {
			fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", misuse.command)
		}
		if misuse.command == verifyPath {
			return exitVerifyMisuse
		}
		return exitMisuse
	case errors.As(err, &status):
		if status.err != nil {
			fmt.Fprintf(stderr, "annals: %v\n", status.err)
		}
		return status.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "annals: interrupted")
		return exitFailed
	default:
		fmt.Fprintf(stderr, "annals: %v\n", err)
		return exitFailed
	}
}

// misuseError is a command line that can't be understood.
type misuseError struct {
	command string // the command whose help says more
	err     error
}

func (e *misuseError) Error() string { return e.err.Error() }
func (e *misuseError) Unwrap() error { return e.err }

// exitError ends a command with a code of its own, and prints err unless it is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }
