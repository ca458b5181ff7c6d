package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// cli is what every subcommand shares.
type cli struct {
	stdout, stderr io.Writer
	env            func(string) string
	db             databaseFlags
}

func newRootCommand(stdout, stderr io.Writer) *cobra.Command {
	c := &cli{stdout: stdout, stderr: stderr, env: lookupEnv}
	root := &cobra.Command{
		Use:   "annals",
		Short: "An event-sourced backend on PostgreSQL",
		Long: `Annals keeps every change to the business as an event in an append-only log on PostgreSQL.
Read models, the audit log and policies follow the log and can be rebuilt from it.

Without --database-url (or DATABASE_URL) the commands use a private PostgreSQL in --data-dir.`,
		Example:       "  annals serve\n  annals demo --seed 7\n  annals replay --all --dry-run",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &misuseError{command: cmd.CommandPath(), err: err}
	})
	c.db.register(root.PersistentFlags())
	root.PersistentPreRunE = c.applyEnvironment
	root.AddCommand(c.subcommands()...)
	return root
}

// noArgs refuses arguments; on a group of commands an unknown one is the usual cause.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasAvailableSubCommands() {
		err := fmt.Errorf("unknown command %q", args[0])
		cmd.SuggestionsMinimumDistance = 2 // cobra's own default, which SuggestionsFor doesn't apply
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
		}
		return &misuseError{command: cmd.CommandPath(), err: err}
	}
	return misuse(cmd, "%s takes no arguments", cmd.CommandPath())
}

// exactArgs wants one argument for each name.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return misuse(cmd, "%s needs %s", cmd.CommandPath(), strings.Join(names, " "))
		}
		return nil
	}
}

func misuse(cmd *cobra.Command, format string, args ...any) error {
	return &misuseError{command: cmd.CommandPath(), err: fmt.Errorf(format, args...)}
}
