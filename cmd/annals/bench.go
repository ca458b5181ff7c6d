package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/bench"
)

// benchReport is what annals bench prints as JSON.
type benchReport struct {
	Machine    string         `json:"machine"`
	Program    string         `json:"program"`
	Benchmarks []bench.Report `json:"benchmarks"`
}

func (c *cli) benchCommand() *cobra.Command {
	o := bench.Defaults()
	var output outputFlag
	var guard bool
	var names []string
	for _, b := range bench.All() {
		names = append(names, b.Name)
	}
	long := "Measures Annals beside the usual ways to do the same, which take turns with it in the same run, so that their ratio\n" +
		"says something on any machine. It works in a database of its own: on a private PostgreSQL with fsync on, in a\n" +
		"temporary directory, or, with --database-url, in one that it makes on that server and drops.\n\n"
	for _, b := range bench.All() {
		long += fmt.Sprintf("  %-8s %s\n", b.Name, b.Short)
	}
	cmd := &cobra.Command{
		Use:   "bench [NAME…]",
		Short: "Measure Annals beside the usual ways to do the same",
		Long:  long + "\nWithout a name it runs all of them.",
		Example: "  annals bench append\n  annals bench append --callers 1,128,512 --log 1000000 --subscribers 10\n" +
			"  annals bench http --servers 2 --tenants 1000\n  annals bench overload --slice 2s\n" +
			"  annals bench peers --peers cmd/annals/internal/bench/peers --callers 32,128\n  annals bench --output json > bench.json",
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			var chosen []bench.Benchmark
			for _, name := range args {
				if !slices.Contains(names, name) {
					return misuse(cmd, "there is no benchmark %q: there are %v", name, names)
				}
			}
			for _, b := range bench.All() {
				if len(args) == 0 || slices.Contains(args, b.Name) {
					chosen = append(chosen, b)
				}
			}
			if err := o.Check(); err != nil {
				return misuse(cmd, "%v", err)
			}
			return c.bench(cmd.Context(), o, chosen, output, guard)
		},
	}
	output.register(cmd)
	flags := cmd.Flags()
	flags.IntSliceVar(&o.Callers, "callers", o.Callers, "`numbers` of concurrent callers; http and overload use the last")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "`rounds` in which the ways take turns")
	flags.DurationVar(&o.Slice, "slice", o.Slice, "`time` that each way gets in a round")
	flags.Int64Var(&o.Events, "events", o.Events, "`events` in the log that project and replay read")
	flags.Int64Var(&o.Log, "log", o.Log, "`events` that the log holds before append, http and overload begin")
	flags.IntVar(&o.Tenants, "tenants", o.Tenants, "`clients` that the callers belong to, in turn")
	flags.IntVar(&o.Subscribers, "subscribers", o.Subscribers, "`projections` that do nothing, beside append")
	flags.IntVar(&o.Servers, "servers", o.Servers, "`servers` on one database, for http and overload")
	flags.Int64Var(&o.Stream, "stream", o.Stream, "`events` of the stream that load reads")
	flags.StringVar(&o.Peers, "peers", o.Peers, "`directory` into which npm installed message-db and Emmett; empty: peers goes without")
	flags.BoolVar(&guard, "guard", false, "fail when a ratio is below its floor, which is far below what has been reached")
	return cmd
}

func (c *cli) bench(ctx context.Context, o bench.Options, chosen []bench.Benchmark, output outputFlag, guard bool) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	o.Program, o.DatabaseURL, o.Note = program, c.db.url, c.stderr
	report := benchReport{
		Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Program: "annals " + buildVersion(),
	}
	if output.format == "table" {
		fmt.Fprintf(c.stdout, "%s, %s\n\n", report.Program, report.Machine)
	}
	for _, b := range chosen {
		fmt.Fprintf(c.stderr, "%s: %s\n", b.Name, b.Short)
		r, err := bench.Run(ctx, b, o)
		if err != nil {
			return err
		}
		report.Benchmarks = append(report.Benchmarks, r)
		if output.format == "table" {
			if err := r.Print(c.stdout); err != nil {
				return err
			}
		}
	}
	if output.format == "json" {
		if err := printJSON(c.stdout, report); err != nil {
			return err
		}
	}
	var broken []error
	for _, r := range report.Benchmarks {
		for _, ratio := range r.Broken() {
			broken = append(broken, fmt.Errorf("%s: %s is %.2f, below %.2f", r.Benchmark, ratio.Name, ratio.Value, ratio.Floor))
		}
	}
	if guard {
		return errors.Join(broken...)
	}
	return nil
}
