package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"annals/projections"
)

func (c *cli) projectionsCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "projections",
		Short: "Look after read models and policies",
		Long:  "Lists every subscriber of the log: where it is, how far behind, and what it failed on.",
		Example: "  annals projections\n  annals projections pause products\n  annals projections failures products\n" +
			"  annals projections skip products 42 --reason \"test data of May\"",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				states, err := n.group.Status(ctx)
				if err != nil {
					return err
				}
				heading := "NAME\tKIND\tVERSION\tSTATUS\tPOSITION\tHEAD\tLAG\tFAILED AT"
				return list(c.stdout, output, states, heading, func(s projections.State) string {
					failed := "-"
					if s.Failure != nil {
						failed = strconv.FormatInt(s.Failure.Position, 10)
					}
					return fmt.Sprintf("%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s", s.Name, s.Kind, s.Version, s.Status, s.Position, s.Head, s.Lag, failed)
				})
			})
		},
	}
	output.register(cmd)
	cmd.AddCommand(
		c.operateCommand("pause", "Stop a subscriber until it is resumed", func(ctx context.Context, n *node, name string) error {
			return n.group.Pause(ctx, name, operatorName())
		}),
		c.operateCommand("resume", "Let a paused or failed subscriber go on", func(ctx context.Context, n *node, name string) error {
			return n.group.Resume(ctx, name, operatorName())
		}),
		c.failuresCommand(), c.retryCommand(), c.skipCommand(), c.pruneCommand(),
	)
	return cmd
}

func (c *cli) operateCommand(verb, short string, operate func(context.Context, *node, string) error) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: fmt.Sprintf("  annals projections %s products", verb),
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				if err := operate(ctx, n, args[0]); err != nil {
					return err
				}
				return c.showProjection(ctx, n, args[0])
			})
		},
	}
}

func (c *cli) showProjection(ctx context.Context, n *node, name string) error {
	states, err := n.group.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range states {
		if s.Name == name {
			fmt.Fprintf(c.stdout, "%s is %s at position %d of %d\n", s.Name, s.Status, s.Position, s.Head)
		}
	}
	return nil
}

func (c *cli) failuresCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "failures NAME",
		Short:   "Show the event that a subscriber stopped at",
		Example: "  annals projections failures products",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				failures, err := n.group.Failures(ctx, args[0])
				if err != nil {
					return err
				}
				heading := "POSITION\tEVENT TYPE\tATTEMPTS\tFAILED\tERROR"
				return list(c.stdout, output, failures, heading, func(f projections.Failure) string {
					return fmt.Sprintf("%d\t%s\t%d\t%s\t%s", f.Position, f.EventType, f.Attempts, f.FailedAt.Format(time.RFC3339), f.Error)
				})
			})
		},
	}
	output.register(cmd)
	return cmd
}

func (c *cli) retryCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "retry NAME POSITION",
		Short:   "Try a failed event again at once",
		Example: "  annals projections retry products 42",
		Args:    exactArgs("NAME", "POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			position := int64(0) // where timers fail
			if args[1] != "0" {
				var err error
				if position, err = positionArg(cmd, args[1]); err != nil {
					return err
				}
			}
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				if err := n.group.Retry(ctx, args[0], position, operatorName()); err != nil {
					return err
				}
				return c.showProjection(ctx, n, args[0])
			})
		},
	}
}

func (c *cli) skipCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "skip NAME POSITION --reason TEXT",
		Short: "Leave out the event that a subscriber stopped at",
		Long: `Leaves out the event that a subscriber stopped at, now and in every rebuild of this version. The reason is recorded
as an event.`,
		Example: "  annals projections skip products 42 --reason \"imported twice, see ticket 118\"",
		Args:    exactArgs("NAME", "POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			position, err := positionArg(cmd, args[1])
			if err != nil {
				return err
			}
			if reason == "" {
				return misuse(cmd, "--reason is needed: it is recorded")
			}
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				if err := n.group.Skip(ctx, args[0], position, reason, operatorName()); err != nil {
					return err
				}
				return c.showProjection(ctx, n, args[0])
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why the event is left out; recorded")
	return cmd
}

func positionArg(cmd *cobra.Command, text string) (int64, error) {
	position, err := strconv.ParseInt(text, 10, 64)
	if err != nil || position < 1 {
		return 0, misuse(cmd, "%q is not a position: positions are 1, 2, 3, …", text)
	}
	return position, nil
}
