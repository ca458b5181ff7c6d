package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// limitFlags bound what callers may cost.
type limitFlags struct {
	connections int
	commands    int
	queries     int
	clientRate  float64
	clientBurst int
	drainDelay  time.Duration
}

func (f *limitFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.connections, "max-connections", 4096, "`connections` of callers that may be open; further ones are answered with 503")
	flags.IntVar(&f.commands, "max-commands", 512, "`commands` that may be under way; further ones are answered with 503")
	flags.IntVar(&f.queries, "max-queries", 512, "`queries` that may be under way; further ones are answered with 503")
	flags.Float64Var(&f.clientRate, "client-rate", 0, "`requests` a second that a client may send; more are answered with 429; 0: any number")
	flags.IntVar(&f.clientBurst, "client-burst", 0, "`requests` that a client may send at once within --client-rate; 0: those of a second")
	flags.DurationVar(&f.drainDelay, "drain-delay", 0, "`time` for which requests are still taken once /readyz says no, for load balancers to notice")
}

func (f *limitFlags) check(cmd *cobra.Command) error {
	switch {
	case f.connections < 1 || f.commands < 1 || f.queries < 1:
		return misuse(cmd, "--max-connections, --max-commands and --max-queries must be above zero")
	case !(f.clientRate >= 0 && f.clientRate <= 1e9):
		return misuse(cmd, "--client-rate must be 0 to 1e9")
	case f.clientBurst < 0:
		return misuse(cmd, "--client-burst must not be negative")
	case f.clientBurst > 0 && f.clientRate == 0:
		return misuse(cmd, "--client-burst needs --client-rate")
	case f.drainDelay < 0:
		return misuse(cmd, "--drain-delay must not be negative")
	}
	return nil
}
