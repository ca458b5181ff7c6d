package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/demo"
	"annals/cmd/annals/internal/progress"
)

func (c *cli) demoCommand() *cobra.Command {
	opts := demo.Options{Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Fill a running server or a database with realistic traffic",
		Long: `Plays a month of a small shop and a small plant through the REST API: products, carts, orders, work orders,
production entries, inspections and holds. The same --seed gives the same traffic; repeated, it changes nothing.

With --url it fills a running server; one that asks for credentials takes the key in ANNALS_API_KEY. Without, it fills the
database that the flags name, through a server of its own.`,
		Example: "  annals demo --url http://127.0.0.1:8080\n  annals demo --url http://127.0.0.1:8080 --seed 7 --scale 5\n" +
			"  annals demo --data-dir /tmp/annals-demo",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Scale < 0.01 || opts.Scale > 1000 || opts.Parallel < 1 || opts.Parallel > 256 {
				return misuse(cmd, "--scale must be 0.01 to 1000 and --parallel 1 to 256")
			}
			if opts.URL == "" {
				return c.withOwnServer(cmd.Context(), func(ctx context.Context, address, credential string) error {
					opts.URL, opts.APIKey = address, credential
					return c.runDemo(ctx, opts)
				})
			}
			u, err := url.Parse(opts.URL)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return misuse(cmd, "--url must be like http://127.0.0.1:8080")
			}
			opts.URL = strings.TrimRight(opts.URL, "/")
			if opts.APIKey != "" && !cmd.Flags().Changed("client") {
				opts.Client = "" // the key's
			}
			return c.runDemo(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.URL, "url", "", "`address` of a running server")
	flags.StringVar(&opts.Client, "client", "default", "`client` (tenant) to fill")
	flags.StringVar(&opts.APIKey, "api-key", "", "API `key` or token for a server that asks for one; better in ANNALS_API_KEY")
	flags.Uint64Var(&opts.Seed, "seed", 1, "the same seed gives the same traffic")
	flags.Float64Var(&opts.Scale, "scale", 1, "1 makes some thousands of events")
	flags.IntVar(&opts.Parallel, "parallel", 8, "stories told at once")
	return cmd
}

func (c *cli) runDemo(ctx context.Context, opts demo.Options) error {
	end := func() {}
	if progress.IsTerminal(c.stderr) {
		opts.Progress, end = demoBar(c.stderr)
	}
	summary, err := demo.Run(ctx, opts)
	end()
	if err != nil {
		return err
	}
	client := opts.Client
	if client == "" {
		client = "of the key"
	}
	_, err = fmt.Fprintf(c.stdout, "seed %d, client %s: %d stories, %d commands (%d done before), %d events in %s\n",
		opts.Seed, client, summary.Stories, summary.Commands, summary.Replayed, summary.Events, summary.Took.Round(time.Millisecond))
	return err
}

// demoBar draws a bar over the stories; end removes it. A bar that can't be drawn is no reason to stop.
func demoBar(w io.Writer) (update func(done, total int), end func()) {
	var bar *progressbar.ProgressBar // made once the total is known: without one it would draw from a goroutine of its own
	update = func(done, total int) {
		if bar == nil {
			bar = progressbar.NewOptions(total,
				progressbar.OptionSetWriter(w),
				progressbar.OptionSetDescription("stories"),
				progressbar.OptionShowCount(),
				progressbar.OptionShowIts(),
				progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetPredictTime(true),
				progressbar.OptionClearOnFinish(),
			)
		}
		_ = bar.Set(done)
	}
	return update, func() {
		if bar != nil {
			_ = bar.Finish()
		}
	}
}
