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
	subjectKeys    keyFlags
	misused        error // what help was asked for that there isn't
}

func newCLI(stdout, stderr io.Writer) *cli {
	return &cli{stdout: stdout, stderr: stderr, env: lookupEnv}
}

// rootCommand makes the tree of commands.
func (c *cli) rootCommand() *cobra.Command {
	stdout, stderr := c.stdout, c.stderr
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
	c.subjectKeys.register(root.PersistentFlags())
	root.PersistentPreRunE = c.applyEnvironment
	root.AddCommand(c.subcommands()...)
	c.refuseUnknownHelp(root)
	return root
}

// refuseUnknownHelp makes help for a command that there isn't a misuse. cobra shows the help of the nearest command that
// there is, as if nothing were wrong.
func (c *cli) refuseUnknownHelp(root *cobra.Command) {
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd.HasAvailableSubCommands() {
			if c.misused = noArgs(cmd, cmd.Flags().Args()); c.misused != nil {
				return
			}
		}
		show(cmd, args)
	})
	root.SetHelpCommand(&cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Example: "  annals help serve\n  annals help events tail",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return &misuseError{command: "annals", err: err}
			}
			if err := noArgs(cmd, rest); err != nil {
				return err
			}
			return cmd.Help()
		},
	})
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
