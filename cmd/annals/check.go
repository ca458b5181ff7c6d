package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/check"
	"annals/cmd/annals/internal/progress"
	"annals/eventstore"
)

func (c *cli) checkCommand() *cobra.Command {
	var options check.Options
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Run every stored event through this program's schemas, upcasters and aggregates",
		Long: `Reads the log in order and holds every event against this program: its type and version are known, its data fits the
JSON Schema of its version, the upcasters lead it to today's version, and its aggregate folds it. Positions and the versions
within a stream must count without a gap. It reports each event type with its first failure.

It changes nothing and works beside running servers: run the new binary's check on the database of the old one before a
deployment. Exit status 1 means that an event failed.`,
		Example: "  annals check\n  annals check --database-url \"$DATABASE_URL\" --output json\n  annals check --from 1000000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			if options.From < 0 || options.Until < 0 || options.Until > 0 && options.Until < options.From {
				return misuse(cmd, "--from and --until must be positions in this order")
			}
			if options.Workers < 0 || options.Workers > 64 {
				return misuse(cmd, "--workers must be 0 to 64")
			}
			return c.withRecorded(cmd, func(ctx context.Context, reader *eventstore.Reader) error {
				return c.check(ctx, reader, options, output)
			})
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&options.From, "from", 0, "first `position` to check (default: the first one)")
	flags.Int64Var(&options.Until, "until", 0, "last `position` to check (default: the head)")
	flags.IntVar(&options.Workers, "workers", 0, "`number` of goroutines that decode (default: one per processor)")
	output.register(cmd)
	return cmd
}

func (c *cli) check(ctx context.Context, reader *eventstore.Reader, options check.Options, output outputFlag) error {
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	end := func() {}
	if progress.IsTerminal(c.stderr) {
		options.Progress, end = positionBar(c.stderr)
	}
	report, err := check.Run(ctx, reader, registry, options)
	end()
	if err != nil {
		return err
	}
	if err := c.printReport(report, output); err != nil {
		return err
	}
	if report.Failed > 0 {
		return &exitError{code: exitFailed, err: errors.New("this program can't work with every event of the log")}
	}
	return nil
}

func (c *cli) printReport(report check.Report, output outputFlag) error {
	if output.format == "json" {
		return printJSON(c.stdout, report)
	}
	err := list(c.stdout, output, report.Types, "EVENT TYPE\tEVENTS\tFAILED\tFIRST FAILURE", func(t check.TypeReport) string {
		first := "-"
		if t.First != nil {
			first = fmt.Sprintf("position %d, event %s: %s", t.First.Position, t.First.EventID, inCell(t.First.Error))
		}
		return fmt.Sprintf("%s\t%d\t%d\t%s", inCell(t.EventType), t.Events, t.Failed, first)
	})
	if err != nil {
		return err
	}
	took := time.Duration(report.Seconds * float64(time.Second)).Round(time.Millisecond)
	_, err = fmt.Fprintf(c.stdout, "\n%d events checked in %s (%.0f a second), %d failed, %d not folded because of one before\n",
		report.Events, took, report.EventsPerSecond, report.Failed, report.Unfolded)
	return err
}

// inCell keeps a text to its cell of a table.
func inCell(text string) string { return strings.Join(strings.Fields(text), " ") }

// positionBar draws a bar over positions; end removes it.
func positionBar(w io.Writer) (update func(position, until int64), end func()) {
	var bar *progressbar.ProgressBar // made once the end is known
	update = func(position, until int64) {
		if bar == nil {
			bar = progressbar.NewOptions64(until,
				progressbar.OptionSetWriter(w),
				progressbar.OptionSetDescription("events"),
				progressbar.OptionShowCount(),
				progressbar.OptionShowIts(),
				progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetPredictTime(true),
				progressbar.OptionClearOnFinish(),
			)
		}
		_ = bar.Set64(position) // what can't be drawn is no reason to stop
	}
	return update, func() {
		if bar != nil {
			_ = bar.Finish()
		}
	}
}
