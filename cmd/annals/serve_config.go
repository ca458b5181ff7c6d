package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel/trace"

	"annals/eventstore"
	"annals/eventstore/integrity"
)

// serveConfig is how the server runs.
type serveConfig struct {
	addr            string
	cartLifetime    time.Duration
	cartSweep       time.Duration
	syncWait        time.Duration
	shutdownTimeout time.Duration
	keyRetention    time.Duration
	readInterval    time.Duration
	readyLag        int64
	// qualityHoldLimit is the yield of a final inspection, in percent, below which a quality hold is opened; 0: never.
	qualityHoldLimit decimal.Decimal
	notifications    notificationFlags
	limits           limitFlags
	identity         identityFlags
	tls              tlsFlags
	own              *ownCaller // of a server that a command runs for itself alone; nil: keys and tokens
	signing          signingFlags
	secrets          integrity.Secrets // what the signing flags say
	subjectKeys      keySource         // of personal text
	otlpEndpoint     string
	tracer           trace.Tracer // nil: none
	logFormat        string
	logLevel         slog.Level
	printConfig      bool

	clock func() time.Time // of commands; nil: the machine's
}

// How long reads of the log are collected before they are recorded. A crash takes what is collected.
const (
	defaultReadInterval = 5 * time.Second
	maxReadInterval     = 5 * time.Minute
)

func (s *serveConfig) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free one")
	flags.DurationVar(&s.cartLifetime, "cart-lifetime", 24*time.Hour, "`time` after which an idle cart expires")
	flags.DurationVar(&s.cartSweep, "cart-sweep-interval", 30*time.Second, "`time` between looks for idle carts")
	flags.DurationVar(&s.syncWait, "synchronous-wait", time.Second, "longest `time` an answer waits for the audit log")
	flags.DurationVar(&s.keyRetention, "idempotency-retention", 48*time.Hour, "`time` for which idempotency keys are kept, at least 24h")
	flags.DurationVar(&s.readInterval, "audit-read-interval", defaultReadInterval,
		"longest `time` until reads of the log are on record; 0: before they are answered")
	flags.DurationVar(&s.shutdownTimeout, "shutdown-timeout", 15*time.Second, "longest `time` to finish what is under way")
	flags.Int64Var(&s.readyLag, "ready-lag", 100_000, "`events` that a projection may be behind while the server says it is ready")
	flags.TextVar(&s.qualityHoldLimit, "quality-hold-limit", decimal.Zero,
		"`percent` of passed units below which a final inspection opens a quality hold; 0: never")
	s.notifications.register(flags)
	s.limits.register(flags)
	s.identity.register(flags)
	s.tls.register(flags)
	s.signing.register(flags)
	flags.StringVar(&s.otlpEndpoint, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector that takes traces by OTLP over HTTP; none: no traces")
	flags.StringVar(&s.logFormat, "log-format", "text", "`format` of the log on stderr: text or json")
	flags.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "lowest `level` to log: debug, info, warn or error")
	flags.BoolVar(&s.printConfig, "print-config", false, "print the configuration, with secrets masked, and exit")
}

func (s *serveConfig) check(cmd *cobra.Command) error {
	switch {
	case s.logFormat != "text" && s.logFormat != "json":
		return misuse(cmd, "--log-format must be text or json, not %q", s.logFormat)
	case s.cartLifetime <= 0 || s.cartSweep <= 0:
		return misuse(cmd, "--cart-lifetime and --cart-sweep-interval must be above zero")
	case s.qualityHoldLimit.IsNegative() || s.qualityHoldLimit.GreaterThan(decimal.NewFromInt(100)):
		return misuse(cmd, "--quality-hold-limit must be 0 to 100")
	case s.readyLag < 0:
		return misuse(cmd, "--ready-lag must not be negative")
	case s.keyRetention < minIdempotencyRetention:
		return misuse(cmd, "--idempotency-retention must be at least %s", minIdempotencyRetention)
	case s.readInterval < 0 || s.readInterval > maxReadInterval:
		return misuse(cmd, "--audit-read-interval must be 0 to %s", maxReadInterval)
	case s.syncWait < 0 || s.shutdownTimeout <= 0:
		return misuse(cmd, "--synchronous-wait must not be negative, and --shutdown-timeout must be above zero")
	}
	if err := s.notifications.check(cmd); err != nil {
		return err
	}
	if s.otlpEndpoint != "" {
		if err := checkOTLP(s.otlpEndpoint); err != nil {
			return misuse(cmd, "--otlp-endpoint: %v", err)
		}
	}
	if err := s.limits.check(cmd); err != nil {
		return err
	}
	if err := s.signing.check(cmd); err != nil {
		return err
	}
	if err := s.identity.check(cmd); err != nil {
		return err
	}
	if err := s.tls.check(cmd); err != nil {
		return err
	}
	if _, err := isLoopback(s.addr); err != nil {
		return misuse(cmd, "--addr %q must be host:port: %v", s.addr, err)
	}
	return nil
}

// print shows the configuration as flags, one a line.
func (s *serveConfig) print(c *cli, cmd *cobra.Command) error {
	var failure error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == "print-config" || failure != nil {
			return
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		switch {
		case slices.Contains([]string{"database-url", "subject-keys-url", "otlp-endpoint"}, f.Name):
			value = eventstore.MaskSecrets(value)
		case slices.Contains([]string{"smtp-password", "signing-passphrase", "subject-keys-passphrase"}, f.Name) && value != "":
			value = "xxxxx"
		}
		_, failure = fmt.Fprintf(c.stdout, "%s=%s\n", f.Name, value)
	})
	return failure
}

func (s *serveConfig) logger(c *cli) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.stderr, options))
	}
	return slog.New(slog.NewTextHandler(c.stderr, options))
}
