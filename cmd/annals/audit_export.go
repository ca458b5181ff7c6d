package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/progress"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
	"annals/projections/auditlog"
)

// exportFlags say what is exported, in which form, and where to.
type exportFlags struct {
	eventSelection
	format          string
	until           int64
	from, to        time.Time
	correlationID   string
	bundle          string
	since           []string
	withoutPayloads bool
	withoutErased   bool
}

func (f *exportFlags) register(cmd *cobra.Command) {
	f.eventSelection.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "csv", "`format` of the rows of the audit log: csv or ndjson")
	flags.Int64Var(&f.until, "until", 0, "last `position` (default: the latest there is)")
	flags.Var((*timeFlag)(&f.from), "from", "what occurred at this RFC 3339 `time` or later")
	flags.Var((*timeFlag)(&f.to), "to", "what occurred before this RFC 3339 `time`")
	flags.StringVar(&f.correlationID, "correlation-id", "", "rows that one request led to; not in a bundle")
	flags.StringVar(&f.bundle, "bundle", "", "`file` (.zip) or new directory to write as evidence; - is a ZIP file on standard output")
	flags.StringSliceVar(&f.since, "since", nil, "`files` with checkpoints that the bundle shall be comparable with")
	flags.BoolVar(&f.withoutPayloads, "without-payloads", false, "leave data and metadata out of the bundle: who, what and when stay")
	flags.BoolVar(&f.withoutErased, "without-erased", false,
		"leave data whose personal texts are all erased out of the bundle, and name the receipt instead")
}

// check refuses flags that don't go together.
func (f *exportFlags) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	bundle := changed("bundle")
	switch {
	case f.format != "csv" && f.format != "ndjson":
		return misuse(cmd, "--format must be csv or ndjson, not %q", f.format)
	case bundle && f.bundle == "":
		return misuse(cmd, "--bundle must name a file or a directory")
	case bundle && (changed("format") || changed("correlation-id")):
		return misuse(cmd, "--format and --correlation-id are for rows of the audit log, not for a bundle")
	case !bundle && (changed("since") || changed("without-payloads") || changed("without-erased")):
		return misuse(cmd, "--since, --without-payloads and --without-erased are for a --bundle")
	case f.until < 0 || f.until > 0 && f.until <= f.after:
		return misuse(cmd, "--until must be a position after --after")
	}
	return nil
}

func (c *cli) auditExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export the audit log, or events with all that proves them",
		Long: `Writes the rows of the audit log that match to standard output, as CSV or as lines of JSON, in constant memory: the bytes
that /v1/audit-log serves. A cell of CSV that a spreadsheet would take for a formula begins with an apostrophe.

With --bundle it writes a bundle of events up to the latest signed checkpoint: a ZIP file, or a directory, with the exact
bytes of the events, their leaves and salts, the hashes of the rest of the log, the signed checkpoint and the log's keys.
'annals audit verify --bundle' checks it anywhere, without a database. The bundle of a selection proves that each of its
events is in the log; that none is missing can be proved for a range of positions only.

That the export was made, by whom and why (--reason), is recorded before anything is written.`,
		Example: `  annals audit export > audit.csv
  annals audit export --format ndjson --client acme --actor ada --from 2026-01-01T00:00:00Z --reason "yearly review"
  annals audit export --bundle evidence.zip
  annals audit export --bundle acme.zip --client acme --since kept.note
  annals audit export --bundle - --after 1000 --until 2000 | ssh auditor 'cat > evidence.zip'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(cmd)
			if err == nil {
				err = f.check(cmd)
			}
			if err != nil {
				return err
			}
			if f.bundle != "" {
				return c.exportEvidence(cmd, filter, &f)
			}
			media := map[string]string{"csv": "text/csv", "ndjson": "application/x-ndjson"}[f.format]
			return c.withReading(cmd, f.client, media, &f.reason, func(ctx context.Context, r *reading) error {
				return c.exportRows(ctx, r, auditlog.Filter{
					ActorID: filter.ActorID, EventTypes: filter.EventTypes, AggregateType: filter.AggregateType,
					AggregateID: filter.AggregateID, CorrelationID: f.correlationID, From: f.from, To: f.to,
				}, &f)
			})
		},
	}
	f.register(cmd)
	return cmd
}

// exportEvidence writes a bundle, once it is on record that it is made.
func (c *cli) exportEvidence(cmd *cobra.Command, filter eventstore.EventFilter, f *exportFlags) error {
	since, err := readNotes(cmd, f.since)
	if err != nil {
		return err
	}
	options := evidence.ExportOptions{
		Selection: integrity.Selection{
			Client: filter.Client, EventTypes: filter.EventTypes, AggregateType: filter.AggregateType,
			AggregateID: filter.AggregateID, ActorID: filter.ActorID, From: f.after + 1, To: f.until, Since: f.from, Before: f.to,
		},
		Since: since, WithoutPayloads: f.withoutPayloads, WithoutErased: f.withoutErased,
	}
	return c.withReading(cmd, f.client, "application/zip", &f.reason, func(ctx context.Context, r *reading) error {
		return c.withEvidence(cmd, func(ctx context.Context, s evidence.Source) error {
			return r.export(ctx, f.after, nil, func(d *operations.Delivered) error {
				manifest, err := c.exportBundle(ctx, s, f, options)
				d.Add(manifest.Events, manifest.From, manifest.To)
				return err
			})
		})
	})
}

func (c *cli) exportBundle(
	ctx context.Context, s evidence.Source, f *exportFlags, options evidence.ExportOptions,
) (manifest evidence.Manifest, err error) {
	options.CreatedAt, options.CreatedBy = time.Now(), "annals "+buildVersion()
	end := func() {}
	if progress.IsTerminal(c.stderr) {
		options.Progress, end = positionBar(c.stderr)
	}
	to, finish, err := openDestination(f.bundle, c.stdout, options.CreatedAt)
	if err != nil {
		return manifest, err
	}
	manifest, err = evidence.Export(ctx, s, to, options)
	end()
	if err == nil {
		err = to.Close()
	}
	if err = finish(err); err != nil {
		return manifest, err
	}
	_, err = fmt.Fprintf(c.stderr, "%d events: %s\n", manifest.Events, manifest.Scope)
	return manifest, err
}

// openDestination begins a bundle. finish ends it, with the error that kept it from being written: a file that wasn't
// written whole doesn't appear.
func openDestination(name string, stdout io.Writer, at time.Time) (_ evidence.Destination, finish func(error) error, err error) {
	switch {
	case name == "-":
		return evidence.NewZip(stdout, at), func(err error) error { return err }, nil
	case !strings.HasSuffix(name, ".zip"):
		to, err := evidence.NewDirectory(name)
		return to, func(err error) error { return err }, err
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, nil, fmt.Errorf("%s exists already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".bundle-*")
	if err != nil {
		return nil, nil, err
	}
	return evidence.NewZip(f, at), func(err error) error {
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}, nil
}
