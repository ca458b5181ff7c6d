package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/progress"
	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/replay"
)

// replayFlags are the flags of annals replay.
type replayFlags struct {
	all, dryRun bool
	gentle      bool
	workers     int
	until       int64
	output      outputFlag
}

func (c *cli) replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay [NAME…|--all]",
		Short: "Rebuild read models from the log",
		Long: `Rebuilds read models from the log into tables beside the live ones, which servers go on serving and keeping current,
then switches in one transaction. Interrupted, it leaves the old tables in use and resumes where it was.

--dry-run rebuilds, compares with the live rows and prints the differences; it exits with 1 when there are any.
--until rebuilds as of a position, compares and keeps the rows in their build schema; it never switches.
--gentle takes one processor and one reader, which rests as long as it works: servers beside it stay quicker, and it takes
longer, two and a half times as long at worst with two processors.`,
		Example: "  annals replay --all\n  annals replay products carts --workers 2\n  annals replay --all --gentle\n  annals replay --all --dry-run\n" +
			"  annals replay products --until 1000",
		Args: func(cmd *cobra.Command, args []string) error {
			if f.all == (len(args) > 0) {
				return misuse(cmd, "name the read models to rebuild (%s), or say --all", strings.Join(readModelNames(), ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.output.check(cmd); err != nil {
				return err
			}
			if f.workers < 0 || f.workers > 64 || f.until < 0 {
				return misuse(cmd, "--workers must be 0 to 64 and --until a position")
			}
			if f.gentle && f.workers > 1 {
				return misuse(cmd, "--gentle has one reader: leave --workers out")
			}
			projectors, err := chooseReadModels(cmd, args)
			if err != nil {
				return err
			}
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				return c.replay(ctx, n, projectors, &f)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "rebuild every read model")
	flags.BoolVar(&f.dryRun, "dry-run", false, "compare with the live tables and print the differences, don't switch")
	flags.BoolVar(&f.gentle, "gentle", false, "leave more of the machine to servers beside it")
	flags.IntVar(&f.workers, "workers", 0, "`number` of readers that fetch and decode (default: one per processor, at most 4)")
	flags.Int64Var(&f.until, "until", 0, "rebuild as of this `position`, compare, don't switch")
	f.output.register(cmd)
	return cmd
}

func readModelNames() []string {
	var names []string
	for _, p := range readModels() {
		names = append(names, p.Spec().Name)
	}
	return names
}

// chooseReadModels gives the read models of the names, or all of them.
func chooseReadModels(cmd *cobra.Command, names []string) ([]projections.Projector, error) {
	all := readModels()
	if len(names) == 0 {
		return all, nil
	}
	byName := make(map[string]projections.Projector, len(all))
	for _, p := range all {
		byName[p.Spec().Name] = p
	}
	var chosen []projections.Projector
	for _, name := range names {
		p, ok := byName[name]
		if !ok {
			return nil, misuse(cmd, "there is no read model %q; there are %s", name, strings.Join(readModelNames(), ", "))
		}
		if p != nil {
			chosen = append(chosen, p)
		}
		byName[name] = nil // named twice, it is rebuilt once
	}
	return chosen, nil
}

func (c *cli) replay(ctx context.Context, n *node, projectors []projections.Projector, f *replayFlags) error {
	if f.gentle {
		runtime.GOMAXPROCS(1)
	}
	bar := progress.New(c.stderr)
	defer bar.Close()
	owner, err := n.pool(eventstore.RoleOwner, max(f.workers, 4)+1, "replay")
	if err != nil {
		return err
	}
	results, err := replay.RebuildAll(ctx, replay.Deps{DB: owner.DB, Registry: n.registry, Logger: n.logger}, projectors,
		replay.Options{Workers: f.workers, Gentle: f.gentle, Until: f.until, DryRun: f.dryRun, Progress: bar.Update})
	bar.Close()
	for _, r := range results {
		if r.Switched {
			err = errors.Join(err, n.recordRebuild(context.WithoutCancel(ctx), r, operatorName()))
		}
	}
	if printErr := c.printReplay(results, f); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: the old tables stay in use, and the next replay goes on from here")
		}
		return err
	}
	for _, r := range results {
		if f.dryRun && r.Comparison != nil && !r.Comparison.Equal() {
			return &exitError{code: exitFailed, err: errors.New("the live rows differ from the log")}
		}
	}
	return nil
}

// recordRebuild records in the log that a rebuild went live.
func (n *node) recordRebuild(ctx context.Context, r replay.Result, actor string) error {
	command := operations.NoteRebuilt{
		Subject: operations.Subject{Name: r.Name, Version: int64(r.Version)}, Position: r.Position,
	}
	_, err := n.commands.Run(ctx, systemCommand(actor), func(ctx context.Context, u *domain.UnitOfWork) error {
		return operations.Operate(ctx, u, command)
	})
	if err != nil {
		return fmt.Errorf("record the rebuild of %s: %w", r.Name, err)
	}
	return nil
}

func (c *cli) printReplay(results []replay.Result, f *replayFlags) error {
	heading := "NAME\tVERSION\tPOSITION\tEVENTS\tTIME\tOUTCOME"
	err := list(c.stdout, f.output, results, heading, func(r replay.Result) string {
		took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
		return fmt.Sprintf("%s\t%d\t%d\t%d\t%s\t%s", r.Name, r.Version, r.Position, r.Events, took, outcome(r))
	})
	if err != nil || f.output.format == "json" {
		return err
	}
	for _, r := range results {
		if r.Comparison == nil {
			continue
		}
		for _, d := range r.Comparison.Differences {
			fmt.Fprintf(c.stdout, "\n%s.%s %s\n  live     %s\n  rebuilt  %s\n", r.Name, d.Table, d.Key, orNone(d.Live), orNone(d.Rebuilt))
		}
		if more := r.Comparison.Count() - int64(len(r.Comparison.Differences)); more > 0 {
			fmt.Fprintf(c.stdout, "\n%s: %d more differences\n", r.Name, more)
		}
	}
	return nil
}

func outcome(r replay.Result) string {
	switch {
	case r.Switched:
		return "switched"
	case r.Comparison == nil:
		return "not switched"
	case r.Comparison.Equal():
		return "no difference"
	default:
		return fmt.Sprintf("%d rows differ", r.Comparison.Count())
	}
}

func orNone(row string) string {
	if row == "" {
		return "(no row)"
	}
	return row
}

func (c *cli) pruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Drop the tables of versions that this program has replaced",
		Long: `Drops the tables, checkpoints and builds of versions below the ones that this program knows. A server that still runs
an older version fails from then on: stop those first.`,
		Example: "  annals projections prune",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				owner, err := n.pool(eventstore.RoleOwner, 2, "prune")
				if err != nil {
					return err
				}
				dropped, err := replay.Prune(ctx, owner.DB, n.group.Specs())
				for _, schema := range dropped {
					fmt.Fprintf(c.stdout, "dropped %s\n", schema)
				}
				if err == nil && len(dropped) == 0 {
					fmt.Fprintln(c.stdout, "nothing to drop")
				}
				return err
			})
		},
	}
}
